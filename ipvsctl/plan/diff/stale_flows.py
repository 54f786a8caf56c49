"""Which UDP flows must end: those that lead to another than a real server.

UDP has no connections that could end; a client that keeps its port (a DNS resolver, a
log shipper) asks for ever where its flow leads. IPVS drops its first question after
the real server is gone, for the old flow's sake (ip_vs_core.c:ip_vs_in_hook). One that
is older than its Service is never translated (ip_vs_nfct.c:ip_vs_update_conntrack).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ipvsctl.model.ipvs import ForwardingMethod, RealServerKey, VirtualServerKey
from ipvsctl.model.net import Protocol
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.diff.ops import DeleteStaleFlows


def plan_stale_flows(
    observed: Observed,
    desired: NodeState,
    inside: Mapping[VirtualServerKey, Sequence[VirtualServerKey]],
    asked: Iterable[VirtualServerKey],
) -> Iterator[DeleteStaleFlows]:
    """The ops that end stale UDP flows, once unwanted real servers are gone.

    Where flows were not read, those of a virtual server that gets its first real
    servers are presumed stale, and when one goes, whatever was read: flows to it may
    begin until it does. Those of a virtual server that was not there to be read for
    are looked at by the next audit. Without any real server there is nowhere else to
    go, and the old one may come back: flows stay.

    Args:
        observed: before anything is changed.
        desired: of the same virtual servers.
        inside: the fwmark virtual servers beside that of an address. A flow does not
            say which of them it took, so it may lead where any does.
        asked: the virtual servers to plan for; those not desired have no flows.
    """
    for key in asked:
        if key.protocol is not Protocol.UDP or key not in desired.virtual_servers:
            continue
        keys = (key, *inside.get(key, ()))
        wanted = _real_servers(desired, keys)
        held = _real_servers(observed.state, keys)
        if not wanted:
            continue
        if observed.flows is None:
            is_stale = not held
        else:
            is_stale = bool(observed.flows.get(key, frozenset()) - wanted)
        if is_stale or held - wanted:
            yield DeleteStaleFlows(key, wanted)


def beside(
    short_circuits: Mapping[VirtualServerKey, VirtualServerKey], desired: NodeState
) -> Mapping[VirtualServerKey, Sequence[VirtualServerKey]]:
    """The fwmark virtual servers beside that of each address that has any.

    Args:
        short_circuits: fwmark virtual server -> that of the address it is for.
        desired: has those that count.
    """
    found: dict[VirtualServerKey, list[VirtualServerKey]] = {}
    # A change has few of all virtual servers.
    for key in desired.virtual_servers if short_circuits else ():
        address = short_circuits.get(key)
        if address is not None:
            found.setdefault(address, []).append(key)
    return found


def _real_servers(
    state: NodeState, keys: tuple[VirtualServerKey, ...]
) -> frozenset[RealServerKey]:
    held = [state.real_servers.get(key, EMPTY) for key in keys]
    found = frozenset[RealServerKey]().union(*(some.keys() for some in held))
    is_tunnelled = any(
        server.forwarding is ForwardingMethod.TUNNEL
        for some in held
        for server in some.values()
    )
    address, port = keys[0].address, keys[0].port
    if is_tunnelled and address is not None:
        # What goes to another node in a tunnel is not translated here.
        found |= {RealServerKey(address, port)}
    return found
