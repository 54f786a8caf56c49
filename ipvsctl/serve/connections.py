"""An HTTP server that its clients cannot overwhelm, at any number of sockets.

A connection has a time limit. Those beyond a rate are refused when they are accepted,
before anything is read; when there are too many, the oldest makes room.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from ipvsctl.serve.admission import (
    PORT_RATE,
    Admission,
    Bucket,
    Rate,
    is_local,
)
from ipvsctl.serve.complaints import Complaints

CONNECTION_LIMIT_S: Final = 10.0
"""For how long a client may take; Prometheus waits no longer either."""

MAX_CONNECTIONS: Final = 128
"""At once, of the node itself and of others each."""

_ACCEPTED_AT_ONCE: Final = 64
"""Connections that are accepted before the loop does something else: some ms."""

_ACCEPT_PAUSE_S: Final = 0.5
"""How long to leave clients waiting when no descriptor is free."""

# Close with a reset: a refused client must not cost this host a TIME_WAIT.
_RESET: Final = struct.pack("ii", 1, 0)

Answer = Callable[[web.BaseRequest], Awaitable[web.Response]]

_Limit = tuple[asyncio.Transport, asyncio.TimerHandle]


class HttpServer:
    """Answers at the sockets it is given.

    Args:
        answer: answers a request.
        field: name of the server in the log.
        limit_s: for how long a connection may last.
        rate, shared: see `Admission`.
        clock: seconds, never backwards.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        field: str,
        limit_s: float = CONNECTION_LIMIT_S,
        rate: Rate = PORT_RATE,
        shared: Bucket | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._complaints = Complaints(field, clock)
        self._admission = Admission(clock, rate, shared)
        self._server = _Server(answer, self._complaints, limit_s)
        self._sockets: set[socket.socket] = set()
        self._starting: set[asyncio.Task[None]] = set()

    def open(self, listening: socket.socket) -> None:
        """Answer at a socket that listens, and close it in the end."""
        listening.settimeout(0)
        self._sockets.add(listening)
        self._accept_at(listening)

    def leave(self, listening: socket.socket) -> None:
        """Close a socket; connections that are open there go on."""
        self._sockets.discard(listening)
        asyncio.get_running_loop().remove_reader(listening)
        listening.close()

    async def close(self, shutdown_s: float) -> None:
        """Close every socket and connection.

        Args:
            shutdown_s: how long an answer under way may take.
        """
        for listening in tuple(self._sockets):
            self.leave(listening)
        await asyncio.gather(*self._starting, return_exceptions=True)
        self._server.pre_shutdown()
        await self._server.shutdown(shutdown_s)

    def _accept_at(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            loop = asyncio.get_running_loop()
            loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, client = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                # It was reset before it was accepted.
                continue
            except OSError:
                self._complaints.note("not_accepted")
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(_ACCEPT_PAUSE_S, self._accept_at, listening)
                return
            self._admit(connection, client[0])

    def _admit(self, connection: socket.socket, client: str) -> None:
        try:
            server = connection.getsockname()[0]
        except OSError:
            connection.close()
            return
        if not self._admission.admits(client, server):
            self._complaints.note("refused")
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.close()
            return
        task = asyncio.create_task(self._start(connection))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection.settimeout(0)
        try:
            await loop.connect_accepted_socket(self._server, connection)
        except OSError:
            connection.close()


class _Server(web.Server):
    """Ends connections: those that last too long, or are too many."""

    def __init__(self, answer: Answer, complaints: Complaints, limit_s: float) -> None:
        super().__init__(answer)
        self._complaints = complaints
        self._limit_s = limit_s
        # By whether it comes from this node: others cannot make its connections the
        # oldest. Each is in the order that connections were made.
        self._limits: dict[bool, dict[web.RequestHandler, _Limit]] = {
            True: {},
            False: {},
        }

    def __call__(self) -> web.RequestHandler:
        """A handler of one connection."""
        loop = asyncio.get_running_loop()
        return _Handler(self, loop=loop, complaints=self._complaints, access_log=None)

    def connection_made(
        self, handler: web.RequestHandler, transport: asyncio.Transport
    ) -> None:
        """Let a client in, in place of the oldest one if there is no room."""
        limits = self._limits[_is_local(transport)]
        if len(limits) >= MAX_CONNECTIONS:
            self._complaints.note("too_many")
            oldest, _ = limits[next(iter(limits))]
            oldest.abort()
        super().connection_made(handler, transport)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._limit_s, self._end, transport)
        limits[handler] = transport, timer

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """A client has gone, or was ended."""
        super().connection_lost(handler, exc)
        for limits in self._limits.values():
            if handler in limits:
                _, timer = limits.pop(handler)
                timer.cancel()

    def _end(self, transport: asyncio.Transport) -> None:
        self._complaints.note("too_slow")
        transport.abort()


class _Handler(web.RequestHandler):
    """Says to a client that its request is wrong, and to nobody else.

    The library logs such requests with their words and a traceback, and answers with
    both, so whoever reaches the node could write into the log.
    """

    __slots__ = ("_complaints",)

    def __init__(
        self,
        manager: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        complaints: Complaints,
        **options: Any,  # noqa: ANN401  # the library's
    ) -> None:
        super().__init__(manager, loop=loop, **options)
        self._complaints = complaints

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # the client's words
    ) -> web.StreamResponse:
        """The answer to a request that cannot be read, or that we fail to answer."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._complaints.failed(exc)
        else:
            self._complaints.note("bad_requests")
        if request.writer.output_size > 0:
            raise ConnectionError("part of an answer has been sent")
        response = web.Response(
            status=status, text=f"{HTTPStatus(status).phrase.lower()}\n"
        )
        response.headers["Server"] = "ipvsctl"
        response.force_close()
        return response

    def log_exception(self, *_args: object, **kwargs: object) -> None:
        """An exception on the way to or from a client."""
        error = kwargs.get("exc_info")
        self._complaints.failed(error if isinstance(error, BaseException) else None)


def _is_local(transport: asyncio.Transport) -> bool:
    client = transport.get_extra_info("peername")
    server = transport.get_extra_info("sockname")
    return bool(client and server) and is_local(client[0], server[0])
