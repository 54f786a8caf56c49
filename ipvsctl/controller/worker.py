"""One thread owns the kernel and the desired state; all others give it jobs.

A job is work in steps. After each step the most urgent job goes on, so that a sync
waits for one step of an audit at most, and an audit for one of a look. Steps that are
shared (compiling one large Service, waiting for `iptables-save`) are done in a second
thread, beside the others.
"""

import asyncio
import contextlib
import heapq
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import IntEnum
from itertools import count
from typing import Any, Generic, Protocol, Self, TypeVar

from ipvsctl.model.steps import Step, Steps

T = TypeVar("T")


class Priority(IntEnum):
    """Which job goes on first; between equals, the one that was given first."""

    ALONE = 0
    """Nothing comes between two of its steps."""

    SYNC = 1
    AUDIT = 2
    LOOK = 3


class Worker(Protocol):
    """Does jobs that block, so that the event loop never does.

    Whoever waits for a job is told what it raises, and nobody else. If he is cancelled,
    the step under way ends, no other begins, and the rest is closed in its thread.
    """

    async def do(self, priority: Priority, call: Callable[[], T]) -> T:
        """Do something in one step; what it returns."""
        ...

    async def walk(self, priority: Priority, steps: Steps[T]) -> T:
        """Do something step by step; what it returns."""
        ...

    def give_way(self, limit_s: float) -> float:
        """Return when no sync is under way; for another thread that computes.

        Args:
            limit_s: the longest time to wait, in seconds.

        Returns:
            How many seconds that took.
        """
        ...

    async def calm(self, limit_s: float) -> float:
        """The same, for a task of the event loop."""
        ...

    def busy_s(self) -> float:
        """For how many seconds the exclusive step under way has been; 0 without one.

        Shared ones take long on a node with very many rules of others, and end.
        """
        ...


class ThreadWorker:
    """See `Worker`; has its two threads while `running`."""

    def __init__(self) -> None:
        self._own = _Lane(self._step)
        self._aside = _Lane(self._step)
        self._numbers = count()
        self._is_ending = False
        self._syncs = 0
        self._is_calm = threading.Event()
        self._is_calm.set()
        self._calmed = asyncio.Event()
        self._calmed.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Have threads during the block; the steps under way are waited for."""
        for lane, name in ((self._own, "worker"), (self._aside, "aside")):
            lane.start(name)
        try:
            yield self
        finally:
            self._is_ending = True
            # What the second one leaves is the first one's to close.
            for lane in (self._aside, self._own):
                await asyncio.to_thread(lane.end)

    async def do(self, priority: Priority, call: Callable[[], T]) -> T:
        """See `Worker`."""
        if priority is not Priority.SYNC:
            return await self.walk(priority, _single(call))
        self._syncs += 1
        self._is_calm.clear()
        self._calmed.clear()
        try:
            return await self.walk(priority, _single(call))
        finally:
            self._syncs -= 1
            if not self._syncs:
                self._is_calm.set()
                self._calmed.set()

    async def walk(self, priority: Priority, steps: Steps[T]) -> T:
        """See `Worker`."""
        job = _Job(priority, next(self._numbers), steps)
        if not self._own.put(job):
            steps.close()
            message = "the worker has ended"
            raise RuntimeError(message)
        try:
            return await job.done
        except asyncio.CancelledError:
            job.is_given_up = True
            raise

    def give_way(self, limit_s: float) -> float:
        """See `Worker`."""
        if self._is_calm.is_set() or limit_s <= 0:
            return 0.0
        begun_s = time.monotonic()
        self._is_calm.wait(limit_s)
        return time.monotonic() - begun_s

    async def calm(self, limit_s: float) -> float:
        """See `Worker`."""
        if self._calmed.is_set() or limit_s <= 0:
            return 0.0
        begun_s = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._calmed.wait()
        return time.monotonic() - begun_s

    def busy_s(self) -> float:
        """See `Worker`."""
        return self._own.busy_s()

    def _step(self, job: "_Job[Any]", lane: "_Lane") -> None:
        """Do one step of a job, and put it where the next one is to be done."""
        if job.is_given_up or self._is_ending:
            if lane is self._own:
                job.give_up()
            else:
                self._own.put(job)
            return
        step = job.step()
        if step is None:
            return
        is_shared = step is Step.SHARED and job.priority is not Priority.ALONE
        if not (is_shared and self._aside.put(job)):
            self._own.put(job)


def _single(call: Callable[[], T]) -> Steps[T]:
    yield from ()
    return call()


class _Job(Generic[T]):
    """Work under way, and who waits for it.

    Attributes:
        is_given_up: nobody waits any more.
    """

    def __init__(self, priority: Priority, number: int, steps: Steps[T]) -> None:
        self.priority = priority
        self._number = number
        self._steps = steps
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[T] = self._loop.create_future()
        self.is_given_up = False

    def __lt__(self, other: "_Job[T]") -> bool:
        return (self.priority, self._number) < (other.priority, other._number)

    def step(self) -> Step | None:
        """Do one step; what the next one needs, None after the last."""
        try:
            return next(self._steps)
        except StopIteration as done:
            self._loop.call_soon_threadsafe(_resolve, self.done, done.value)
        except BaseException as error:  # noqa: BLE001  # it is the waiter's
            self._loop.call_soon_threadsafe(_refuse, self.done, error)
        return None

    def give_up(self) -> None:
        """Close what is left, and end the waiting."""
        self._steps.close()
        self._loop.call_soon_threadsafe(self.done.cancel)


def _resolve(future: "asyncio.Future[T]", value: T) -> None:
    if not future.done():
        future.set_result(value)


def _refuse(future: "asyncio.Future[T]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


class _Lane:
    """A thread that does a step of one job after the other.

    Args:
        step: does one; it puts the job somewhere, or lets go of it.
    """

    def __init__(self, step: "Callable[[_Job[Any], _Lane], None]") -> None:
        self._step = step
        self._jobs: list[_Job[Any]] = []
        self._has_jobs = threading.Condition()
        self._thread = threading.Thread(target=self._run)
        self._is_ending = False
        self._has_ended = False
        self._begun_s: float | None = None

    def busy_s(self) -> float:
        """See `Worker`."""
        begun_s = self._begun_s
        return 0.0 if begun_s is None else time.monotonic() - begun_s

    def start(self, name: str) -> None:
        """Begin."""
        self._thread.name = name
        self._thread.start()

    def put(self, job: "_Job[Any]") -> bool:
        """Have a step of a job done; False if there is no thread any more."""
        with self._has_jobs:
            if self._has_ended:
                return False
            heapq.heappush(self._jobs, job)
            self._has_jobs.notify()
            return True

    def end(self) -> None:
        """Return when every job has been let go of."""
        with self._has_jobs:
            self._is_ending = True
            self._has_jobs.notify()
        self._thread.join()

    def _run(self) -> None:
        while self._go_on():
            pass

    def _go_on(self) -> bool:
        """Do the next step; False when there will be none."""
        # In no variable that outlives it, which would keep what a job has found.
        with self._has_jobs:
            while not self._jobs:
                if self._is_ending:
                    self._has_ended = True
                    return False
                self._has_jobs.wait()
            job = heapq.heappop(self._jobs)
        self._begun_s = time.monotonic()
        try:
            self._step(job, self)
        finally:
            self._begun_s = None
        return True
