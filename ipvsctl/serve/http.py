"""HTTP for probes and scrapes: a few routes at one address, whoever asks."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from aiohttp import web
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_exponential,
    wait_random,
)

from ipvsctl.libraries.log import structlog
from ipvsctl.model.config import Listener
from ipvsctl.model.errors import ConfigError
from ipvsctl.serve.admission import PORT_RATE, Rate
from ipvsctl.serve.connections import CONNECTION_LIMIT_S, HttpServer
from ipvsctl.serve.listen import listen

Route = Callable[[], Awaitable[web.Response]]
"""Answers GET and HEAD of a path."""

_SHUTDOWN_S: Final = 0.3
"""How long an answer under way may keep the daemon from ending."""
_METHODS: Final = ("GET", "HEAD")

_log = structlog.get_logger("ipvsctl")


@asynccontextmanager
async def http_server(
    listener: Listener,
    routes: Mapping[str, Route],
    *,
    field: str,
    must_bind: bool,
    rate: Rate = PORT_RATE,
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
        rate: of connections from elsewhere than this node.
        limit_s: for how long a connection may last.
        sleep: between tries.

    Raises:
        ConfigError: the address cannot be bound, and must be.
    """
    if not listener.port:
        yield
        return
    server = HttpServer(_dispatcher(routes), field=field, rate=rate, limit_s=limit_s)
    opening = None
    try:
        try:
            server.open(listen(listener))
        except OSError as error:
            if must_bind:
                raise ConfigError(
                    field=field,
                    value=str(listener),
                    reason=f"cannot listen: {error.strerror or error}",
                ) from error
            opening = asyncio.create_task(_keep_opening(server, listener, field, sleep))
        yield
    finally:
        if opening is not None:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        await server.close(_SHUTDOWN_S)


async def _keep_opening(
    server: HttpServer,
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
    server.open(await retrying(_listen, listener))
    _log.info("listening", field=field, address=str(listener))


async def _listen(listener: Listener) -> socket.socket:
    return listen(listener)


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
