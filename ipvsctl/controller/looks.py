"""Those who ask how the node is share one look at it, and equal questions one answer.

What is shown must be true when it is asked for, so nobody joins a look that has begun:
whoever comes meanwhile waits for the next one, together with all others that do.
"""

import asyncio
from collections.abc import Callable, Generator, Hashable
from contextlib import closing
from typing import Final

import msgspec

from ipvsctl.controller.look import Seen, look_in_steps
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.worker import Priority, Worker
from ipvsctl.model.errors import IpvsctlError
from ipvsctl.serve.control import Pieces

View = Callable[[Seen], Generator[None, None, Pieces]]
"""Says how an answer is made of what was seen.

It is called in the event loop right after the look, and there adds what else is known
then. The steps that it returns, of a millisecond or so, are done in another thread.
"""

_PATIENCE_S: Final = 2.0
"""For how long all steps of an answer together let syncs go first: a node on which
something changes all the time answers too."""


class _Question(msgspec.Struct, eq=False):
    """What some wait for."""

    view: View
    answer: "asyncio.Future[Pieces]"


class Looks:
    """Answers questions, one look after the other, each at the lowest priority.

    Answers are made aside, from what does not change any more: neither the worker nor
    the event loop waits for them.
    """

    def __init__(self, worker: Worker, reconciler: Reconciler) -> None:
        self._worker = worker
        self._reconciler = reconciler
        self._waiting: dict[Hashable, _Question] = {}
        self._asked = asyncio.Event()

    async def ask(self, question: Hashable, view: View) -> Pieces:
        """The answer to a question, true now or later.

        Args:
            question: says what is asked: the views of equal questions are equal.
            view: how the answer is made.

        Raises:
            IpvsctlError: the kernel could not be read.
        """
        waiting = self._waiting.get(question)
        if waiting is None:
            answer = asyncio.get_running_loop().create_future()
            waiting = self._waiting[question] = _Question(view, answer)
        self._asked.set()
        # Others wait for it too.
        return await asyncio.shield(waiting.answer)

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            questions, self._waiting = tuple(self._waiting.values()), {}
            try:
                await self._answer(questions)
            finally:
                for question in questions:
                    question.answer.cancel()

    async def _answer(self, questions: tuple[_Question, ...]) -> None:
        try:
            seen = await self._worker.walk(
                Priority.LOOK, look_in_steps(self._reconciler)
            )
        except IpvsctlError as error:
            for question in questions:
                question.answer.set_exception(error)
            return
        for question in questions:
            try:
                steps = question.view(seen)
                answer = await asyncio.to_thread(self._make, steps)
            except Exception as error:  # noqa: BLE001  # it is the asker's
                question.answer.set_exception(error)
            else:
                question.answer.set_result(answer)

    def _make(self, steps: Generator[None, None, Pieces]) -> Pieces:
        """Do the steps of an answer; a sync has the interpreter for itself."""
        patience_s = _PATIENCE_S
        with closing(steps):
            while True:
                try:
                    next(steps)
                except StopIteration as done:
                    pieces: Pieces = done.value
                    return pieces
                patience_s -= self._worker.give_way(patience_s)
