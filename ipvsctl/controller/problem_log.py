"""Which problems are told when: new ones at once, a burst in one line, never a flood.

What is not told is known all the same: `ipvsctl status` and metrics have everything.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ipvsctl.kube.budget import Budget, Rate
from ipvsctl.model.problem import ObjectRef, Problem
from ipvsctl.model.problem_book import Subject

_SINGLY: Final = 5
"""New problems of one object that are told one by one."""

_RATE_OF_ONE: Final = Rate(burst=5, refill_s=60.0)
_RATE_OF_ALL: Final = Rate(burst=100, refill_s=1.0)

_LOOKED_AT: Final = 32
"""Objects that are looked at in one call."""

_LATE_MAX: Final = 1000
"""Objects that wait for their turn; then those are given up."""

_GROWTH: Final = 10
"""How many times as many problems as were told are told again."""


class News(msgspec.Struct, frozen=True):
    """Something to be told.

    Attributes:
        problem: in words.
        more: how many others of the object it stands for.
    """

    problem: Problem
    more: int = 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The same as problems."""
        if not self.more:
            return (self.problem,)
        return self.problem, self.problem.rest(self.more)


class _Told(msgspec.Struct, frozen=True):
    words: frozenset[Problem]
    count: int


_NOTHING: Final = _Told(frozenset(), 0)


class ProblemLog:
    """Remembers what was told.

    Args:
        words: all problems of an object, see `in_words`.
    """

    def __init__(self, words: Callable[[Subject], tuple[Problem, ...]]) -> None:
        self._words = words
        self._budget = Budget(of_one=_RATE_OF_ONE, of_all=_RATE_OF_ALL)
        self._told: dict[Subject, _Told] = {}
        self._late: dict[Subject, None] = {}
        self._given_up = 0

    def note(self, changed: Iterable[Subject]) -> None:
        """The problems of these objects may be others."""
        self._late.update(dict.fromkeys(sorted(changed)))

    def take(
        self, now_s: float, unfinished: ObjectRef | None = None
    ) -> tuple[News, ...]:
        """What is to be told now.

        Args:
            now_s: seconds on any steady clock.
            unfinished: a Service that is about to have more problems, or fewer, and
                others of its namespace with it; they wait.
        """
        news: list[News] = []
        waiting = self._late
        looked_at = [s for s, _ in zip(waiting, range(_LOOKED_AT), strict=False)]
        for subject in looked_at:
            del waiting[subject]
            is_early = unfinished and subject[1].namespace == unfinished.namespace
            if is_early or not self._tell(subject, now_s, news):
                waiting[subject] = None
        if len(waiting) > _LATE_MAX:
            self._given_up += len(waiting)
            waiting.clear()
        return tuple(news)

    def take_given_up(self) -> int:
        """Objects whose new problems were not told, since the last call."""
        count, self._given_up = self._given_up, 0
        return count

    def _tell(self, subject: Subject, now_s: float, news: list[News]) -> bool:
        """Tell what is new of an object; False if that must wait."""
        problems = self._words(subject)
        told = self._told.get(subject, _NOTHING)
        count = sum(problem.count for problem in problems)
        if count > len(problems):
            # Those in words are any of them.
            new = problems if count >= _GROWTH * told.count else ()
        else:
            new = tuple(p for p in problems if p not in told.words)
        if new:
            if not self._budget.take(subject, now_s):
                return False
            if len(new) <= _SINGLY:
                news += map(News, new)
            else:
                more = sum(problem.count for problem in new) - 1
                news.append(News(new[0], more))
        elif count > len(problems):
            return True
        if problems:
            self._told[subject] = _Told(frozenset(problems), count)
        else:
            self._told.pop(subject, None)
        return True
