"""The fake API server: TLS on a port, by default of 127.0.0.1, and its life cycle."""

import asyncio
import enum
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.fakes.apiserver.access import Access
from tests.fakes.apiserver.answers import Answers, Streaming
from tests.fakes.apiserver.certificates import Authority, write_kubeconfig
from tests.fakes.apiserver.execution import Execute
from tests.fakes.apiserver.faults import When
from tests.fakes.apiserver.kinds import Resource
from tests.fakes.apiserver.outlet import Sleep
from tests.fakes.apiserver.recorded import Recorded
from tests.fakes.apiserver.store import Store

Raw = dict[str, Any]


class Door(enum.Enum):
    """What becomes of new connections."""

    OPEN = "open"
    REFUSED = "refused"
    SILENT = "silent"  # accepted, and never a byte


class FakeApiServer:
    """An API server; `async with` it.

    Attributes:
        store: its objects; `put` and `delete` there are seen by watches.
        access: tokens and what is denied.
        authority: signs certificates.
        token: of a user who may everything that is not denied.
        port: where it is, also while it refuses connections.
        url: the same, for clients.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        address: str = "127.0.0.1",
        port: int = 0,
        door: Door = Door.OPEN,
    ) -> None:
        """Know a namespace, `default`, and nothing else.

        Args:
            clock: of the requests' record.
            sleep: of `timeoutSeconds` and slow answers.
            address: of the host, in the network namespace of whoever calls.
            port: to listen on; 0 for a free one.
            door: whether it can be reached at first.
        """
        self.token = secrets.token_urlsafe(16)
        self.access = Access({self.token: "system:node-proxier"})
        self.authority = Authority(address)
        self.store = Store()
        self._answers = Answers(self.store, self.access, clock, sleep)
        self._context = self.authority.server_context()
        self._door = door
        # Bound and never listening: it keeps the port while nobody listens.
        self._address = address
        self._reservation = _bind(address, port)
        self.port = int(self._reservation.getsockname()[1])
        self.url = f"https://{address}:{self.port}"
        self._web: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._silent: set[asyncio.StreamWriter] = set()
        for name in ("default", "kube-system"):
            self.put({"kind": "Namespace", "metadata": {"name": name}})

    async def __aenter__(self) -> Self:
        await self.set_door(self._door)
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self._close()
        self._reservation.close()

    @property
    def requests(self) -> list[Recorded]:
        """Every request so far, in order; clear it at will."""
        return self._answers.requests

    @property
    def streaming(self) -> Streaming:
        """What becomes of `sendInitialEvents`."""
        return self._answers.streaming

    @streaming.setter
    def streaming(self, streaming: Streaming) -> None:
        self._answers.streaming = streaming

    def put(self, raw: Raw) -> None:
        """Create or replace an object; its kind is in it, its namespace may be."""
        self.store.put(raw)

    def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        """Delete an object, if there is one."""
        self.store.delete(kind, name, namespace)

    def load(self, objects: Iterable[Raw], *, revision: int) -> None:
        """Take objects as they are; see `Store.load`."""
        self.store.load(objects, revision=revision)

    async def restore(self, objects: Iterable[Raw], *, revision: int) -> None:
        """Drop every connection and come back as a backup was; see `Store.restore`."""
        await self.set_door(Door.REFUSED)
        self.store.restore(objects, revision=revision)
        await self.set_door(Door.OPEN)

    def have_executed(self, execute: Execute) -> None:
        """Have commands in pods run by this."""
        self._answers.execute = execute

    def script(self, *rules: When) -> None:
        """Have these faults from now on, and no others."""
        self._answers.script.set(*rules)

    def compact(self, revision: int | None = None) -> None:
        """Forget the changes up to that resource version; default: all."""
        self.store.compact(revision)

    def watching(self, resource: Resource) -> int:
        """How many watches of a resource are open."""
        return sum(watch.resource == resource for watch in self._answers.watches)

    @property
    def connections(self) -> int:
        """How many are open."""
        answering = len(self._web.connections) if self._web is not None else 0
        return answering + len(self._silent)

    def send_bookmarks(self) -> None:
        """Send a bookmark on every watch that asked for them."""
        for watch in self._answers.watches:
            if watch.has_bookmarks:
                watch.add_bookmark()

    def end_watches(self) -> None:
        """End every watch, cleanly, as if its time were up."""
        for watch in self._answers.watches:
            watch.end()

    def kubeconfig(self, path: Path, *, user: str | None = None) -> Path:
        """Write a kubeconfig.

        Args:
            path: the file.
            user: whose client certificate to put in instead of the token.
        """
        url, ca_pem = self.url, self.authority.ca_pem
        if user is None:
            return write_kubeconfig(path, url, ca_pem, token=self.token)
        pem = self.authority.client_pem(user)
        return write_kubeconfig(path, url, ca_pem, client_pem=pem)

    def client_context(self) -> ssl.SSLContext:
        """TLS for a client that trusts this server."""
        return self.authority.client_context()

    async def set_door(self, door: Door) -> None:
        """Drop every connection, and treat new ones like that."""
        await self._close()
        self._door = door
        if door is Door.REFUSED:
            return
        listening = _bind(self._address, self.port)
        if door is Door.SILENT:
            self._listener = await asyncio.start_server(self._keep, sock=listening)
            return
        serving = web.Server(
            self._answers.answer, handler_cancellation=True, access_log=None
        )
        self._web = serving
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: _Threshold(serving, lambda: self._web is serving),
            sock=listening,
            ssl=self._context,
        )

    async def restart(self, *, keeps_history: bool = True) -> None:
        """Drop every connection and start again.

        Args:
            keeps_history: whether changes from before can still be watched.
        """
        await self.set_door(Door.REFUSED)
        if not keeps_history:
            self.compact()
        await self.set_door(Door.OPEN)

    async def _keep(
        self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._silent.add(writer)

    async def _close(self) -> None:
        # Not waited for: that is for the end of its connections, late ones included.
        if self._listener is not None:
            self._listener.close()
        for writer in self._silent:
            writer.transport.abort()
        self._silent.clear()
        closing, self._web, self._listener = self._web, None, None
        if closing is not None:
            for connection in closing.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await closing.shutdown(0)


class _Threshold(asyncio.Protocol):
    """A connection until its handshake is over: only then does `web.Server` know it.

    Where the server has closed in the meantime, it ends there.
    """

    def __init__(self, serving: web.Server, is_open: Callable[[], bool]) -> None:
        self._serving = serving
        self._is_open = is_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if not self._is_open():
            transport.abort()
            return
        handler = self._serving()
        transport.set_protocol(handler)
        handler.connection_made(transport)


def _bind(address: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Several sockets of this process share the port.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((address, port))
    return bound
