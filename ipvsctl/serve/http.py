"""HTTP for probes and scrapes: a few routes at one address, whoever asks and however.

A client can keep neither the daemon nor another client waiting: each connection has one
request and a time limit, and when there are too many the oldest makes room.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_exponential,
    wait_random,
)

from ipvsctl.model.config import Listener
from ipvsctl.model.errors import ConfigError
from ipvsctl.serve.listen import BACKLOG, listen

Route = Callable[[], Awaitable[web.Response]]
"""What answers GET and HEAD of a path."""

CONNECTION_LIMIT_S: Final = 10.0
"""For how long a client may take; Prometheus waits no longer either."""
_MAX_CONNECTIONS: Final = 128
_SHUTDOWN_S: Final = 0.3
"""How long an answer under way may keep the daemon from ending."""
_METHODS: Final = ("GET", "HEAD")

_Limit = tuple[asyncio.Transport, asyncio.TimerHandle]

_log = structlog.get_logger("ipvsctl")


@asynccontextmanager
async def http_server(
    listener: Listener,
    routes: Mapping[str, Route],
    *,
    field: str,
    must_bind: bool,
    limit_s: float = CONNECTION_LIMIT_S,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[None]:
    """Answer at an address during the block.

    Args:
        listener: where; port 0 is nowhere, as for kube-proxy.
        routes: by path, `/healthz`.
        field: the setting that says where, for errors.
        must_bind: if it cannot be bound, say so and give up, instead of trying again
            until it can.
        limit_s: for how long a connection may last.
        sleep: between tries.

    Raises:
        ConfigError: it cannot be bound, and must be.
    """
    if not listener.port:
        yield
        return
    runner = web.ServerRunner(
        _Server(_dispatcher(routes), limit_s), shutdown_timeout=_SHUTDOWN_S
    )
    await runner.setup()
    opening = None
    try:
        try:
            await _open(runner, listener)
        except OSError as error:
            if must_bind:
                raise ConfigError(
                    field=field,
                    value=str(listener),
                    reason=f"cannot listen: {error.strerror or error}",
                ) from error
            opening = asyncio.create_task(_keep_opening(runner, listener, field, sleep))
        yield
    finally:
        if opening is not None:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        await runner.cleanup()


async def _open(runner: web.ServerRunner, listener: Listener) -> None:
    await web.SockSite(runner, listen(listener), backlog=BACKLOG).start()


async def _keep_opening(
    runner: web.ServerRunner,
    listener: Listener,
    field: str,
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Try until it can be bound: kube-proxy may still be there for a moment."""

    def say(state: RetryCallState) -> None:
        reason = state.outcome and state.outcome.exception()
        _log.warning(
            "cannot listen", field=field, address=str(listener), reason=str(reason)
        )

    retrying = AsyncRetrying(
        wait=wait_exponential(multiplier=0.5, max=30) + wait_random(0, 0.5),
        retry=retry_if_exception_type(OSError),
        before_sleep=say,
        sleep=sleep,
    )
    await retrying(_open, runner, listener)
    _log.info("listening", field=field, address=str(listener))


def _dispatcher(
    routes: Mapping[str, Route],
) -> Callable[[web.BaseRequest], Awaitable[web.Response]]:
    async def dispatch(request: web.BaseRequest) -> web.Response:
        route = routes.get(request.path)
        if route is None:
            response = web.Response(status=HTTPStatus.NOT_FOUND, text="not found\n")
        elif request.method not in _METHODS:
            response = web.Response(
                status=HTTPStatus.METHOD_NOT_ALLOWED,
                text="method not allowed\n",
                headers={"Allow": ", ".join(_METHODS)},
            )
        else:
            response = await route()
        response.headers["X-Content-Type-Options"] = "nosniff"
        # In place of the library's name and version.
        response.headers["Server"] = "ipvsctl"
        response.force_close()
        return response

    return dispatch


class _Server(web.Server):
    """A server that ends connections: those that last too long, or are too many."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.Response]],
        limit_s: float,
    ) -> None:
        super().__init__(handler, access_log=None)
        self._limit_s = limit_s
        self._limits: dict[web.RequestHandler, _Limit] = {}

    def connection_made(
        self, handler: web.RequestHandler, transport: asyncio.Transport
    ) -> None:
        """Let a client in, in place of the oldest one if there is no room."""
        if len(self._limits) >= _MAX_CONNECTIONS:
            oldest, _ = self._limits[next(iter(self._limits))]
            oldest.abort()
        super().connection_made(handler, transport)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._limit_s, transport.abort)
        self._limits[handler] = transport, timer

    def connection_lost(
        self,
        handler: web.RequestHandler,
        exc: BaseException | None = None,
    ) -> None:
        """A client has gone, or was ended."""
        super().connection_lost(handler, exc)
        _, timer = self._limits.pop(handler)
        timer.cancel()
