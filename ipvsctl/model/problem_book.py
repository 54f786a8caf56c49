"""Problems of every object: found by object, and followed by the objects that changed.

Nothing here takes the time of all problems, but for `ProblemBook.each`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Generic, Protocol, TypeVar

from ipvsctl.model.problem import WORDED, Kind, ObjectRef, Problem

Item = TypeVar("Item")

Subject = tuple[Kind, ObjectRef]
"""An object that may have problems."""


class ProblemPart(Protocol):
    """Problems that are alike in how they come and go."""

    def of(self, subject: Subject) -> tuple[Problem, ...]:
        """Problems of an object, see `in_words`."""
        ...

    def each(self) -> Iterator[Problem]:
        """Problems of all objects."""
        ...

    def subjects(self) -> AbstractSet[Subject]:
        """The objects that have any; a copy."""
        ...

    def take_changed(self) -> AbstractSet[Subject]:
        """The objects whose problems may be others than at the last call."""
        ...


class NotedProblems:
    """Problems that whoever looks at an object finds all at once."""

    def __init__(self) -> None:
        self._problems: dict[Kind, dict[ObjectRef, tuple[Problem, ...]]] = {
            kind: {} for kind in Kind
        }
        self._changed: set[Subject] = set()

    def put(self, kind: Kind, ref: ObjectRef, problems: tuple[Problem, ...]) -> None:
        """Have an object's problems be these, and no others."""
        held = self._problems[kind]
        if problems:
            if held.get(ref) != problems:
                held[ref] = problems
                self._changed.add((kind, ref))
        elif ref in held:
            del held[ref]
            self._changed.add((kind, ref))

    def replace(self, problems: Iterable[Problem]) -> None:
        """Have all problems be these; few, whatever objects they are of."""
        found: dict[Subject, list[Problem]] = {}
        for kind, by_ref in self._problems.items():
            found.update(((kind, ref), []) for ref in by_ref)
        for problem in problems:
            found.setdefault((problem.kind, problem.ref), []).append(problem)
        for (kind, ref), some in found.items():
            self.put(kind, ref, tuple(some))

    def __bool__(self) -> bool:
        return any(self._problems.values())

    def refs(self, kind: Kind) -> AbstractSet[ObjectRef]:
        """The objects of a kind that have problems."""
        return self._problems[kind].keys()

    def of(self, subject: Subject) -> tuple[Problem, ...]:
        """See `ProblemPart`."""
        kind, ref = subject
        return self._problems[kind].get(ref, ())

    def each(self) -> Iterator[Problem]:
        """See `ProblemPart`."""
        for by_ref in self._problems.values():
            for problems in by_ref.values():
                yield from problems

    def subjects(self) -> AbstractSet[Subject]:
        """See `ProblemPart`."""
        return {(kind, ref) for kind, refs in self._problems.items() for ref in refs}

    def take_changed(self) -> AbstractSet[Subject]:
        """See `ProblemPart`."""
        changed, self._changed = self._changed, set()
        return changed


class ListedProblems(Generic[Item]):
    """Problems of Services that come and go one by one; put into words when asked.

    Args:
        word: the problem that an item is to a Service; asked for some of them.
        rest: the reason that stands for those that are not in words.
    """

    def __init__(self, word: Callable[[ObjectRef, Item], Problem], rest: str) -> None:
        self._word = word
        self._rest = rest
        self._items: dict[ObjectRef, dict[Item, None]] = {}
        self._changed: set[Subject] = set()

    def add(self, ref: ObjectRef, item: Item) -> None:
        """Add a problem of a Service; fine if the Service has it already."""
        self._items.setdefault(ref, {})[item] = None
        self._changed.add((Kind.SERVICE, ref))

    def discard(self, ref: ObjectRef, item: Item) -> None:
        """Take a problem from a Service; fine if the Service does not have it."""
        items = self._items.get(ref)
        if items is None or item not in items:
            return
        del items[item]
        if not items:
            del self._items[ref]
        self._changed.add((Kind.SERVICE, ref))

    def of(self, subject: Subject) -> tuple[Problem, ...]:
        """See `ProblemPart`."""
        kind, ref = subject
        items = self._items.get(ref) if kind is Kind.SERVICE else None
        if not items:
            return ()
        worded = tuple(self._word(ref, item) for item in islice(items, WORDED))
        left = len(items) - len(worded)
        return (*worded, worded[0].rest(left, self._rest)) if left else worded

    def each(self) -> Iterator[Problem]:
        """See `ProblemPart`."""
        for ref in self._items:
            yield from self.of((Kind.SERVICE, ref))

    def subjects(self) -> AbstractSet[Subject]:
        """See `ProblemPart`."""
        return {(Kind.SERVICE, ref) for ref in self._items}

    def take_changed(self) -> AbstractSet[Subject]:
        """See `ProblemPart`."""
        changed, self._changed = self._changed, set()
        return changed


class ProblemBook:
    """Everything wrong with any object, whoever keeps it."""

    def __init__(self, parts: Sequence[ProblemPart]) -> None:
        self._parts = tuple(parts)

    def of(self, subject: Subject) -> tuple[Problem, ...]:
        """Problems of an object, each once."""
        found = dict.fromkeys(p for part in self._parts for p in part.of(subject))
        return tuple(found)

    def each(self) -> Iterator[Problem]:
        """Problems of all objects; their counts add up."""
        for part in self._parts:
            yield from part.each()

    def all(self) -> tuple[Problem, ...]:
        """Problems of all objects, sorted, each once."""
        return tuple(sorted(set(self.each())))

    def subjects(self) -> AbstractSet[Subject]:
        """The objects that have any problem; a copy."""
        found: set[Subject] = set()
        for part in self._parts:
            found |= part.subjects()
        return found

    def take_changed(self) -> AbstractSet[Subject]:
        """The objects whose problems may be others than at the last call."""
        changed: set[Subject] = set()
        for part in self._parts:
            changed |= part.take_changed()
        return changed
