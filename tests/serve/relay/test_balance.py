"""Which endpoint a client on localhost gets."""

from collections import Counter
from typing import Any

import pytest

from ipvsctl.model.ipvs import RealServer, RealServerKey
from ipvsctl.model.net import parse_address
from ipvsctl.model.relay import Refusal
from ipvsctl.serve.relay.balance import Balance
from tests.serve.relay.world import free_listener, port_at

A, B, C = (RealServerKey(parse_address(f"172.16.0.{n}"), 8080) for n in (1, 2, 3))
LISTENER = free_listener()


def balance(*servers: RealServer, **fields: Any) -> Balance:
    """Of these endpoints."""
    return Balance(port_at(LISTENER, servers, **fields))


def weighing(**weights: int) -> list[RealServer]:
    """Endpoints with weights."""
    keys = {"a": A, "b": B, "c": C}
    return [RealServer(key=keys[name], weight=w) for name, w in weights.items()]


@pytest.mark.parametrize(
    ("scheduler", "weights", "expected"),
    [
        ("rr", {"a": 1, "b": 1, "c": 1}, {A: 4, B: 4, C: 4}),
        ("rr", {"a": 5, "b": 1, "c": 0}, {A: 6, B: 6}),
        ("wrr", {"a": 3, "b": 1, "c": 0}, {A: 9, B: 3}),
        ("wrr", {"a": 600, "b": 200, "c": 400}, {A: 6, B: 2, C: 4}),
        ("lc", {"a": 5, "b": 1}, {A: 6, B: 6}),
        ("wlc", {"a": 2, "b": 1}, {A: 8, B: 4}),
        # All clients have one address: a hash of it would be one endpoint's.
        ("sh", {"a": 1, "b": 1}, {A: 6, B: 6}),
        ("fo", {"a": 1, "b": 9, "c": 3}, {B: 12}),
    ],
)
def test_endpoints_take_turns(
    scheduler: str, weights: dict[str, int], expected: dict[RealServerKey, int]
) -> None:
    """By weight, where the scheduler looks at it; weight 0 gets nothing."""
    made = balance(*weighing(**weights), scheduler=scheduler)
    assert Counter(made.choose(0.0, {}) for _ in range(12)) == expected


def test_the_order_is_that_of_the_real_servers() -> None:
    """Which differs from node to node (I9)."""
    made = balance(*weighing(c=1, a=1, b=1))
    assert [made.choose(0.0, {}) for _ in range(4)] == [C, A, B, C]


def test_nobody_takes_it() -> None:
    """No endpoint, none with a weight, or all were tried."""
    assert balance().choose(0.0, {}) is Refusal.UNREACHABLE
    assert balance(*weighing(a=0)).choose(0.0, {}) is Refusal.UNREACHABLE
    made = balance(*weighing(a=1, b=1))
    assert made.choose(0.0, {}, (A,)) == B
    assert made.choose(0.0, {}, (A, B)) is Refusal.UNREACHABLE


def test_an_endpoint_that_is_full() -> None:
    """It gets nothing until it has less than its lower threshold; then it does."""
    limited = RealServer(key=A, upper_threshold=4, lower_threshold=3)
    made = balance(limited)
    assert made.choose(0.0, {A: 3}) == A
    assert made.choose(0.0, {A: 4}) is Refusal.FULL
    assert made.choose(0.0, {A: 3}) is Refusal.FULL
    assert made.choose(0.0, {A: 2}) == A
    made = balance(limited, RealServer(key=B))
    assert {made.choose(0.0, {A: 4}) for _ in range(4)} == {B}


def test_session_affinity() -> None:
    """One endpoint for all, until nobody came for the timeout and nobody is there."""
    made = balance(*weighing(a=1, b=1), affinity_timeout_s=10)
    assert [made.choose(now_s, {}) for now_s in (0, 9, 18)] == [A, A, A]
    assert made.choose(28, {}) == B
    assert made.choose(100, {B: 1}) == B


def test_session_affinity_ends_with_its_endpoint() -> None:
    """Gone, at weight 0 or not to be reached: another has all clients from then on."""
    both = weighing(a=1, b=1)
    made = balance(*both, affinity_timeout_s=10)
    assert made.choose(0, {}) == A
    assert made.choose(1, {}, (A,)) == B
    assert made.choose(2, {}) == B
    made.aim(port_at(LISTENER, weighing(a=1, b=0), affinity_timeout_s=10))
    assert made.choose(3, {B: 1}) == A
    made.aim(port_at(LISTENER, weighing(b=1), affinity_timeout_s=10))
    assert made.choose(4, {A: 1}) == B


def test_other_endpoints_go_on_where_it_was() -> None:
    """With fewer or more of them, and with none in between."""
    made = balance(*weighing(a=1, b=1, c=1))
    assert [made.choose(0, {}) for _ in range(3)] == [A, B, C]
    made.aim(port_at(LISTENER, weighing(a=1)))
    assert made.choose(0, {}) == A
    made.aim(port_at(LISTENER, []))
    assert made.choose(0, {}) is Refusal.UNREACHABLE
    made.aim(port_at(LISTENER, weighing(a=2, b=4), scheduler="wrr"))
    assert Counter(made.choose(0, {}) for _ in range(6)) == {A: 2, B: 4}
