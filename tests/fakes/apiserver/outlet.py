"""The body of an answer on its way out, with what goes wrong there."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.fakes.apiserver.faults import Cut, Fault, Hang, Throttle

Sleep = Callable[[float], Awaitable[None]]

_TICKS_PER_S = 20


class Outlet:
    """Writes to one answer."""

    def __init__(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        faults: tuple[Fault, ...],
        sleep: Sleep,
    ) -> None:
        self._request = request
        self._response = response
        self._sleep = sleep
        ends = [fault for fault in faults if isinstance(fault, Cut | Hang)]
        self._end = min(ends, key=lambda fault: fault.after_bytes, default=None)
        rates = [fault.bytes_per_s for fault in faults if isinstance(fault, Throttle)]
        self._bytes_per_s = min(rates, default=None)
        self._sent_bytes = 0

    async def write(self, data: bytes) -> None:
        """Send bytes, or as many as the faults leave; then it never returns."""
        if self._end is None:
            await self._send(data)
            return
        left_bytes = self._end.after_bytes - self._sent_bytes
        await self._send(data[:left_bytes])
        if len(data) < left_bytes:
            return
        if isinstance(self._end, Cut) and self._request.transport is not None:
            self._request.transport.close()
        await silence()

    async def _send(self, data: bytes) -> None:
        self._sent_bytes += len(data)
        if self._bytes_per_s is None:
            await self._response.write(data)
            return
        step = max(1, self._bytes_per_s // _TICKS_PER_S)
        for begin in range(0, len(data), step):
            piece = data[begin : begin + step]
            await self._response.write(piece)
            await self._sleep(len(piece) / self._bytes_per_s)


async def silence() -> None:
    """Never return; a closed connection cancels it."""
    await asyncio.get_running_loop().create_future()
