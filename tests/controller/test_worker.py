"""The worker's own threads: who goes first, and what becomes of what is given up."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from ipvsctl.controller.worker import Priority, ThreadWorker
from ipvsctl.model.steps import Step, Steps

LIMIT_S = 60


class Gate:
    """A job's step that goes on when the test says so."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.opened = threading.Event()

    def __call__(self) -> None:
        """Wait."""
        self.begun.set()
        assert self.opened.wait(LIMIT_S)

    async def until_begun(self) -> None:
        """Return when the worker waits here."""
        assert await asyncio.to_thread(self.begun.wait, LIMIT_S)


def steps(
    note: Callable[[str], None], name: str, *needs: Step, closed: str = ""
) -> Steps[str]:
    """Work that notes each of its steps, and the thread of those that are shared."""
    try:
        for number, need in enumerate(needs):
            note(f"{name}{number}")
            yield need
        note(f"{name}{len(needs)}")
    except GeneratorExit:
        note(f"{closed}{threading.current_thread().name}")
        raise
    return name


EXCLUSIVE = Step.EXCLUSIVE


async def test_the_most_urgent_goes_on_after_each_step() -> None:
    """A sync waits for one step of an audit, and that one for one of a look."""
    done: list[str] = []
    gate = Gate()
    async with asyncio.timeout(LIMIT_S), ThreadWorker().running() as worker:
        first = asyncio.ensure_future(worker.do(Priority.LOOK, gate))
        await gate.until_begun()
        jobs = [
            worker.walk(Priority.LOOK, steps(done.append, "look", EXCLUSIVE)),
            worker.walk(Priority.AUDIT, steps(done.append, "audit", EXCLUSIVE)),
            worker.do(Priority.SYNC, lambda: done.append("sync")),
            worker.do(Priority.SYNC, lambda: done.append("second")),
            worker.walk(Priority.ALONE, steps(done.append, "alone", EXCLUSIVE)),
        ]
        waiting = asyncio.gather(*jobs)
        await asyncio.sleep(0)
        gate.opened.set()
        assert await waiting == ["look", "audit", None, None, "alone"]
        await first
    assert done == [
        "alone0",
        "alone1",
        "sync",
        "second",
        "audit0",
        "audit1",
        "look0",
        "look1",
    ]


async def test_a_sync_gets_in_between_two_steps() -> None:
    """The rest of the audit comes after it."""
    done: list[str] = []
    gate = Gate()

    def audit() -> Steps[None]:
        gate()
        yield EXCLUSIVE
        done.append("audit")

    async with asyncio.timeout(LIMIT_S), ThreadWorker().running() as worker:
        auditing = asyncio.ensure_future(worker.walk(Priority.AUDIT, audit()))
        await gate.until_begun()
        sync = asyncio.ensure_future(
            worker.do(Priority.SYNC, lambda: done.append("sync"))
        )
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(auditing, sync)
    assert done == ["sync", "audit"]


@pytest.mark.parametrize(
    ("step", "is_busy"), [(Step.EXCLUSIVE, True), (Step.SHARED, False)]
)
async def test_how_long_a_step_has_been(
    step: Step,
    is_busy: bool,  # noqa: FBT001  # a row's value
) -> None:
    """One that has the kernel; who reads very many rules may take his time."""
    begun, may_end = threading.Event(), threading.Event()

    def steps() -> Steps[None]:
        yield step
        begun.set()
        assert may_end.wait(60)

    async with ThreadWorker().running() as worker:
        assert worker.busy_s() == 0
        walking = asyncio.ensure_future(worker.walk(Priority.LOOK, steps()))
        assert await asyncio.to_thread(begun.wait, 60)
        try:
            assert (worker.busy_s() > 0) == is_busy
        finally:
            may_end.set()
            await walking
        await worker.do(Priority.LOOK, lambda: None)


async def test_a_shared_step_keeps_nobody_waiting() -> None:
    """It is done in another thread, and what follows it in the worker's again."""
    gate = Gate()
    threads: list[str] = []

    def large() -> Steps[None]:
        threads.append(threading.current_thread().name)
        yield Step.SHARED
        threads.append(threading.current_thread().name)
        gate()
        yield Step.EXCLUSIVE
        threads.append(threading.current_thread().name)

    async with asyncio.timeout(LIMIT_S), ThreadWorker().running() as worker:
        compiling = asyncio.ensure_future(worker.walk(Priority.SYNC, large()))
        await gate.until_begun()
        assert await worker.do(Priority.SYNC, lambda: "sync") == "sync"
        gate.opened.set()
        await compiling
    assert threads == ["worker", "aside", "worker"]


