"""Sets whose members several owners have put in, and how such a set changed."""

from collections.abc import Hashable
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Counted(Generic[Item]):
    """A set whose members stay as long as an owner that put them in is left.

    The set remembers which members it had when `take_change` was last called.

    Attributes:
        counts: each member -> how many owners have put it in.
    """

    __slots__ = ("_before", "counts")

    def __init__(self) -> None:
        self.counts: dict[Item, int] = {}
        self._before: dict[Item, bool] = {}

    def add(self, item: Item) -> None:
        """Put a member in; one owner more if the member is in already."""
        count = self.counts.get(item, 0)
        if not count:
            self._before.setdefault(item, False)
        self.counts[item] = count + 1

    def discard(self, item: Item) -> None:
        """Take a member out for one owner; the member goes with its last owner."""
        left = self.counts[item] - 1
        if left:
            self.counts[item] = left
        else:
            del self.counts[item]
            self._before.setdefault(item, True)

    @property
    def changed(self) -> AbstractSet[Item]:
        """The members that came or went, or both, since `take_change`."""
        return self._before.keys()

    def take_change(self) -> tuple[frozenset[Item], frozenset[Item]]:
        """The members that came, and those that went, since the last call."""
        if not self._before:
            return frozenset(), frozenset()
        before, self._before = self._before, {}
        came = frozenset(i for i, was in before.items() if not was and i in self.counts)
        went = frozenset(i for i, was in before.items() if was and i not in self.counts)
        return came, went
