"""From an event to the kernel: what is pending, and how long it took."""

import pytest

from ipvsctl.cluster.events import Deleted, Event, Upserted
from ipvsctl.controller.programming_latency import Programmed, ProgrammingLatency
from ipvsctl.model.net import IPFamily
from ipvsctl.model.problem import Kind
from tests.builders import endpoint_slice, service
from tests.controller.cluster import has, has_slice
from tests.fakes.clock import FakeClock


def told(time: str, name: str = "web-1") -> Upserted:
    """A slice whose pods changed at that time of 1970."""
    piece = endpoint_slice(name, trigger_time=f"1970-01-01T{time}Z" if time else "")
    return Upserted(kind=Kind.ENDPOINT_SLICE, ref=piece.ref, values=(piece,))


@pytest.fixture
def clock() -> FakeClock:
    """The wall clock, a hundred seconds after 1970 began."""
    made = FakeClock()
    made.advance(100)
    return made


@pytest.fixture
def begun(clock: FakeClock) -> ProgrammingLatency:
    """ProgrammingLatency after the first audit."""
    made = ProgrammingLatency(clock)
    made.taken()
    made.imposed_all()
    return made


def durations(changes: ProgrammingLatency, *events: Event) -> list[float]:
    """How long these took, imposed now."""
    for event in events:
        changes.heard(event)
    changes.taken()
    return [programmed.duration_s for programmed in changes.imposed_taken()]


def test_what_is_pending(begun: ProgrammingLatency) -> None:
    """A change is pending until an audit, or the sync that took it, has imposed it."""
    begun.heard(has(service()))
    begun.heard(has_slice(endpoint_slice()))
    begun.taken()
    assert begun.pending == {Kind.SERVICE: 1, Kind.ENDPOINT_SLICE: 1}
    begun.heard(Deleted(kind=Kind.SERVICE, ref=service().ref))
    begun.taken()
    begun.imposed_taken()
    assert begun.pending == {Kind.SERVICE: 1, Kind.ENDPOINT_SLICE: 1}
    begun.taken()
    begun.imposed_all()
    assert begun.pending == {}
    assert begun.totals == {Kind.SERVICE: 2, Kind.ENDPOINT_SLICE: 1}


def test_how_long_it_took(begun: ProgrammingLatency, clock: FakeClock) -> None:
    """From the time in the annotation, with Go's nanoseconds, for each slice."""
    clock.advance(50)
    begun.heard(told("00:02:20.500000001"))
    begun.heard(told("00:02:29", "web-2"))
    clock.advance(2)
    assert durations(begun) == [pytest.approx(11.5), pytest.approx(3)]
    assert begun.queued_at_s == 150
    begun.heard(told("00:02:31"))
    begun.taken()
    assert begun.imposed_taken() == (Programmed(IPFamily.IPV4, 1.0),)


def test_what_a_failed_sync_took_is_told_by_the_audit(
    begun: ProgrammingLatency, clock: FakeClock
) -> None:
    """It was not in the kernel before."""
    clock.advance(10)
    begun.heard(told("00:01:45"))
    begun.taken()
    assert durations(begun, told("00:01:50", "web-2")) == [0]
    clock.advance(10)
    begun.taken()
    assert [p.duration_s for p in begun.imposed_all()] == [15]


def test_what_was_before_the_first_audit_is_not_told(clock: FakeClock) -> None:
    """Nobody knows how long it took: an earlier daemon may have served it."""
    changes = ProgrammingLatency(clock)
    changes.heard(told("00:01:39"))
    changes.taken()
    clock.advance(10)
    assert changes.imposed_all() == ()
    assert durations(changes, told("00:01:45", "web-2")) == []
    assert durations(changes, told("00:01:50", "web-3")) == []
    clock.advance(1)
    assert durations(changes, told("00:01:51", "web-4")) == [0]


def test_only_a_new_trigger_counts(begun: ProgrammingLatency, clock: FakeClock) -> None:
    """Not a change of something else of the slice, nor its deletion."""
    clock.advance(100)
    assert durations(begun, told("00:03:00")) == [20]
    clock.advance(100)
    assert durations(begun, told("00:03:00")) == []
    gone = Deleted(kind=Kind.ENDPOINT_SLICE, ref=endpoint_slice("web-1").ref)
    assert durations(begun, gone) == []


@pytest.mark.parametrize("time", ["", "soon", "1970-01-01T00:05:00"])
def test_no_time(begun: ProgrammingLatency, time: str) -> None:
    """An annotation that is missing or no time is no trigger."""
    piece = endpoint_slice("web-1", trigger_time=time)
    assert durations(begun, has_slice(piece)) == []


def test_a_clock_that_is_ahead(begun: ProgrammingLatency) -> None:
    """The control plane's may be; no duration is negative."""
    assert durations(begun, told("00:02:00")) == [0]
