"""The one account of what was heard and is not in the kernel yet, by serial numbers.

Each event that the loop hears has a serial, and so has each taking: the moment when all
events before it are compiled, to be imposed together. A taking is over when its sync,
or an audit that began after it, has imposed it. How long the oldest event waits, what
is pending, how long changes took and which changes explain the ops of an audit: all of
it follows from which takings are not over.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from ipvsctl.cluster.events import Deleted, Event, Upserted
from ipvsctl.controller.triggers import Trigger, Triggers
from ipvsctl.model.net import IPFamily
from ipvsctl.model.problem import Kind
from ipvsctl.plan.union.desired_change import DesiredChange


class Programmed(msgspec.Struct, frozen=True):
    """A change of an EndpointSlice that is in the kernel.

    Attributes:
        duration_s: since the change of the pods that it is about.
    """

    family: IPFamily
    duration_s: float


class _Taking(msgspec.Struct):
    """Events that are imposed together, added up.

    Attributes:
        first: no event before this serial is among them.
        since_s: when the oldest of them was heard; None without any.
        counts: those that changed an object, by its kind.
        triggers: what some of them were triggered by.
        change: what they changed in the desired state, once they are compiled.
    """

    first: int
    since_s: float | None = None
    counts: Counter[Kind] = msgspec.field(default_factory=Counter)
    triggers: list[Trigger] = msgspec.field(default_factory=list)
    change: DesiredChange | None = None


class Backlog:
    """See above. Holds as much as is not imposed, and no clock: times are given.

    Steady times are seconds on any clock that does not jump; wall times are seconds
    since the epoch. Until everything has been imposed once nothing is late: the start
    of a large node takes as long as it takes.
    Source: kube-proxy pkg/proxy/healthcheck/proxy_health.go.

    Args:
        limit_s: for how long an event may wait.

    Attributes:
        heard_to: the last serial given; 0 is none.
        taken_to: the serial of the last taking.
        changed_at_s: when the last change of an object was heard, on the wall clock.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self.heard_to = 0
        self.taken_to = 0
        self.changed_at_s: float | None = None
        self._totals: Counter[Kind] = Counter()
        self._triggers = Triggers()
        self._has_begun = False
        self._waiting = _Taking(first=1)
        self._taken: dict[int, _Taking] = {}
        self._unasked: list[DesiredChange] = []

    @property
    def imposed_to(self) -> int:
        """Everything up to this serial is in the kernel."""
        for taking in self._taken.values():
            return taking.first - 1
        return self.taken_to

    @property
    def totals(self) -> Mapping[Kind, int]:
        """How many changes of objects were ever heard."""
        return self._totals

    @property
    def pending(self) -> Mapping[Kind, int]:
        """How many of these are not in the kernel yet."""
        return sum((taking.counts for taking in self._open()), Counter())

    @property
    def changes(self) -> tuple[DesiredChange, ...]:
        """What was desired anew and is not imposed yet."""
        changes = (taking.change for taking in self._taken.values())
        return (*(c for c in changes if c is not None), *self._unasked)

    def heard(
        self, event: Event, now_s: float, wall_s: float, *, is_change: bool
    ) -> int:
        """An event came in.

        Args:
            event: what it says.
            now_s: steady time.
            wall_s: wall time.
            is_change: it has changed an object.

        Returns:
            Its serial.
        """
        self.heard_to += 1
        waiting = self._waiting
        if waiting.since_s is None:
            waiting.since_s = now_s
        if is_change:
            self.changed_at_s = wall_s
            if isinstance(event, Upserted | Deleted):
                self._totals[event.kind] += 1
                waiting.counts[event.kind] += 1
                waiting.triggers += self._triggers.of(event)
        return self.heard_to

    def take(self) -> int:
        """All that came in so far is being imposed; the serial of this taking."""
        self.heard_to += 1
        self.taken_to = self.heard_to
        self._taken[self.taken_to] = self._waiting
        self._waiting = _Taking(first=self.taken_to + 1)
        return self.taken_to

    def compiled(self, taken: int, change: DesiredChange) -> None:
        """A taking has changed the desired state by this much."""
        self._taken[taken].change = change

    def absorbed(self, changes: Iterable[DesiredChange]) -> None:
        """An audit has changed the desired state, of which no event is the reason."""
        self._unasked += changes

    def imposed(self, taken: int, wall_s: float) -> tuple[Programmed, ...]:
        """A taking is in the kernel, but not those before it that failed."""
        return tuple(_programmed(self._taken.pop(taken), wall_s))

    def imposed_all_to(self, taken: int, wall_s: float) -> tuple[Programmed, ...]:
        """A taking is in the kernel, and all before it: an audit has ended."""
        self._has_begun = True
        self._unasked.clear()
        self._triggers.begin(wall_s)
        over = [serial for serial in self._taken if serial <= taken]
        return tuple(
            programmed
            for serial in over
            for programmed in _programmed(self._taken.pop(serial), wall_s)
        )

    def pending_s(self, now_s: float) -> float | None:
        """For how long the oldest event has been waiting; None without one."""
        for taking in self._open():
            if taking.since_s is not None:
                return now_s - taking.since_s
        return None

    def is_late(self, now_s: float) -> bool:
        """Whether an event has been waiting for too long."""
        pending_s = self.pending_s(now_s)
        if pending_s is None or not self._has_begun:
            return False
        return pending_s >= self._limit_s

    def _open(self) -> Iterator[_Taking]:
        """What is not imposed, the oldest first."""
        yield from self._taken.values()
        yield self._waiting


def _programmed(taking: _Taking, wall_s: float) -> Iterator[Programmed]:
    for trigger in taking.triggers:
        # The control plane's clock may be ahead of this node's.
        yield Programmed(trigger.family, max(0.0, wall_s - trigger.at_s))
