"""Facts about when files are looked at again."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from ipvsctl.sources.watching import POLL_S, Touched, changes_in, wakeups


class Kernel:
    """Can watch, or has no inotify instance left."""

    def __init__(self, *answers: Exception | Sequence[Touched]) -> None:
        self._answers = iter(answers)
        self.slept: list[float] = []

    async def watch(
        self, _watched: Iterable[Path], _paths: Sequence[Path]
    ) -> AsyncGenerator[Touched, None]:
        """What it tells, or why it cannot."""
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        for touched in answer:
            yield touched

    async def sleep(self, seconds: float) -> None:
        """Takes no time."""
        self.slept.append(seconds)


@pytest.fixture(autouse=True)
def logs_as_usual() -> Iterator[None]:
    """What a test configures lasts no longer than it."""
    yield
    structlog.reset_defaults()


NONE = frozenset[str]()
# What watchfiles raises when inotify_init and inotify_add_watch fail.
NO_INSTANCE = RuntimeError("no instance left")
NO_WATCH = OSError("no watch left")


async def test_polling(tmp_path: Path) -> None:
    """What cannot be watched is looked at now and then, until it can be."""
    kernel = Kernel(NO_INSTANCE, NO_WATCH, NO_INSTANCE, [NONE, frozenset("a")], [NONE])
    with capture_logs() as logs:
        async with aclosing(
            wakeups([tmp_path], watch=kernel.watch, sleep=kernel.sleep)
        ) as woken:
            found = [await anext(woken) for _ in range(6)]
    assert found == [NONE, NONE, NONE, NONE, frozenset("a"), NONE]
    assert kernel.slept == [POLL_S] * 3
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "manifests cannot be watched"),
        ("info", "manifests are watched again"),
    ]
    assert logs[0]["reason"] == "no instance left"


async def test_name_that_cannot_be_watched(tmp_path: Path) -> None:
    """A directory whose name is not UTF-8 is looked at all the same."""
    kernel = Kernel()
    path = tmp_path / "caf\udce9"
    path.mkdir()
    async with aclosing(wakeups([path], sleep=kernel.sleep)) as woken:
        assert await anext(woken) == NONE


async def test_failure_is_told_at_once(tmp_path: Path) -> None:
    """What cannot be watched is an error before the first look, not after it."""
    async with aclosing(changes_in([Path("\udce9")], [tmp_path])) as changed:
        with pytest.raises((OSError, RuntimeError, ValueError)):
            await anext(changed)
