"""What was heard and is not in the kernel: how late, how much, how long, and why."""

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.cluster.events import Deleted, Event, Synced, Upserted
from ipvsctl.controller.backlog import Backlog, Programmed
from ipvsctl.model.net import IPFamily
from ipvsctl.model.problem import Kind
from ipvsctl.model.state import NodeState
from ipvsctl.plan.union.desired_change import DesiredChange
from tests.builders import endpoint_slice, service
from tests.controller.cluster import has, has_slice

LIMIT_S = 60.0
BEGUN_S = 100.0


def told(time: str, name: str = "web-1") -> Upserted:
    """A slice whose pods changed at that time of 1970."""
    piece = endpoint_slice(name, trigger_time=f"1970-01-01T{time}Z" if time else "")
    return Upserted(kind=Kind.ENDPOINT_SLICE, ref=piece.ref, values=(piece,))


def hear(backlog: Backlog, event: Event, now_s: float = 0) -> int:
    """An event that changes its object; steady and wall time are the same."""
    return backlog.heard(event, now_s, now_s, is_change=True)


def after(steps: str) -> Backlog:
    """A backlog after steps, ten seconds apart, the first at 0.

    `q` an event comes in, `t` all are taken, `i` what was taken is imposed, `a`
    everything is, `.` nothing happens.
    """
    backlog = Backlog(LIMIT_S)
    for number, step in enumerate(steps):
        now_s = number * 10.0
        match step:
            case "q":
                hear(backlog, Synced(), now_s)
            case "t":
                backlog.take()
            case "i":
                backlog.imposed(backlog.taken_to, now_s)
            case "a":
                backlog.imposed_all_to(backlog.taken_to, now_s)
            case _:
                assert step == "."
    return backlog


@pytest.mark.parametrize(
    ("fact", "steps", "late_at_s"),
    [
        ("nothing is late at the start", "qt", None),
        ("nothing is late that never came", "ta", None),
        ("nothing is late once it is imposed", "taqti", None),
        ("an event waits from when it came", "taq", 80.0),
        ("later events do not make it younger", "taqq", 80.0),
        ("being taken is not yet being imposed", "taqt", 80.0),
        ("an event that comes meanwhile waits on its own", "taqtqi", 100.0),
        ("what failed is older than what came then", "taqtqt", 80.0),
        ("a sync does not impose what failed before it", "taqtqti", 80.0),
        ("an audit does", "taqtqta", None),
        ("an event during the first audit waits after it", "tqa", 70.0),
    ],
)
def test_when_an_event_is_late(fact: str, steps: str, late_at_s: float | None) -> None:
    """It is late as soon as it has waited for the limit."""
    backlog = after(steps)
    if late_at_s is None:
        assert not backlog.is_late(1e9), fact
    else:
        assert not backlog.is_late(late_at_s - 0.1), fact
        assert backlog.is_late(late_at_s), fact


def test_how_long_the_oldest_has_been_waiting() -> None:
    """Whether it waits for its turn, is being imposed, or has failed."""
    backlog = Backlog(LIMIT_S)
    assert backlog.pending_s(5) is None
    hear(backlog, Synced(), 10)
    hear(backlog, Synced(), 12)
    assert backlog.pending_s(15) == 5
    backlog.take()
    hear(backlog, Synced(), 20)
    second = backlog.take()
    assert backlog.pending_s(21) == 11
    backlog.imposed(second, 21)
    assert backlog.pending_s(21) == 11
    backlog.imposed_all_to(second, 21)
    assert backlog.pending_s(21) is None


@pytest.fixture
def begun() -> Backlog:
    """A backlog after the first audit, a hundred seconds after 1970 began."""
    made = Backlog(LIMIT_S)
    made.imposed_all_to(made.take(), BEGUN_S)
    return made


def durations(backlog: Backlog, wall_s: float, *events: Event) -> list[float]:
    """How long these took, imposed now."""
    for event in events:
        hear(backlog, event, wall_s)
    imposed = backlog.imposed(backlog.take(), wall_s)
    return [programmed.duration_s for programmed in imposed]


def test_what_is_pending(begun: Backlog) -> None:
    """A change is pending until an audit, or the sync that took it, has imposed it."""
    hear(begun, has(service()))
    hear(begun, has_slice(endpoint_slice()))
    begun.take()
    assert begun.pending == {Kind.SERVICE: 1, Kind.ENDPOINT_SLICE: 1}
    hear(begun, Deleted(kind=Kind.SERVICE, ref=service().ref))
    begun.imposed(begun.take(), BEGUN_S)
    assert begun.pending == {Kind.SERVICE: 1, Kind.ENDPOINT_SLICE: 1}
    begun.imposed_all_to(begun.take(), BEGUN_S)
    assert begun.pending == {}
    assert begun.totals == {Kind.SERVICE: 2, Kind.ENDPOINT_SLICE: 1}


def test_an_event_that_changes_nothing_is_no_change(begun: Backlog) -> None:
    """It waits to be imposed like any other, but is not counted."""
    begun.heard(has(service()), 5, BEGUN_S, is_change=False)
    assert (begun.pending, begun.totals, begun.changed_at_s) == ({}, {}, None)
    assert begun.pending_s(7) == 2


