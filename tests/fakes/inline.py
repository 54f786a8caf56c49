"""Threads that are none: what goes to one is done before its caller goes on.

A test can then wait for everything by giving tasks their turn: no thread of a busy
machine is late.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import ParamSpec, TypeVar

from ipvsctl.controller.worker import Priority
from ipvsctl.model.steps import Steps

P = ParamSpec("P")
T = TypeVar("T")


class Inline(ThreadPoolExecutor):
    """Runs a call where it is submitted."""

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """See `Executor`."""
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # it is the caller's
            done.set_exception(error)
        return done


class InlineWorker:
    """A `Worker` that does a step where it is asked for; others go on after each."""

    async def do(
        self,
        priority: Priority,  # noqa: ARG002  # nothing waits for another
        call: Callable[[], T],
    ) -> T:
        """See `Worker`."""
        result = call()
        await asyncio.sleep(0)
        return result

    def give_way(self, limit_s: float) -> float:  # noqa: ARG002  # the protocol's name
        """See `Worker`; nothing is ever under way."""
        return 0.0

    def busy_s(self) -> float:
        """See `Worker`."""
        return 0.0

    async def calm(self, limit_s: float) -> float:  # noqa: ARG002  # likewise
        """See `Worker`."""
        return 0.0

    async def walk(self, priority: Priority, steps: Steps[T]) -> T:
        """See `Worker`."""
        with closing(steps):
            while True:
                try:
                    next(steps)
                except StopIteration as done:
                    result: T = done.value
                    return result
                if priority is not Priority.ALONE:
                    await asyncio.sleep(0)


async def idle() -> None:
    """Return when every task waits for time, for events or for the network."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    # No other task is ready when this one is, and nothing comes from threads.
    while loop._ready:  # type: ignore[attr-defined]  # noqa: ASYNC110  # no event says so
        await asyncio.sleep(0)


def run_inline() -> None:
    """From now on the running loop has no threads."""
    asyncio.get_running_loop().set_default_executor(Inline())
