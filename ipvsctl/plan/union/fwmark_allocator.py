"""Which fwmark stands for which virtual server beside that of an address.

Of one family.

Nothing is written down: the kernel's set of marked entries is the memory. A process
that starts takes over the marks it finds there; new ones are the lowest free.
"""

from collections import OrderedDict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from heapq import heappop, heappush
from typing import NamedTuple

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.marks import MarkRange


class BesideKind(StrEnum):
    """Whose packets a virtual server beside that of an address is for."""

    INSIDE = "inside"
    """Those of clients inside the cluster."""
    ARRIVAL = "arrival"
    """Those that other nodes have sent on, in a tunnel."""


class Place(NamedTuple):
    """A place for a fwmark virtual server beside that of an address."""

    key: VirtualServerKey
    kind: BesideKind

    def __str__(self) -> str:
        return f"{self.key} {self.kind}"


class FwmarkAllocator:
    """Gives each place of a virtual server that asks a mark, and keeps it stable.

    Attributes:
        foreign: the fwmarks with virtual servers of others, as of the last `agree`.
    """

    def __init__(self, mark_range: MarkRange) -> None:
        self.foreign: AbstractSet[int] = frozenset()
        self._range = mark_range
        self._mark_of: dict[Place, int] = {}
        self._key_of: dict[int, Place] = {}
        # The first is taken out all the time, which a dict is slow at.
        self._waiting: OrderedDict[Place, None] = OrderedDict()
        self._kept: AbstractSet[int] = frozenset()
        """Marks in the kernel's set that nobody wants and that are not given out."""
        self._given_back: list[int] = []
        self._resting: set[int] = set()
        self._free: list[int] = []
        self._at_hand: int | None = None
        """A free mark for the first that waits; looked for only while somebody does."""
        self._next = 0
        self._unchecked: set[int] = set()
        self._raced: set[int] = set()
        self._has_agreed = False

    @property
    def waiting(self) -> AbstractSet[Place]:
        """The places that asked while no mark was free."""
        return self._waiting.keys()

    @property
    def ready(self) -> Place | None:
        """The first place that waits, if a mark is free for it now."""
        if self._at_hand is None or not self._waiting:
            return None
        return next(iter(self._waiting))

    def take(self, key: Place) -> int | None:
        """The mark of `key`, a new one if `key` has none; None when none is free."""
        mark = self._mark_of.get(key)
        if mark is None:
            mark = self._allocate(key)
            self._look_ahead()
        return mark

    def release(self, key: Place) -> None:
        """Give the mark of `key` back; fine if `key` has none.

        The mark rests until `take_fresh`: in one plan it must not stand for two.
        """
        self._waiting.pop(key, None)
        mark = self._mark_of.pop(key, None)
        if mark is not None:
            self._forget(mark)
            self._rest(mark)

    def is_confirmed(self, key: Place) -> bool:
        """Whether `key` has a mark that is known to be ours."""
        return key in self._mark_of and self._mark_of[key] not in self._unchecked

    def mark_of(self, key: Place) -> int | None:
        """The mark of `key`, if it has one."""
        return self._mark_of.get(key)

    def take_fresh(self) -> frozenset[int]:
        """The marks that are not confirmed; marks at rest are free from now on."""
        if self._given_back:
            for mark in self._given_back:
                heappush(self._free, mark)
            self._given_back.clear()
            self._resting.clear()
        if self._waiting:
            self._look_ahead()
        return frozenset(self._unchecked)

    def confirm(self, marks: AbstractSet[int]) -> None:
        """Take note that nobody else had these marks: they are ours for good."""
        self._unchecked -= marks

    def doubt(self, marks: AbstractSet[int]) -> None:
        """Take note that somebody else had these marks first.

        So their entries in our set do not say that the marks are ours.
        """
        self._raced |= marks & self._key_of.keys()
        self._unchecked |= self._raced

    def agree(
        self,
        held: Mapping[Place, int],
        present: AbstractSet[int],
        *,
        closing: AbstractSet[Place] = frozenset(),
        keeps_unwanted: bool = False,
    ) -> frozenset[Place]:
        """Agree with what the kernel holds.

        The first time, the marks it knows are taken over. A new, unconfirmed mark under
        which a foreign virtual server exists is replaced. All other marks that were
        given out are ours, whatever became of the set meanwhile.

        Args:
            held: place -> its mark in the kernel's set.
            present: the fwmarks that have virtual servers.
            closing: places that need no mark, and whose mark is taken
                over all the same.
            keeps_unwanted: the marks in the set that nobody wants are not given out.

        Returns:
            The places whose mark is another one now, or their first.
        """
        strangers = present - (set(held.values()) - self._raced)
        if self._has_agreed:
            keys = [self._key_of[mark] for mark in self._unchecked & strangers]
            keys += self._waiting
        else:
            keys = [*self._mark_of, *self._waiting]
        before = {key: self._mark_of.pop(key, None) for key in keys}
        for mark in before.values():
            if mark is not None:
                self._forget(mark)
        if not self._has_agreed:
            self._inherit(held, before.keys() | closing)
        foreign = strangers - self._key_of.keys()
        kept: AbstractSet[int] = frozenset()
        if keeps_unwanted:
            kept = set(held.values()) - self._key_of.keys()
        if (foreign, kept) != (self.foreign, self._kept):
            self.foreign, self._kept = foreign, kept
            self._start_over()
        for key in sorted(keys, key=str):
            if key not in self._mark_of:
                self._allocate(key)
        self._look_ahead()
        self._unchecked.clear()
        self._raced.clear()
        self._has_agreed = True
        return frozenset(key for key in keys if self._mark_of.get(key) != before[key])

    def _inherit(
        self,
        held: Mapping[Place, int],
        wanted: AbstractSet[Place],
    ) -> None:
        """Take over the marks of wanted keys; the marks of all others rest."""
        for key, mark in sorted(held.items(), key=lambda pair: str(pair[0])):
            if mark not in self._range or mark in self._key_of:
                continue
            if key in wanted:
                self._mark_of[key] = mark
                self._key_of[mark] = key
            else:
                self._rest(mark)
        self._start_over()

    def _allocate(self, key: Place) -> int | None:
        mark = self._lowest_free()
        if mark is None:
            self._waiting[key] = None
            return None
        self._waiting.pop(key, None)
        self._mark_of[key] = mark
        self._key_of[mark] = key
        self._unchecked.add(mark)
        return mark

    def _look_ahead(self) -> None:
        """Have a free mark at hand, as long as somebody waits."""
        if self._waiting:
            self._at_hand = self._lowest_free()

    def _lowest_free(self) -> int | None:
        if self._at_hand is not None:
            heappush(self._free, self._at_hand)
            self._at_hand = None
        while True:
            if self._free:
                mark = heappop(self._free)
            elif self._next < len(self._range):
                mark = self._range.mark(self._next)
                self._next += 1
            else:
                return None
            taken = mark in self._key_of or mark in self._resting
            if not taken and mark not in self.foreign and mark not in self._kept:
                return mark

    def _start_over(self) -> None:
        """Look for free marks from the lowest again."""
        self._free, self._next, self._at_hand = [], 0, None

    def _forget(self, mark: int) -> None:
        del self._key_of[mark]
        self._unchecked.discard(mark)
        self._raced.discard(mark)

    def _rest(self, mark: int) -> None:
        self._resting.add(mark)
        self._given_back.append(mark)
