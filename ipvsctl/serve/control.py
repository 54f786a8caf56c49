"""The control socket: live answers for root on this node, as JSON over HTTP.

The owner of the state gives the answers; here is only the way to them.
"""

import asyncio
import contextlib
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import web

from ipvsctl.model.errors import ConfigError, IpvsctlError

Pieces = tuple[bytes, ...]
"""A JSON body; one piece after the other makes it."""

Answer = Callable[[Mapping[str, str]], Awaitable[Pieces]]
"""From the query of a request to a body."""

Calm = Callable[[float], Awaitable[float]]
"""Returns when nothing urgent is under way, or after so many seconds at most; how many
that took."""


class CannotTell(IpvsctlError):
    """It cannot be told from here; who asks may be able to look himself."""


_BACKLOG: Final = 16
_PROBE_S: Final = 1.0
_PATIENCE_S: Final = 1.0
"""For how long an answer as a whole lets urgent work go first."""
_SHUTDOWN_S: Final = 0.5
"""How long an answer under way may keep the daemon from ending."""


async def _is_calm(_limit_s: float) -> float:
    return 0.0


@asynccontextmanager
async def control_socket(
    path: Path, answers: Mapping[str, Answer], calm: Calm = _is_calm
) -> AsyncIterator[None]:
    """Answer on a unix socket during the block.

    Only root can connect: the socket has mode 0600, and a directory made for it 0700.
    A socket that a killed daemon left is replaced.

    Args:
        path: where.
        answers: by route, `/v1/status`. An `IpvsctlError` is told to the client as
            text, with status 503, or 504 if it `CannotTell`.
        calm: lets urgent work go before a piece of an answer.

    Raises:
        ConfigError: another daemon answers there, or the socket cannot be made.
    """
    application = web.Application()
    turns = _Turns(calm)
    application.add_routes(
        [web.get(route, _handler(answer, turns)) for route, answer in answers.items()]
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    listener = await asyncio.to_thread(_listen, path)
    try:
        await runner.setup()
        await web.SockSite(runner, listener, backlog=_BACKLOG).start()
        yield
    finally:
        _remove(path)
        await runner.cleanup()
        listener.close()


class _Turns:
    """Those who send take turns: one piece in each round of the event loop.

    Who gets a piece may have the CPU at once, and keep it for a while. Twenty pieces in
    one round would be twenty such whiles in which the event loop is not back.
    """

    def __init__(self, calm: Calm) -> None:
        self._is_sending = asyncio.Lock()
        self._calm = calm

    async def next(self, patience_s: float) -> float:
        """Return when it is the caller's turn; in the order of the calls.

        Args:
            patience_s: for how long urgent work may go first.

        Returns:
            What is left of that.
        """
        async with self._is_sending:
            await asyncio.sleep(0)
            return patience_s - await self._calm(patience_s)


def _handler(
    answer: Answer, turns: _Turns
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            pieces = await answer(request.query)
        except CannotTell as error:
            return web.Response(status=504, text=str(error))
        except IpvsctlError as error:
            return web.Response(status=503, text=str(error))
        response = web.StreamResponse()
        response.content_type = "application/json"
        response.content_length = sum(map(len, pieces))
        patience_s = await turns.next(_PATIENCE_S)
        await response.prepare(request)
        # Several who are sent the same answer share it.
        for piece in pieces:
            patience_s = await turns.next(patience_s)
            await response.write(piece)
        return response

    return handle


def _listen(path: Path) -> socket.socket:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_room(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(path))
            # In time: nobody can connect before it listens.
            path.chmod(0o600)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise _unusable(path, f"cannot be made: {error.strerror or error}") from error
    return listener


def _make_room(path: Path) -> None:
    """Take away a socket nobody listens on any more."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise _unusable(path, "is there and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except (TimeoutError, BlockingIOError):
            # Somebody listens and is too busy to accept.
            pass
    raise _unusable(path, "another ipvsctl run answers there")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _unusable(path: Path, reason: str) -> ConfigError:
    return ConfigError(field="--socket", value=str(path), reason=reason)
