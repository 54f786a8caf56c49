"""What the event loop says of its own."""

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from ipvsctl.cli.event_loop import EVERY_S, LoopMishaps, started_threads
from ipvsctl.model.errors import KernelError
from tests.fakes.clock import FakeClock

ACCEPT = "socket.accept() out of system resource"


async def test_a_mishap_that_comes_again_and_again() -> None:
    """It is one line a minute, with how often it was; another one is told at once."""
    clock = FakeClock()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopMishaps(clock))
    with capture_logs() as logs:
        for _ in range(100):
            clock.advance(1)
            error = OSError(24, "Too many open files")
            loop.call_exception_handler({"message": ACCEPT, "exception": error})
        loop.call_exception_handler({"message": "Task was destroyed"})
    assert [(line["reason"], line["times"]) for line in logs] == [
        (ACCEPT, 1),
        (ACCEPT, EVERY_S),
        ("Task was destroyed", 1),
    ]
    assert logs[0]["error"] == "OSError: EMFILE"
    assert logs[2]["error"] is None
    assert {line["event"] for line in logs} == {"event loop"}


def test_threads_are_there_before_they_are_needed() -> None:
    """What is done later starts none."""
    before = threading.active_count()
    with started_threads(3) as threads:
        assert threading.active_count() == before + 3
        assert list(threads.map(abs, range(-9, 0))) == [*range(9, 0, -1)]
        assert threading.active_count() == before + 3


def test_threads_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and those that are there wait for nobody."""
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def start_two(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    with pytest.raises(KernelError, match="start threads: can't start new thread"):
        started_threads(3)
    assert len(started) == 2
    for thread in started:
        thread.join(60)
        assert not thread.is_alive()
