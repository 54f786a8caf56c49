"""Work that is done step by step, so that something else may be done in between."""

from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")


def finish(steps: Generator[Any, None, T]) -> T:
    """Do every step at once, and return their result."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result


def parts(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """The items in their order, so many at a time; the last part may have fewer."""
    rest = iter(items)
    while some := tuple(islice(rest, size)):
        yield some
