"""Threads that are none: what goes to one is done before its caller goes on."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Inline(ThreadPoolExecutor):
    """Runs a call where it is submitted.

    A test can then wait for everything by giving tasks their turn: no thread of a busy
    machine is late.
    """

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


def run_inline() -> None:
    """From now on the running loop has no threads."""
    asyncio.get_running_loop().set_default_executor(Inline())
