"""Work that is done step by step, so that something else may be done in between."""

from collections.abc import Generator, Iterable, Iterator
from enum import Enum
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")


class Step(Enum):
    """What the next step of some work needs, said before that step."""

    EXCLUSIVE = "exclusive"
    """The kernel and the desired state for itself: no other such step meanwhile."""

    SHARED = "shared"
    """Nothing that others change: it may be done beside other work, in any thread."""


Steps = Generator[Step, None, T]
"""Work step by step, each some milliseconds long unless it is shared.

The first step is exclusive; before each of the others it says what that one needs.
Between two steps others may have changed whatever they may change. Work that is given
up is closed, where its exclusive steps are done.
"""


def finish(steps: Generator[Any, None, T]) -> T:
    """Do every step at once, and return their result."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result


def exclusively(steps: Generator[None, None, T]) -> Steps[T]:
    """The same work, whose steps are all exclusive."""
    try:
        while True:
            try:
                next(steps)
            except StopIteration as done:
                result: T = done.value
                return result
            yield Step.EXCLUSIVE
    finally:
        steps.close()


def parts(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """The items in their order, so many at a time; the last part may have fewer."""
    rest = iter(items)
    while some := tuple(islice(rest, size)):
        yield some
