"""Comparisons in rules that others may have changed."""

import pytest

from ipvsctl.model.net import IPFamily, parse_network
from ipvsctl.model.rules import MatchSource
from ipvsctl.wire.nftables.attributes import PayloadBase
from ipvsctl.wire.nftables.comparisons import UnknownExpressionError, match_of

SOURCE = 12
"""Where the source is in an IPv4 header."""


def masked(mask: bytes) -> tuple[object, ...]:
    """Some bits of the source, in a register."""
    payload = ("payload", PayloadBase.NETWORK_HEADER, SOURCE, len(mask))
    return "bits", payload, mask, 0


def test_a_source_in_a_network() -> None:
    """What the mask leaves is the network's own address."""
    found = match_of(
        masked(b"\xff\xf0\0\0"), b"\x0a\x10\0\0", IPFamily.IPV4, negated=False
    )
    assert found == MatchSource(parse_network("10.16.0.0/12"), negated=False)


@pytest.mark.parametrize(
    ("mask", "wanted"),
    [
        (b"\xff\0\0\0", b"\x0a\x01\0\0"),
        (b"\xff\xff\xff\0", b"\x0a\0\0\1"),
        (b"\xff\0\xff\0", b"\x0a\0\0\0"),
        (b"\0" * 12 + b"\xff" * 4, b"\0" * 12 + b"\x0a\0\0\1"),
        (b"\xff\xff", b"\x0a\0\0"),
    ],
)
def test_no_network(mask: bytes, wanted: bytes) -> None:
    """A bit that the mask clears is never there: such a rule is not ours."""
    with pytest.raises(UnknownExpressionError):
        match_of(masked(mask), wanted, IPFamily.IPV4, negated=False)
