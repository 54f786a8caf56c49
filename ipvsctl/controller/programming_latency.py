"""Which changes of Services and endpoints are in the kernel, and since when."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

import msgspec

from ipvsctl.cluster.events import Deleted, Event, Upserted
from ipvsctl.model.net import IPFamily
from ipvsctl.model.objects import EndpointSlice
from ipvsctl.model.problem import Kind, ObjectRef


class Programmed(msgspec.Struct, frozen=True):
    """A change of an EndpointSlice that is in the kernel.

    Attributes:
        duration_s: since the change of the pods that it is about.
    """

    family: IPFamily
    duration_s: float


class _Pending(msgspec.Struct):
    """Changes, and what some of them were triggered by: family and wall clock."""

    counts: Counter[Kind] = msgspec.field(default_factory=Counter)
    triggers: list[tuple[IPFamily, float]] = msgspec.field(default_factory=list)

    def add(self, other: "_Pending") -> None:
        self.counts += other.counts
        self.triggers += other.triggers


class ProgrammingLatency:
    """Follows changes from the event to the kernel.

    How long they took is known from the first audit on: what was changed before may
    have been served all the time, by an earlier daemon (kubernetes/perf-tests#640).

    Args:
        clock: wall clock, seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun_s: float | None = None
        self._seen: dict[ObjectRef, str] = {}
        self._totals: Counter[Kind] = Counter()
        self._waiting = _Pending()
        self._taken = _Pending()
        self._failed = _Pending()
        self.queued_at_s: float | None = None
        """When the last event came."""

    @property
    def totals(self) -> Mapping[Kind, int]:
        """How many there were."""
        return self._totals

    @property
    def pending(self) -> Mapping[Kind, int]:
        """How many are not in the kernel yet."""
        return self._waiting.counts + self._taken.counts + self._failed.counts

    def heard(self, event: Event) -> None:
        """An event has changed an object."""
        self.queued_at_s = self._clock()
        if not isinstance(event, Upserted | Deleted):
            return
        self._totals[event.kind] += 1
        self._waiting.counts[event.kind] += 1
        if isinstance(event, Deleted):
            # What it says was the trigger of the change before.
            self._seen.pop(event.ref, None)
        elif self._begun_s is not None:
            self._waiting.triggers += self._triggers(event, self._begun_s)

    def taken(self) -> None:
        """All that was heard of so far is being imposed; see `Progress`."""
        self._failed.add(self._taken)
        self._taken, self._waiting = self._waiting, _Pending()

    def imposed_taken(self) -> tuple[Programmed, ...]:
        """What was taken last is in the kernel."""
        taken, self._taken = self._taken, _Pending()
        return tuple(self._programmed(taken))

    def imposed_all(self) -> tuple[Programmed, ...]:
        """All that was ever taken is in the kernel."""
        self._taken.add(self._failed)
        self._failed = _Pending()
        if self._begun_s is None:
            self._begun_s = self._clock()
        return self.imposed_taken()

    def _triggers(
        self, event: Upserted, begun_s: float
    ) -> Iterator[tuple[IPFamily, float]]:
        for value in event.values:
            if not isinstance(value, EndpointSlice) or not value.trigger_time:
                continue
            # Without a new trigger, something else of it has changed.
            if self._seen.get(event.ref) == value.trigger_time:
                continue
            triggered_s = _seconds(value.trigger_time)
            if triggered_s is not None and triggered_s > begun_s:
                self._seen[event.ref] = value.trigger_time
                yield value.family, triggered_s

    def _programmed(self, pending: _Pending) -> Iterator[Programmed]:
        now_s = self._clock()
        for family, triggered_s in pending.triggers:
            # The control plane's clock may be ahead of this node's.
            yield Programmed(family, max(0.0, now_s - triggered_s))


def _seconds(time: str) -> float | None:
    """Seconds since the epoch; None for what is no time with a zone."""
    try:
        parsed = datetime.fromisoformat(time)
    except ValueError:
        return None
    return None if parsed.tzinfo is None else parsed.timestamp()
