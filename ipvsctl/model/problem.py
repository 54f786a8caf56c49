"""Problems of one object, as values.

An object of some kilobytes can have a hundred thousand problems. Some of each reason
are kept in words, the rest is one problem that counts them.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

WORDED: Final = 16
"""How many problems of one object and one reason are in words, and how many reasons."""

_OTHER_REASONS: Final = "for other reasons"


class ObjectRef(msgspec.Struct, gc=False, frozen=True, order=True):
    """The name of an object; `namespace` is "" for Nodes, and for a manifest's path."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Kind(StrEnum):
    """The kinds of object that are read, and the kind of their files."""

    SERVICE = "Service"
    ENDPOINT_SLICE = "EndpointSlice"
    ENDPOINTS = "Endpoints"
    NODE = "Node"
    LEASE = "Lease"
    MANIFEST = "Manifest"


class Problem(msgspec.Struct, gc=False, frozen=True, kw_only=True, order=True):
    """One thing about one object that cannot be honoured.

    The rest of the object, and every other object, is.

    Attributes:
        kind: kind of the object that has it.
        ref: which object.
        field: path inside it, `spec.ports[1].nodePort`.
        value: what was there, as text.
        reason: why it cannot be honoured, a clause without a full stop.
        count: how many problems this stands for.
    """

    kind: Kind
    ref: ObjectRef
    field: str
    value: str
    reason: str
    count: int = 1

    def __str__(self) -> str:
        """One line: kind, name, field, value, reason; without what is empty."""
        parts = (f"{self.kind} {self.ref}", self.field, self.value, self.reason)
        return ": ".join(part for part in parts if part)

    def rest(self, count: int, reason: str = "") -> "Problem":
        """Stands for so many like this one that are not in words."""
        return Problem(
            kind=self.kind,
            ref=self.ref,
            field=self.field,
            value=f"and {count:,} more",
            reason=reason or self.reason,
            count=count,
        )


class Tally:
    """Problems of one object, as they are found: some in words, all counted."""

    def __init__(self) -> None:
        self._worded: list[Problem] = []
        self._counts: dict[str, int] = {}
        self._first: dict[str, Problem] = {}

    def add(self, problem: Problem) -> None:
        """Count one more problem."""
        reason = problem.reason
        if reason not in self._first:
            if len(self._first) >= WORDED:
                reason = _OTHER_REASONS
            self._first.setdefault(reason, problem)
        self._counts[reason] = self._counts.get(reason, 0) + problem.count
        if self._counts[reason] <= WORDED and reason != _OTHER_REASONS:
            self._worded.append(problem)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """In the order they were found; after those in words the one for the others."""
        found = []
        worded: dict[str, int] = {}
        for problem in self._worded:
            found.append(problem)
            reason = problem.reason
            worded[reason] = worded.get(reason, 0) + 1
            left = self._counts[reason] - WORDED
            if worded[reason] == WORDED and left > 0:
                found.append(self._first[reason].rest(left))
        others = self._counts.get(_OTHER_REASONS, 0)
        if others:
            found.append(self._first[_OTHER_REASONS].rest(others, _OTHER_REASONS))
        return tuple(found)


def in_words(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems of one object, few of them in words."""
    tally = Tally()
    for problem in problems:
        tally.add(problem)
    return tally.problems