async def test_nothing_comes_between_the_steps_of_what_is_alone() -> None:
    """Its shared steps are done in the worker too."""
    done: list[str] = []
    gate = Gate()

    def alone() -> Steps[None]:
        yield Step.SHARED
        gate()
        done.append(threading.current_thread().name)
        yield EXCLUSIVE
        done.append("alone")

    async with asyncio.timeout(LIMIT_S), ThreadWorker().running() as worker:
        auditing = asyncio.ensure_future(worker.walk(Priority.ALONE, alone()))
        await gate.until_begun()
        sync = asyncio.ensure_future(
            worker.do(Priority.SYNC, lambda: done.append("sync"))
        )
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(auditing, sync)
    assert done == ["worker", "alone", "sync"]


async def test_an_exception_is_its_waiters_alone() -> None:
    """Others go on; one that would end a generator is none too."""

    def fail() -> None:
        raise OSError(5, "broken")

    def stop() -> None:
        raise StopIteration

    async with asyncio.timeout(LIMIT_S), ThreadWorker().running() as worker:
        with pytest.raises(OSError, match="broken"):
            await worker.do(Priority.SYNC, fail)
        with pytest.raises(RuntimeError):
            await worker.do(Priority.SYNC, stop)
        assert await worker.do(Priority.SYNC, lambda: 1) == 1


async def test_what_is_given_up_is_closed_where_it_was_done() -> None:
    """The step under way ends; no other begins."""
    done: list[str] = []
    gate = Gate()
    async with asyncio.timeout(LIMIT_S), ThreadWorker().running() as worker:
        blocking = asyncio.ensure_future(worker.do(Priority.SYNC, gate))
        await gate.until_begun()
        begun = steps(done.append, "audit", EXCLUSIVE, EXCLUSIVE, closed="closed in ")
        next(begun)
        auditing = asyncio.ensure_future(worker.walk(Priority.AUDIT, begun))
        late = asyncio.ensure_future(
            worker.do(Priority.SYNC, lambda: done.append("late"))
        )
        await asyncio.sleep(0)
        for job in (auditing, late, blocking):
            job.cancel()
        await asyncio.gather(auditing, late, blocking, return_exceptions=True)
        gate.opened.set()
        await worker.do(Priority.LOOK, lambda: None)
    assert done == ["audit0", "closed in worker"]


@pytest.mark.parametrize("need", list(Step))
async def test_no_thread_and_no_work_outlives_it(need: Step) -> None:
    """The step under way is waited for, wherever it is done; the rest is closed."""
    gate = Gate()
    done: list[str] = []

    def audit() -> Steps[None]:
        try:
            yield need
            gate()
            done.append("ended")
            yield need
            done.append("never")
        finally:
            done.append(f"closed in {threading.current_thread().name}")

    before = set(threading.enumerate())
    async with asyncio.timeout(LIMIT_S):
        async with ThreadWorker().running() as worker:
            auditing = asyncio.ensure_future(worker.walk(Priority.AUDIT, audit()))
            await gate.until_begun()
            asyncio.get_running_loop().call_later(0.01, gate.opened.set)
        with pytest.raises(asyncio.CancelledError):
            await auditing
        with pytest.raises(RuntimeError):
            await worker.do(Priority.SYNC, lambda: None)
    assert done == ["ended", "closed in worker"]
    workers = {"worker", "aside"}
    assert not workers & {t.name for t in set(threading.enumerate()) - before}


async def test_others_give_way_to_a_sync() -> None:
    """Who computes, or sends, waits while one is under way, and no longer."""
    may_end = threading.Event()
    async with ThreadWorker().running() as worker:
        assert worker.give_way(LIMIT_S) == 0
        syncing = asyncio.ensure_future(
            worker.do(Priority.SYNC, lambda: may_end.wait(LIMIT_S))
        )
        await asyncio.sleep(0)
        assert worker.give_way(0.001) > 0
        assert await worker.calm(0.001) > 0
        calm = asyncio.ensure_future(worker.calm(LIMIT_S))
        waiting = asyncio.ensure_future(asyncio.to_thread(worker.give_way, LIMIT_S))
        may_end.set()
        assert await syncing
        assert await waiting < LIMIT_S
        assert await calm < LIMIT_S
        assert worker.give_way(LIMIT_S) == 0
        assert await worker.calm(LIMIT_S) == 0


async def test_nobody_gives_way_to_an_audit() -> None:
    """It takes seconds."""
    may_end = threading.Event()
    async with ThreadWorker().running() as worker:
        auditing = asyncio.ensure_future(
            worker.do(Priority.AUDIT, lambda: may_end.wait(LIMIT_S))
        )
        await asyncio.sleep(0)
        assert worker.give_way(LIMIT_S) == 0
        assert await worker.calm(LIMIT_S) == 0
        may_end.set()
        assert await auditing
