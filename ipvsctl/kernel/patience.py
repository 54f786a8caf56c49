"""Calls that may take very long, and must not take others along."""

import errno
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from ipvsctl.model.errors import KernelError

T = TypeVar("T")


class Patience:
    """Does calls one at a time, each in a thread of its own, and waits for so long.

    A call that takes longer goes on, and nobody is told how it ends. Until it has ended
    every other one fails at once. So whoever calls must end them some day, and one that
    hangs costs the time for it once.

    Args:
        clock: steady, in seconds.

    Attributes:
        taken_s: how long the last call took that did not fail, also if nobody waited
            for it any more; None if there was none.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turn = threading.Lock()
        self._left: Future[Any] | None = None
        self._what = ""
        self._begun_s = 0.0
        self.taken_s: float | None = None

    def call(self, call: Callable[[], T], what: str, patience_s: float) -> T:
        """What a call returns, or raises.

        Args:
            call: does it.
            what: that is, in words.
            patience_s: how long to wait.

        Raises:
            KernelError: it takes longer, or one that nobody waits for any more has not
                ended yet.
        """
        # Somebody else's call that is waited for is no sign of anything.
        if not self._turn.acquire(timeout=patience_s):
            raise self._late()
        try:
            return self._call(call, what, patience_s)
        finally:
            self._turn.release()

    def _call(self, call: Callable[[], T], what: str, patience_s: float) -> T:
        if self._left is not None and not self._left.done():
            raise self._late()
        future: Future[T] = Future()
        self._left, self._what, self._begun_s = future, what, self._clock()
        # Nobody waits for it when the process ends.
        thread = threading.Thread(target=self._run, args=(future, call), daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._left = None
            raise KernelError.of(errno.EAGAIN, what, str(error)) from error
        try:
            return future.result(patience_s)
        except TimeoutError as error:
            if future.done():
                # Just now, or that is what it has raised.
                return future.result()
            raise self._late() from error

    def _run(self, future: Future[T], call: Callable[[], T]) -> None:
        begun_s = self._clock()
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  # it is the caller's
            future.set_exception(error)
        else:
            self.taken_s = self._clock() - begun_s
            future.set_result(result)

    def _late(self) -> KernelError:
        taken_s = self._clock() - self._begun_s
        reason = f"has not ended in {taken_s:.0f} s"
        return KernelError.of(errno.ETIMEDOUT, self._what, reason)
