"""What `vipBinding: auto` comes to."""

import pytest

from ipvsctl.model.config import VipBinding
from ipvsctl.model.net import IPAddress, parse_address
from ipvsctl.model.state import NodeState
from ipvsctl.plan.union.vip_binding import (
    ADDRESSES_BELOW,
    MANY_FOR_ADDRESSES,
    ROUTES_ABOVE,
    HeldVips,
    VipChoice,
    choose_binding,
    choose_vips,
    held_vips,
)
from tests.addresses import later

ADDRESS, ROUTE = VipBinding.ADDRESS, VipBinding.ROUTE


def vips(count: int, first: str = "10.96.0.0") -> frozenset[IPAddress]:
    """So many VIPs, from one on."""
    return frozenset(later(parse_address(first), number) for number in range(count))


def bound(count: int) -> NodeState:
    """VIPs as addresses, each with its route."""
    return NodeState(addresses=vips(count), routes=dict.fromkeys(vips(count)))


def routed(count: int) -> NodeState:
    """VIPs by routes alone."""
    return NodeState(routes=dict.fromkeys(vips(count)))


@pytest.mark.parametrize(
    ("fact", "wanted", "held", "choice"),
    [
        ("a node without Services", 0, (0, 0), ADDRESS),
        ("few", 1_999, (0, 0), ADDRESS),
        ("many", 2_000, (0, 0), ROUTE),
        ("very many", 50_000, (0, 0), ROUTE),
        ("addresses stay in the gap", 2_000, (1_999, 0), ADDRESS),
        ("and to its end", 2_500, (1, 0), ADDRESS),
        ("above they go", 2_501, (2_400, 0), ROUTE),
        ("routes stay in the gap", 1_999, (0, 2_000), ROUTE),
        ("and to its end", 1_500, (0, 1), ROUTE),
        ("below they go", 1_499, (0, 1_500), ADDRESS),
        ("a change to routes that broke off early", 2_200, (2_000, 200), ADDRESS),
        ("a change to routes that broke off late", 2_200, (200, 2_000), ROUTE),
        ("in the very middle", 1_999, (1_000, 1_000), ADDRESS),
        ("in the very middle, of more", 2_000, (1_000, 1_000), ROUTE),
        ("an address that somebody put on the link", 1_600, (1, 1_599), ROUTE),
    ],
)
def test_choice(
    fact: str, wanted: int, held: tuple[int, int], choice: VipBinding
) -> None:
    """The number of VIPs decides, and between two limits what is there."""
    assert choose_binding(wanted, *held) is choice, fact


def test_the_limits_leave_a_gap() -> None:
    """500 VIPs more or fewer than at the choice do not lead back."""
    gap = 500
    assert gap == MANY_FOR_ADDRESSES - ADDRESSES_BELOW
    assert gap == ROUTES_ABOVE - MANY_FOR_ADDRESSES
    for wanted in (gap, 1_500, 1_999, 2_000, 2_500, 5_000):
        first = choose_binding(wanted, 0, 0)
        held = (wanted, 0) if first is ADDRESS else (0, wanted)
        for later_wanted in (wanted - gap, wanted, wanted + gap):
            assert choose_binding(later_wanted, *held) is first, later_wanted


def test_an_address_with_its_route_is_an_address() -> None:
    """With `address` there are as many routes as addresses, and none counts."""
    assert held_vips(bound(3)) == HeldVips(bound=3, routed=0)
    assert held_vips(routed(3)) == HeldVips(bound=0, routed=3)
    assert HeldVips(bound=3, routed=0).binding is ADDRESS
    assert HeldVips(bound=0, routed=3).binding is ROUTE
    assert HeldVips(bound=0, routed=0).binding is None


@pytest.mark.parametrize(
    ("wanted", "state", "lasts", "choice"),
    [
        (3_000, NodeState(), True, ROUTE),
        (3_000, NodeState(), False, ROUTE),
        (3_000, bound(2_000), True, ROUTE),
        (3_000, bound(2_000), False, ADDRESS),
        (100, routed(3_000), True, ADDRESS),
        (100, routed(3_000), False, ROUTE),
    ],
)
def test_only_a_process_that_lasts_changes_what_is_there(
    wanted: int, state: NodeState, *, lasts: bool, choice: VipBinding
) -> None:
    """`apply` and `diff` do not undo, or seem to, what a daemon beside them chose."""
    made = choose_vips(vips(wanted), state, is_all=True, lasts=lasts)
    assert made == VipChoice(choice, wanted)


def test_what_is_not_known_counts_with_what_is_there() -> None:
    """Over input that cannot be read the kernel's VIPs may all be wanted."""
    wanted = vips(100, "10.97.0.0")
    for state, is_all, choice in (
        (routed(3_000), True, VipChoice(ADDRESS, 100)),
        (routed(3_000), False, VipChoice(ROUTE, 3_100)),
        (bound(2_450), False, VipChoice(ROUTE, 2_550)),
        (bound(2_450), True, VipChoice(ADDRESS, 100)),
    ):
        assert choose_vips(wanted, state, is_all=is_all, lasts=True) == choice
