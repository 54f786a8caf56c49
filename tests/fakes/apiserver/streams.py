"""A watch on its way out, until it ends or its time is up."""

import asyncio
from collections.abc import Iterator

from aiohttp import web

from tests.fakes.apiserver.faults import Fault, Garble
from tests.fakes.apiserver.outlet import Outlet, Sleep
from tests.fakes.apiserver.replies import common_headers
from tests.fakes.apiserver.watches import Watch

# Events that wait are sent together, as a server flushes only when none does.
_LINES_AT_ONCE = 64


async def send_watch(
    request: web.BaseRequest,
    watch: Watch,
    faults: tuple[Fault, ...],
    sleep: Sleep,
    timeout_s: int | None,
) -> web.StreamResponse:
    """Send what a watch has to say.

    Args:
        request: what to answer.
        watch: open; left open.
        faults: what goes wrong on the way.
        sleep: by which the time passes.
        timeout_s: after which the watch is over; None for never.
    """
    response, outlet = await _begin(request, faults, sleep)
    ending: asyncio.Future[None] | None = None
    if timeout_s is not None:
        ending = asyncio.ensure_future(sleep(timeout_s))
        ending.add_done_callback(lambda _: watch.end())
    garbles = {f.after_lines: f.text for f in faults if isinstance(f, Garble)}
    sent = 0
    try:
        while lines := await watch.lines():
            for begin in range(0, len(lines), _LINES_AT_ONCE):
                piece = lines[begin : begin + _LINES_AT_ONCE]
                await outlet.write(b"".join(_garbled(piece, sent, garbles)))
                sent += len(piece)
    finally:
        if ending is not None:
            ending.cancel()
    await response.write_eof()
    return response


async def send_line(
    request: web.BaseRequest, line: bytes, faults: tuple[Fault, ...], sleep: Sleep
) -> web.StreamResponse:
    """Send a watch that is over after its first line."""
    response, outlet = await _begin(request, faults, sleep)
    await outlet.write(line)
    await response.write_eof()
    return response


async def _begin(
    request: web.BaseRequest, faults: tuple[Fault, ...], sleep: Sleep
) -> tuple[web.StreamResponse, Outlet]:
    headers = {**common_headers(is_known=True), "Content-Type": "application/json"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    return response, Outlet(request, response, faults, sleep)


def _garbled(
    lines: list[bytes], place: int, garbles: dict[int, bytes]
) -> Iterator[bytes]:
    """The lines, the first being number `place`, with what does not belong there."""
    for number, line in enumerate(lines, place):
        if number in garbles:
            yield garbles[number] + b"\n"
        yield line
