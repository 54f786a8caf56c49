"""How the daemon has its event loop: its threads, and what it says of its own."""

import asyncio
import errno
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from ipvsctl.cli.errors import where
from ipvsctl.libraries.log import structlog
from ipvsctl.model.errors import KernelError, describe_errno

EVERY_S: Final = 60.0
"""Least time between two lines that say the same."""

_log = structlog.get_logger("ipvsctl")


THREADS: Final = 12
"""What the loop has done aside: answers, metrics, and names that are looked up, which
may take long where a name server is away. More of it waits."""


def started_threads(count: int = THREADS) -> ThreadPoolExecutor:
    """Threads that have all started: later there may be none for this process.

    Raises:
        KernelError: there are none now.
    """
    threads = ThreadPoolExecutor(count, thread_name_prefix="aside")
    all_there = threading.Barrier(count)
    try:
        waiting = [threads.submit(all_there.wait) for _ in range(count)]
    except RuntimeError as error:
        # Those that have started would wait for the others for ever.
        all_there.abort()
        raise KernelError.of(errno.EAGAIN, "start threads", str(error)) from error
    for started in waiting:
        started.result()
    return threads


class LoopMishaps:
    """An exception handler for an event loop.

    The loop's own prints a traceback each time: without file descriptors, one a second
    for each address that is listened at.

    Args:
        clock: seconds, never backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said_at_s: dict[str, float] = {}
        self._counts: Counter[str] = Counter()

    def __call__(
        self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]
    ) -> None:
        """Say what has happened, if the same was not said lately.

        Not in the words of an exception, which may be a client's.
        """
        error = context.get("exception")
        what = f"{context.get('message')} {type(error).__name__ if error else ''}"
        self._counts[what] += 1
        now_s, said_s = self._clock(), self._said_at_s.get(what)
        if said_s is not None and now_s - said_s < EVERY_S:
            return
        self._said_at_s[what] = now_s
        _log.error(
            "event loop",
            reason=context.get("message"),
            error=_name(error) if error else None,
            where=where(error) if error else None,
            times=self._counts.pop(what),
        )


def _name(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"{type(error).__name__}: {describe_errno(error.errno)}"
    return type(error).__name__
