"""The objects of one resource and what became of them; no HTTP."""

import bisect
from collections.abc import Callable, Iterator

import msgspec

from tests.fakes.apiserver.entries import Entry, entry_key
from tests.fakes.apiserver.kinds import Resource


class Change(msgspec.Struct, frozen=True):
    """An object was created (no before), changed, or deleted (no after)."""

    revision: int
    before: Entry | None
    after: Entry | None


class Shelf:
    """Objects sorted by key, changes by resource version, and who wants to know.

    Attributes:
        oldest: changes up to this resource version are forgotten.
        listeners: called with every change.
    """

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.oldest = 0
        self.listeners: list[Callable[[Change], None]] = []
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._changes: list[Change] = []

    def get(self, namespace: str, name: str) -> Entry | None:
        """The object of that name."""
        return self._entries.get(entry_key(namespace, name))

    def entries(self) -> list[Entry]:
        """All objects, sorted."""
        return [self._entries[key] for key in self._keys]

    def entries_at(self, revision: int) -> list[Entry] | None:
        """All objects as they were, sorted, or None if that is forgotten."""
        if revision < self.oldest:
            return None
        if not self._changes or self._changes[-1].revision <= revision:
            return self.entries()
        found = dict(self._entries)
        for change in reversed(self._changes):
            if change.revision <= revision:
                break
            if change.before is not None:
                found[change.before.key] = change.before
            elif change.after is not None:
                del found[change.after.key]
        return [found[key] for key in sorted(found)]

    def changes_since(self, revision: int) -> list[Change]:
        """What changed after that; it has to be asked for no forgotten time."""
        begin = bisect.bisect_right(self._changes, revision, key=lambda c: c.revision)
        return self._changes[begin:]

    def record(self, change: Change) -> None:
        """An object is as `after` says from now on."""
        if change.after is not None:
            if change.before is None:
                bisect.insort(self._keys, change.after.key)
            self._entries[change.after.key] = change.after
        elif change.before is not None:
            del self._entries[change.before.key]
            del self._keys[bisect.bisect_left(self._keys, change.before.key)]
        self._changes.append(change)
        for listener in tuple(self.listeners):
            listener(change)

    def load(self, entries: Iterator[Entry]) -> None:
        """Put objects in place that have been there for long."""
        self._entries.update((entry.key, entry) for entry in entries)
        self._keys = sorted(self._entries)

    def clear(self) -> None:
        """Have nothing, and tell nobody."""
        self._entries.clear()
        self._keys.clear()
        self._changes.clear()
        self.oldest = 0

    def compact(self, revision: int) -> None:
        """Forget every change up to that resource version."""
        self._changes = self.changes_since(revision)
        self.oldest = max(self.oldest, revision)
