"""What a glance tells, and what it does not."""

import pytest

from ipvsctl.plan.diff.surplus import Surplus

USUAL = Surplus(of_ipv4=2, of_all=-5, entries={"a": 1})


def but(**more: object) -> Surplus:
    """The usual one, but for these."""
    facts = {"of_ipv4": 2, "of_all": -5, "entries": {"a": 1}, **more}
    return Surplus(**facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (USUAL, ""),
        # One of IPv6 came that is desired, and this kernel counts those of IPv4.
        (but(of_all=-6), ""),
        # The same where all are counted.
        (but(of_ipv4=3), ""),
        (but(of_ipv4=1, of_all=-6), "virtual servers -1"),
        (but(of_ipv4=-1998, of_all=-2005), "virtual servers -2,000"),
        (but(entries={"a": 0, "b": 7}), "entries of set a -1, entries of set b +7"),
        (but(entries={}), "entries of set a -1"),
    ],
)
def test_what_nobody_explains(seen: Surplus, told: str) -> None:
    """A number that is another than usual, whichever way the kernel counts."""
    assert seen.differs(USUAL) == told
