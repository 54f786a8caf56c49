"""Virtual servers with very many real servers, compared without being read."""

from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.ipvs import RealServer, RealServerKey
from ipvsctl.model.net import IPv4Address
from ipvsctl.plan.diff.crowd import differing, pick

KEYS = [RealServerKey(IPv4Address(0xAC100000 + n), 8080) for n in range(8)]


def real_servers(weights: dict[int, int]) -> dict[RealServerKey, RealServer]:
    """Each by its place, with a weight."""
    return {
        KEYS[n]: RealServer(key=KEYS[n], weight=weight) for n, weight in weights.items()
    }


PLACES = st.integers(0, len(KEYS) - 1)
HELD = st.dictionaries(PLACES, st.integers(0, 2)).map(real_servers)
WANTED = st.dictionaries(PLACES, st.integers(1, 2)).map(real_servers)


@given(HELD, WANTED)
def test_what_comes_is_before_what_goes(
    held: dict[RealServerKey, RealServer], wanted: dict[RealServerKey, RealServer]
) -> None:
    """Each that differs, once, but for what goes already."""
    found = differing(held, wanted)
    coming = [key for key in wanted if held.get(key) != wanted[key]]
    going = {key for key in held if key not in wanted and held[key].weight}
    assert sorted(found[: len(coming)]) == sorted(coming)
    if 2 * len(coming) > len(wanted):
        assert found[: len(coming)] == coming
    assert sorted(found[len(coming) :]) == sorted(going)
    assert {**held, **pick(wanted, found)}.items() >= wanted.items()
