"""Naps of an event loop: how much longer they take than they should.

`python -m tests.bench.naps` is a loop that does nothing else, in a process of its own.
For each line of its input it prints, as JSON, what its naps since the line before were
like. What it meets is the machine's doing: another process that has its turn, a call to
the kernel that nobody interrupts.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.bench.sizes import Figures

_NAP_S: Final = 0.001


class Naps:
    """The naps of this event loop."""

    def __init__(self) -> None:
        self._late_s: list[float] = []

    async def run(self) -> None:
        """Nap until cancelled."""
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(_NAP_S)
            self._late_s.append(time.perf_counter() - begun - _NAP_S)

    async def take(self) -> Figures:
        """By how many seconds they were late since the last call."""
        late, self._late_s = self._late_s, []
        return spread(sorted(late))


class OthersNaps:
    """Those of an idle loop in another process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def take(self) -> Figures:
        """See `Naps.take`."""
        asked, answers = self._process.stdin, self._process.stdout
        if asked is None or answers is None:
            raise TypeError(self._process)
        asked.write(b"\n")
        figures: Figures = json.loads(await answers.readline())
        return figures


@asynccontextmanager
async def idle_loop() -> AsyncIterator[OthersNaps]:
    """An idle loop in another process, during the block."""
    pipe = asyncio.subprocess.PIPE
    words = (sys.executable, "-m", "tests.bench.naps")
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe)
    try:
        yield OthersNaps(process)
    finally:
        process.kill()
        await process.wait()


def spread(ordered: list[float]) -> Figures:
    """Median, 99th percentile and the last of some that are sorted."""
    if not ordered:
        ordered = [float("nan")]
    return {
        "median": ordered[len(ordered) // 2],
        "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        "worst": ordered[-1],
    }


async def _main() -> None:
    naps = Naps()
    napping = asyncio.create_task(naps.run())
    asked = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    while await asked.readline():
        print(json.dumps(await naps.take()), flush=True)
    napping.cancel()


if __name__ == "__main__":
    asyncio.run(_main())
