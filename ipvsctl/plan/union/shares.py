"""How a namespace's limits are shared out among its Services.

The older Services come first, each with all that it asks for, until one does not fit:
that one has what is left, and the younger ones nothing. So a new Service takes nothing
from those that are served, and every node comes to the same result, in whatever order
it hears of them.
"""

from bisect import bisect_left

from ipvsctl.model.problem import ObjectRef
from ipvsctl.plan.service.amounts import ANY_AMOUNTS, Amounts

_Claim = tuple[str, ObjectRef]
"""A Service's `created` and name; the least comes first."""


class Shares:
    """The shares of all namespaces.

    A change costs what it changes: as long as all Services of a namespace fit, it is
    one addition.

    Args:
        limit: of each namespace.
    """

    def __init__(self, limit: Amounts) -> None:
        self._limit = limit
        self._namespaces: dict[str, tuple[_Share, ...]] = {}
        self._asked: dict[ObjectRef, tuple[_Claim, Amounts]] = {}

    def put(self, ref: ObjectRef, created: str, asked: Amounts) -> frozenset[ObjectRef]:
        """Take note of the amounts that a Service asks for.

        Returns:
            The other Services that may have more or less of something now.
        """
        known = self._asked.get(ref)
        if known is not None and known[1] == asked and known[0][0] == created:
            return frozenset()
        changed: set[_Claim] = set()
        claim, before = (created, ref), Amounts()
        if known is not None:
            if known[0] == claim:
                claim, before = known
            else:
                changed |= self._change(*known, Amounts())
        self._asked[ref] = (claim, asked)
        changed |= self._change(claim, before, asked)
        return frozenset(other for _, other in changed if other != ref)

    def remove(self, ref: ObjectRef) -> frozenset[ObjectRef]:
        """Forget a Service, fine if it is not known; returns the same as `put`."""
        known = self._asked.pop(ref, None)
        if known is None:
            return frozenset()
        changed = self._change(*known, Amounts())
        return frozenset(other for _, other in changed if other != ref)

    def granted(self, ref: ObjectRef) -> Amounts:
        """The most that a Service may have; it must be known."""
        claim, asked = self._asked[ref]
        shares = self._namespaces.get(ref.namespace, ())
        for share in shares:
            if share.is_over:
                break
        else:
            return ANY_AMOUNTS
        return Amounts(
            *(
                share.granted(claim, amount)
                for share, amount in zip(shares, asked, strict=True)
            )
        )

    def _change(self, claim: _Claim, before: Amounts, after: Amounts) -> set[_Claim]:
        namespace = claim[1].namespace
        shares = self._namespaces.get(namespace)
        if shares is None:
            shares = tuple(map(_Share, self._limit))
            self._namespaces[namespace] = shares
        changed: set[_Claim] = set()
        for share, old, new in zip(shares, before, after, strict=True):
            if old != new:
                changed |= share.change(claim, old, new)
        if not any(after) and not any(share.asked for share in shares):
            del self._namespaces[namespace]
        return changed


class _Share:
    """One kind of thing in one namespace.

    While more is asked for than there is, the claims are in order, and `edge` is how
    many of them are granted in full.

    Attributes:
        asked: how much each claim asks for.
        is_over: more is asked for than there is.
    """

    __slots__ = ("_edge", "_granted", "_limit", "_order", "_total", "asked", "is_over")

    def __init__(self, limit: int) -> None:
        self.asked: dict[_Claim, int] = {}
        self.is_over = False
        self._limit = limit
        self._total = 0
        self._order: list[_Claim] = []
        self._edge = 0
        self._granted = 0

    def granted(self, claim: _Claim, asked: int) -> int:
        """How much of the amount it asks for a claim may have."""
        if not self.is_over:
            return asked
        place = bisect_left(self._order, claim)
        if place < self._edge:
            return asked
        return self._limit - self._granted if place == self._edge else 0

    def change(self, claim: _Claim, old: int, new: int) -> set[_Claim]:
        """Ask for `new` instead of `old`; 0 is nothing.

        Returns:
            The claims whose grants may be others now.
        """
        was_over = self.is_over
        self._total += new - old
        self.is_over = self._total > self._limit
        if new:
            self.asked[claim] = new
        else:
            del self.asked[claim]
        if not was_over:
            return self._begin() if self.is_over else set()
        before = self._partly()
        place = bisect_left(self._order, claim)
        if not old:
            self._order.insert(place, claim)
        elif not new:
            del self._order[place]
        if place < self._edge:
            self._granted += new - old
            self._edge += (not old) - (not new)
        changed = self._move_edge()
        # Who has what is left, and how much, may be others.
        changed |= {one for one, _ in before ^ self._partly()}
        if not self.is_over:
            self._order, self._edge, self._granted = [], 0, 0
        return changed

    def _partly(self) -> set[tuple[_Claim, int]]:
        left = self._limit - self._granted
        return {(one, left) for one in self._order[self._edge : self._edge + 1]}

    def _begin(self) -> set[_Claim]:
        self._order = sorted(self.asked)
        self._move_edge()
        return set(self._order[self._edge :])

    def _move_edge(self) -> set[_Claim]:
        """Grant as many claims in full as there is room for.

        Returns:
            The claims that are granted in full now and were not, or the other way.
        """
        moved = set()
        while self._granted > self._limit:
            self._edge -= 1
            last = self._order[self._edge]
            self._granted -= self.asked[last]
            moved.add(last)
        while self._edge < len(self._order):
            first = self._order[self._edge]
            if self._granted + self.asked[first] > self._limit:
                break
            self._edge += 1
            self._granted += self.asked[first]
            moved.add(first)
        return moved
