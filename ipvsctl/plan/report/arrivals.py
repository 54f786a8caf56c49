"""What other nodes have sent in tunnels, and how much of it was passed on to endpoints.

What was not had no endpoint here and was dropped, or was for an address that this node
masquerades. The kernel counts each at a place of its own, so a packet that is on its
way while they are read is in one of them alone.
"""

from collections.abc import Mapping

import msgspec

from ipvsctl.model.ipvs import TrafficStats, VirtualServerKey
from ipvsctl.model.net import IPFamily
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.model.state import Observed

_NONE = TrafficStats()


class Arrivals(msgspec.Struct, frozen=True, kw_only=True):
    """Packets out of tunnels, since the link and the virtual servers were made.

    Attributes:
        received: all of them.
        balanced: by virtual server, those that went to endpoints of this node.
    """

    received: int = 0
    balanced: Mapping[VirtualServerKey, int] = {}


def count_arrivals(observed: Observed) -> Mapping[IPFamily, Arrivals]:
    """The counters of each family that has an end of tunnels."""
    return {
        family: Arrivals(received=received, balanced=_balanced(observed, family))
        for family, received in observed.arrived.items()
    }


def _balanced(observed: Observed, family: IPFamily) -> Mapping[VirtualServerKey, int]:
    entries = observed.state.entries.get(set_key(SetRole.TUNNEL_ARRIVAL, family), ())
    keys = (VirtualServerKey(family=family, fwmark=entry.mark) for entry in entries)
    return {key: observed.traffic.get(key, _NONE).packets_in for key in keys}


def arrivals_since(before: Arrivals | None, now: Arrivals) -> tuple[int, int]:
    """Packets received, and those of them balanced, between two looks.

    What has been made anew meanwhile has counted from 0.

    Args:
        before: None if there was no end of tunnels.
        now: of the same family.
    """
    before = Arrivals() if before is None else before
    balanced = sum(
        _since(before.balanced.get(key, 0), count)
        for key, count in now.balanced.items()
    )
    return _since(before.received, now.received), balanced


def _since(before: int, now: int) -> int:
    return now - before if now >= before else now
