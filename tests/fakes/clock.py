"""Time that passes only when told to."""

import asyncio
import heapq
from itertools import count


class FakeClock:
    """A clock and the sleep that belongs to it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now_s

    async def sleep(self, duration_s: float) -> None:
        """Return once the time has passed by that much."""
        woken = asyncio.get_running_loop().create_future()
        entry = (self.now_s + duration_s, next(self._number), woken)
        heapq.heappush(self._sleepers, entry)
        await woken

    @property
    def sleeping(self) -> tuple[float, ...]:
        """For how long each sleeper will still sleep, sorted."""
        left = [t - self.now_s for t, _, woken in self._sleepers if not woken.done()]
        return tuple(sorted(left))

    def advance(self, duration_s: float) -> None:
        """Let time pass and wake those whose time has come."""
        self.now_s += duration_s
        while self._sleepers and self._sleepers[0][0] <= self.now_s:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