def test_how_long_it_took(begun: Backlog) -> None:
    """From the time in the annotation, with Go's nanoseconds, for each slice."""
    hear(begun, told("00:02:20.500000001"), 150)
    hear(begun, told("00:02:29", "web-2"), 150)
    assert durations(begun, 152) == [pytest.approx(11.5), pytest.approx(3)]
    assert begun.changed_at_s == 150
    hear(begun, told("00:02:31"), 152)
    assert begun.imposed(begun.take(), 152) == (Programmed(IPFamily.IPV4, 1.0),)


def test_what_a_failed_sync_took_is_told_by_the_audit(begun: Backlog) -> None:
    """It was not in the kernel before."""
    hear(begun, told("00:01:45"), 110)
    begun.take()
    assert durations(begun, 110, told("00:01:50", "web-2")) == [0]
    imposed = begun.imposed_all_to(begun.take(), 120)
    assert [programmed.duration_s for programmed in imposed] == [15]


def test_what_was_before_the_first_audit_is_not_told() -> None:
    """Nobody knows how long it took: an earlier daemon may have served it."""
    backlog = Backlog(LIMIT_S)
    hear(backlog, told("00:01:39"), 100)
    assert backlog.imposed_all_to(backlog.take(), 110) == ()
    assert durations(backlog, 110, told("00:01:45", "web-2")) == []
    assert durations(backlog, 110, told("00:01:50", "web-3")) == []
    assert durations(backlog, 111, told("00:01:51", "web-4")) == [0]


def test_only_a_new_trigger_counts(begun: Backlog) -> None:
    """Not a change of something else of the slice, nor its deletion."""
    assert durations(begun, 200, told("00:03:00")) == [20]
    assert durations(begun, 300, told("00:03:00")) == []
    gone = Deleted(kind=Kind.ENDPOINT_SLICE, ref=endpoint_slice("web-1").ref)
    assert durations(begun, 300, gone) == []


@pytest.mark.parametrize("time", ["", "soon", "1970-01-01T00:05:00"])
def test_no_time(begun: Backlog, time: str) -> None:
    """An annotation that is missing or no time is no trigger."""
    piece = endpoint_slice("web-1", trigger_time=time)
    assert durations(begun, 100, has_slice(piece)) == []


def test_a_clock_that_is_ahead(begun: Backlog) -> None:
    """The control plane's may be; no duration is negative."""
    assert durations(begun, 100, told("00:02:00")) == [0]


def change() -> DesiredChange:
    """One that can be told from all others by what it is."""
    return DesiredChange(
        keys=frozenset(), desired=NodeState(), presumed=NodeState(), needs_audit=False
    )


def ids(changes: Iterable[DesiredChange]) -> list[int]:
    """Which these are."""
    return [id(one) for one in changes]


class Model:
    """The same facts, event by event, without any number being clever.

    Attributes:
        takings: each with its events and its change, as long as it is not over.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[int, Kind | None, float]] = []
        self.takings: dict[int, tuple[list[tuple[int, Kind | None, float]], int]] = {}
        self.absorbed: list[int] = []

    def check(self, backlog: Backlog, now_s: float) -> None:
        """The backlog says the same."""
        events = [e for taking, _ in self.takings.values() for e in taking]
        events += self.waiting
        times = [at_s for _, _, at_s in events]
        expected = now_s - min(times) if times else None
        assert backlog.pending_s(now_s) == expected
        assert backlog.pending == Counter(k for _, k, _ in events if k is not None)
        made = [changed for _, changed in self.takings.values()]
        assert ids(backlog.changes) == made + self.absorbed
        taken = [s for taking, _ in self.takings.values() for s, *_ in taking]
        assert all(serial > backlog.imposed_to for serial in taken)
        assert backlog.imposed_to <= backlog.taken_to <= backlog.heard_to


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["hear", "hear", "take", "impose", "absorb", "audit"]),
            st.sampled_from([Kind.SERVICE, Kind.ENDPOINT_SLICE, None]),
            st.integers(0, 9),
        ),
        max_size=60,
    )
)
def test_figures_are_those_of_each_event(
    steps: list[tuple[str, Kind | None, int]],
) -> None:
    """Whichever takings are imposed, in whatever order, and when audits begin.

    What is held is no more than what is not imposed.
    """
    backlog, model = Backlog(LIMIT_S), Model()
    kept = []
    for now_s, (what, kind, number) in enumerate(steps):
        match what:
            case "hear":
                event = (
                    Synced() if kind is None else Deleted(kind=kind, ref=service().ref)
                )
                serial = hear(backlog, event, now_s)
                model.waiting.append((serial, kind, now_s))
            case "take":
                kept.append(made := change())
                taken = backlog.take()
                backlog.compiled(taken, made)
                model.takings[taken] = (model.waiting, id(made))
                model.waiting = []
            case "impose" if model.takings:
                taken = list(model.takings)[number % len(model.takings)]
                backlog.imposed(taken, now_s)
                del model.takings[taken]
            case "absorb":
                kept.append(made := change())
                backlog.absorbed((made,))
                model.absorbed.append(id(made))
            case "audit":
                upto = max((t for t in model.takings if t % 2 == number % 2), default=0)
                backlog.imposed_all_to(upto, now_s)
                model.takings = {t: v for t, v in model.takings.items() if t > upto}
                model.absorbed = []
        model.check(backlog, now_s)
        assert len(backlog._taken) == len(model.takings)
