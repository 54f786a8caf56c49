"""Portions of the real servers of one virtual server."""

from ipaddress import IPv4Address

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.ipvs import RealServer, RealServerKey
from ipvsctl.plan.diff.crowd import portion

KEYS = [RealServerKey(IPv4Address(0xAC100000 + n), 8080) for n in range(8)]


def real_servers(weights: dict[int, int]) -> dict[RealServerKey, RealServer]:
    """Each by its place, with a weight."""
    return {
        KEYS[n]: RealServer(key=KEYS[n], weight=weight) for n, weight in weights.items()
    }


PLACES = st.integers(0, len(KEYS) - 1)
HELD = st.dictionaries(PLACES, st.integers(0, 2)).map(real_servers)
WANTED = st.dictionaries(PLACES, st.integers(1, 2)).map(real_servers)


@given(HELD, WANTED, st.integers(1, 4))
def test_portion_by_portion_one_becomes_the_other(
    held: dict[RealServerKey, RealServer],
    wanted: dict[RealServerKey, RealServer],
    most: int,
) -> None:
    """Nothing goes before all have come, and what is going is left alone."""
    going = {key for key, one in held.items() if key not in wanted and not one.weight}
    now = dict(held)
    is_last = False
    rounds = 0
    while not is_last:
        part = portion(now, wanted, most)
        is_last = part.is_last
        changed = {key for key, _ in part.held.items() ^ part.wanted.items()}
        assert len(changed) <= most
        assert is_last or len(changed) == most
        assert not changed & going
        gone = changed - part.wanted.keys()
        assert not gone or {**now, **part.wanted}.items() >= wanted.items()
        same = now.items() & wanted.items()
        assert bool(same) <= bool(part.held.items() & part.wanted.items())
        now |= part.wanted
        for key in gone:
            now[key] = msgspec.structs.replace(now[key], weight=0)
        rounds += 1
    assert {key: one for key, one in now.items() if key in wanted} == wanted
    assert all(not one.weight for key, one in now.items() if key not in wanted)
    assert rounds <= len(KEYS) // most + 1
