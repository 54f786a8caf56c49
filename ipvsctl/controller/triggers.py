"""When the pods changed that an EndpointSlice tells of: where programming begins."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from ipvsctl.cluster.events import Deleted, Upserted
from ipvsctl.model.net import IPFamily
from ipvsctl.model.objects import EndpointSlice
from ipvsctl.model.problem import ObjectRef


class Trigger(msgspec.Struct, frozen=True):
    """A change of pods, and when that was on the wall clock."""

    family: IPFamily
    at_s: float


class Triggers:
    """Finds the triggers of events, each once.

    How long programming takes is known from the first audit on: what was changed
    before may have been served all the time, by an earlier daemon
    (kubernetes/perf-tests#640).
    """

    def __init__(self) -> None:
        self._begun_s: float | None = None
        self._seen: dict[ObjectRef, str] = {}

    def begin(self, wall_s: float) -> None:
        """Triggers after this moment count; only the first call says so."""
        if self._begun_s is None:
            self._begun_s = wall_s

    def of(self, event: Upserted | Deleted) -> Iterator[Trigger]:
        """The triggers that an event brings."""
        if isinstance(event, Deleted):
            # What it says was the trigger of the change before.
            self._seen.pop(event.ref, None)
        elif self._begun_s is not None:
            yield from self._new(event, self._begun_s)

    def _new(self, event: Upserted, begun_s: float) -> Iterator[Trigger]:
        for value in event.values:
            if not isinstance(value, EndpointSlice) or not value.trigger_time:
                continue
            # Without a new trigger, something else of it has changed.
            if self._seen.get(event.ref) == value.trigger_time:
                continue
            triggered_s = _seconds(value.trigger_time)
            if triggered_s is not None and triggered_s > begun_s:
                self._seen[event.ref] = value.trigger_time
                yield Trigger(value.family, triggered_s)


def _seconds(time: str) -> float | None:
    """Seconds since the epoch; None for what is no time with a zone."""
    try:
        parsed = datetime.fromisoformat(time)
    except ValueError:
        return None
    return None if parsed.tzinfo is None else parsed.timestamp()
