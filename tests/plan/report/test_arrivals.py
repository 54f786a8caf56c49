"""Packets out of tunnels, and those of them that were balanced."""

from typing import Final

import pytest

from ipvsctl.model.ipvs import TrafficStats, VirtualServerKey
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.report.arrivals import Arrivals, arrivals_since, count_arrivals

KEY: Final = VirtualServerKey(family=IPFamily.IPV4, fwmark=7)
OTHER: Final = VirtualServerKey(family=IPFamily.IPV4, fwmark=8)
ENTRY: Final = SetEntry(
    address=parse_address("203.0.113.1"), protocol=Protocol.TCP, port=80, mark=7
)


def test_of_each_end() -> None:
    """Virtual servers that are no arrivals' do not count, nor families without end."""
    held = NodeState(
        entries={set_key(SetRole.TUNNEL_ARRIVAL, IPFamily.IPV4): frozenset({ENTRY})}
    )
    observed = Observed(
        state=held,
        arrived={IPFamily.IPV4: 100},
        traffic={KEY: TrafficStats(packets_in=90), OTHER: TrafficStats(packets_in=5)},
    )
    assert count_arrivals(observed) == {
        IPFamily.IPV4: Arrivals(received=100, balanced={KEY: 90})
    }
    assert count_arrivals(Observed(state=held)) == {}


@pytest.mark.parametrize(
    ("before", "now", "since"),
    [
        (None, Arrivals(received=5, balanced={KEY: 4}), (5, 4)),
        (
            Arrivals(received=5, balanced={KEY: 4}),
            Arrivals(received=9, balanced={KEY: 6, OTHER: 1}),
            (4, 3),
        ),
        # The link, and one virtual server, are others.
        (
            Arrivals(received=50, balanced={KEY: 40, OTHER: 3}),
            Arrivals(received=9, balanced={KEY: 6}),
            (9, 6),
        ),
    ],
)
def test_since_the_last_look(
    before: Arrivals | None, now: Arrivals, since: tuple[int, int]
) -> None:
    """Nothing goes backwards."""
    assert arrivals_since(before, now) == since
