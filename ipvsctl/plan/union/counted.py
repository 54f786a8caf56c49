"""Sets whose members several have put in, and what changed in them."""

from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Counted(Generic[Item]):
    """A set whose members stay as long as somebody has put them in.

    It remembers what was in it when `take_change` was last called.
    """

    __slots__ = ("_before", "counts")

    def __init__(self) -> None:
        self.counts: dict[Item, int] = {}
        self._before: dict[Item, bool] = {}

    def add(self, item: Item) -> None:
        """Put a member in, once more if it is in."""
        count = self.counts.get(item, 0)
        if not count:
            self._before.setdefault(item, False)
        self.counts[item] = count + 1

    def discard(self, item: Item) -> None:
        """Take a member out once; the last one to do so takes it away."""
        left = self.counts[item] - 1
        if left:
            self.counts[item] = left
        else:
            del self.counts[item]
            self._before.setdefault(item, True)

    def take_change(self) -> tuple[frozenset[Item], frozenset[Item]]:
        """What came and what went since the last call."""
        if not self._before:
            return frozenset(), frozenset()
        before, self._before = self._before, {}
        came = frozenset(i for i, was in before.items() if not was and i in self.counts)
        went = frozenset(i for i, was in before.items() if was and i not in self.counts)
        return came, went
