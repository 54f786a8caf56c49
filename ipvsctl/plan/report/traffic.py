"""Traffic by Service, from counters of virtual servers that come and go."""

from collections import defaultdict
from collections.abc import Collection
from heapq import nlargest
from typing import Final

import msgspec

from ipvsctl.model.ipvs import TrafficStats, VirtualServerKey
from ipvsctl.model.problem import ObjectRef

OTHERS: Final = ObjectRef("_other", "_other")
"""All Services that are not counted alone; no object can have this name."""

_STEADY: Final = 1.2
"""How many times the connections of a Service counted alone another must have had, to
be counted alone in its place. Without it two that are even would take turns."""

_FADE: Final = 0.99
"""What a connection counts at the next choice, at one choice an audit: half after 69
audits, some 35 minutes."""


class Traffic(msgspec.Struct, frozen=True):
    """Traffic since it was last taken.

    Attributes:
        added: by Service.
        gone: Services that are not counted alone any more, of which nothing was added.
    """

    added: dict[ObjectRef, TrafficStats]
    gone: frozenset[ObjectRef] = frozenset()


class TrafficLedger:
    """Adds up what virtual servers have counted, by Service.

    Every connection is counted once, for its Service or for `OTHERS`, and nothing is
    ever taken back: so the sum over all is right, and none goes backwards.

    Args:
        alone: how many Services are counted alone, those with most connections of late.
    """

    def __init__(self, alone: int) -> None:
        self._limit = alone
        self._seen: dict[VirtualServerKey, tuple[ObjectRef, TrafficStats]] = {}
        self._scores: defaultdict[ObjectRef, float] = defaultdict(float)
        self._added: dict[ObjectRef, TrafficStats] = {}
        self._alone: frozenset[ObjectRef] = frozenset()

    def begin(
        self, key: VirtualServerKey, owner: ObjectRef | None, stats: TrafficStats
    ) -> None:
        """Count from here: what it has counted so far was before our time."""
        if owner is not None:
            self._seen[key] = owner, stats

    def count(
        self, key: VirtualServerKey, owner: ObjectRef | None, stats: TrafficStats
    ) -> None:
        """Take note of a virtual server's counters.

        Args:
            key: one that was not there before counts from 0.
            owner: its Service; None for the last one known, and a virtual server that
                never had one is not counted.
            stats: since it was made, or its counters were reset.
        """
        known, before = self._seen.get(key, (None, None))
        owner = owner or known
        if owner is None or before == stats:
            return
        self._seen[key] = owner, stats
        delta = _since(before, stats)
        self._scores[owner] += delta.connections
        name = owner if owner in self._alone else OTHERS
        self._added[name] = _plus(self._added.get(name), delta)

    def forget(self, key: VirtualServerKey) -> None:
        """A virtual server is deleted; one with its key would begin at 0."""
        self._seen.pop(key, None)

    def keep(self, keys: Collection[VirtualServerKey]) -> None:
        """Forget all virtual servers but these."""
        if len(keys) < len(self._seen):
            self._seen = {k: v for k, v in self._seen.items() if k in keys}

    def take(self) -> Traffic:
        """The traffic counted since the last call."""
        added, self._added = self._added, {}
        return Traffic(added)

    def choose(self, services: Collection[ObjectRef]) -> Traffic:
        """`take`, and choose anew which of these Services are counted alone.

        One that comes among them begins at 0 in this very answer, so that what follows
        is seen as an increase.
        """
        taken = self.take()
        scores = {
            ref: score * _FADE
            for ref, score in self._scores.items()
            if score >= 1 and ref in services
        }
        self._scores = defaultdict(float, scores)
        for ref in self._alone & scores.keys():
            scores[ref] *= _STEADY
        before = self._alone
        self._alone = frozenset(nlargest(self._limit, scores, key=scores.__getitem__))
        # Who has had none for long leaves only for another, or when it is deleted.
        room = self._limit - len(self._alone)
        idle = sorted(ref for ref in before - self._alone if ref in services)
        self._alone |= frozenset(idle[:room])
        gone = before - self._alone
        for ref in gone & taken.added.keys():
            more = taken.added.pop(ref)
            taken.added[OTHERS] = _plus(taken.added.get(OTHERS), more)
        for ref in (*self._alone, OTHERS):
            taken.added.setdefault(ref, TrafficStats())
        return Traffic(taken.added, gone)


def _since(before: TrafficStats | None, now: TrafficStats) -> TrafficStats:
    """The traffic counted since; all of it if the counters were reset meanwhile."""
    if before is None:
        return now
    since = TrafficStats(
        connections=now.connections - before.connections,
        packets_in=now.packets_in - before.packets_in,
        packets_out=now.packets_out - before.packets_out,
        bytes_in=now.bytes_in - before.bytes_in,
        bytes_out=now.bytes_out - before.bytes_out,
    )
    return now if min(msgspec.structs.astuple(since)) < 0 else since


def _plus(total: TrafficStats | None, more: TrafficStats) -> TrafficStats:
    if total is None:
        return more
    return TrafficStats(
        connections=total.connections + more.connections,
        packets_in=total.packets_in + more.packets_in,
        packets_out=total.packets_out + more.packets_out,
        bytes_in=total.bytes_in + more.bytes_in,
        bytes_out=total.bytes_out + more.bytes_out,
    )
