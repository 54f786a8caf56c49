"""Tells problems as they appear: to the log, and to whoever else wants to hear."""

from collections.abc import Iterator, Mapping

from ipvsctl.controller.observers import Observer
from ipvsctl.controller.problem_log import ProblemLog
from ipvsctl.libraries.log import structlog
from ipvsctl.model.problem import ObjectRef, Problem
from ipvsctl.model.problem_book import (
    NotedProblems,
    ProblemBook,
    ProblemPart,
    Subject,
)

_log = structlog.get_logger("ipvsctl")


class ProblemTeller:
    """Looks at what changed since it was last asked, and at nothing else.

    Args:
        noted: of the objects as they were read.
        observer: has problems of its own, which are few, and hears of all.
    """

    def __init__(self, noted: ProblemPart, observer: Observer) -> None:
        self._observer = observer
        self._of_observer = NotedProblems()
        # As the last job left them: the worker changes its own while others look.
        self._compiled = NotedProblems()
        self._uncompiled = ProblemBook((noted, self._of_observer))
        self._seen: tuple[Problem, ...] = ()
        self.book = ProblemBook((self._uncompiled, self._compiled))
        self._new = ProblemLog(self.book.of)

    def note(self, compiled: Mapping[Subject, tuple[Problem, ...]]) -> None:
        """These objects have these compiled problems now."""
        for (kind, ref), problems in compiled.items():
            self._compiled.put(kind, ref, problems)

    def uncompiled(self) -> Iterator[Problem]:
        """What is wrong with objects as they were read, or with telling of them."""
        return self._uncompiled.each()

    def tell(self, now_s: float, unfinished: ObjectRef | None) -> None:
        """Log what is new.

        Args:
            now_s: seconds on any steady clock.
            unfinished: a Service whose problems are about to be others.
        """
        self._ask_observer()
        self._new.note(self.book.take_changed())
        news = self._new.take(now_s, unfinished)
        for one in news:
            problem = one.problem
            _log.warning(
                "problem",
                kind=problem.kind.value,
                object=str(problem.ref),
                field=problem.field,
                value=problem.value,
                reason=problem.reason,
                **({"more": one.more} if one.more else {}),
            )
        given_up = self._new.take_given_up()
        if given_up:
            _log.warning("more problems", objects=given_up, see="ipvsctl status")
        if news:
            self._observer.appeared(tuple(p for one in news for p in one.problems))

    def _ask_observer(self) -> None:
        problems = self._observer.problems()
        if problems != self._seen:
            self._seen = problems
            self._of_observer.replace(problems)
