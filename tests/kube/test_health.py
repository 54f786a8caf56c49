"""`kube.health`: what is told of a watch."""

from ipvsctl.kube.health import HealthRecord
from ipvsctl.model.problem import Kind
from tests.fakes.clock import FakeClock


def test_before_anything() -> None:
    """A watch that was not opened yet is away, and nothing was heard of it."""
    clock = FakeClock()
    record = HealthRecord(Kind.SERVICE, clock)
    clock.advance(5)
    health = record.health()
    assert not health.is_connected
    assert not health.is_complete
    assert health.since_s == 5
    assert health.heard_s is None
    assert not record.is_away


def test_away() -> None:
    """Since when it is away does not change with the reason, which is news once."""
    clock = FakeClock()
    record = HealthRecord(Kind.NODE, clock)
    record.connected()
    record.completed()
    clock.advance(10)
    record.ended("timeout")
    assert record.lost("a")
    clock.advance(2)
    record.ended("timeout")
    assert not record.lost("a")
    assert record.lost("b")
    health = record.health()
    assert (health.is_connected, health.since_s, health.reason) == (False, 2, "b")
    assert health.is_complete
    assert health.heard_s == 12
    assert health.restarts == {"timeout": 2}
    record.connected()
    assert record.health().reason == ""
    assert record.health().since_s == 0
    assert not record.is_away
