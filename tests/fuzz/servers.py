"""Servers that are sent what no client would send, and then are asked something."""

import asyncio
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from ipvsctl.model.config import Listener
from ipvsctl.model.net import parse_address
from ipvsctl.serve.admission import Rate
from ipvsctl.serve.control import Pieces, control_socket
from ipvsctl.serve.http import http_server
from tests.fuzz.inputs import changed_bytes
from tests.fuzz.targets import Target
from tests.serve.test_health_checks import free_port

_PATIENCE_S: Final = 30.0

_REQUESTS: Final = (
    b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /v1/status?name=web HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"POST /v1/diff HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab\r\n",
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\n\r\n"
    ),
    (
        b"GET /livez HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\n\r\n"
    ),
)

_ANY: Final = Rate(per_s=1e9, burst=1e9)


class Server:
    """One server in a loop of its own, that is sent bytes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, where: str | int) -> None:
        self._loop = loop
        self._where = where

    def feed(self, raw: bytes) -> None:
        """Send some bytes and nothing more; then ask as anybody does.

        Raises:
            AssertionError: it does not answer.
        """
        asyncio.run_coroutine_threadsafe(self._feed(raw), self._loop).result()

    async def _feed(self, raw: bytes) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            await self._send(raw)
            while True:
                with suppress(ConnectionError, aiohttp.ClientConnectionError):
                    assert await self._asked() == "here"
                    return
                # There were too many of us in this second.
                await asyncio.sleep(0.1)

    async def _send(self, raw: bytes) -> None:
        with suppress(ConnectionError):
            reader, writer = await self._connect()
            try:
                writer.write(raw)
                writer.write_eof()
                await reader.read()
            finally:
                writer.close()
                await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._where, int):
            return await asyncio.open_connection("127.0.0.1", self._where)
        return await asyncio.open_unix_connection(self._where)

    async def _asked(self) -> str:
        if isinstance(self._where, int):
            url, connector = f"http://127.0.0.1:{self._where}/livez", None
        else:
            url, connector = "http://node/v1/status", aiohttp.UnixConnector(self._where)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(url) as answer,
        ):
            assert answer.status == 200
            return await answer.text()


async def _answer(_query: Mapping[str, str]) -> Pieces:
    return (b"here",)


async def _route() -> web.Response:
    return web.Response(text="here")


class _Servers:
    """Both servers, in a thread."""

    def __init__(self, scratch: Path) -> None:
        self.port, self.path = free_port(), scratch / "ctl.sock"
        self.loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()

    async def run(self, begun: "Future[None]") -> None:
        """Serve until stopped."""
        probes = http_server(
            Listener(parse_address("127.0.0.1"), self.port),
            {"/livez": _route},
            field="healthzBindAddress",
            must_bind=True,
            rate=_ANY,
        )
        async with probes, control_socket(self.path, {"/v1/status": _answer}):
            begun.set_result(None)
            await self._stop.wait()

    def stop(self) -> None:
        """Have it end."""
        self.loop.call_soon_threadsafe(self._stop.set)


@contextmanager
def served() -> Iterator[tuple[Target, ...]]:
    """Targets whose servers run during the block."""
    with tempfile.TemporaryDirectory() as scratch:
        servers, begun = _Servers(Path(scratch)), Future[None]()
        thread = threading.Thread(
            target=lambda: servers.loop.run_until_complete(servers.run(begun))
        )
        thread.start()
        begun.result(_PATIENCE_S)
        try:
            yield tuple(
                Target(
                    name=name,
                    inputs=changed_bytes(*_REQUESTS),
                    feed=Server(servers.loop, where).feed,
                    raises=(),
                )
                for name, where in (
                    ("HTTP", servers.port),
                    ("control", str(servers.path)),
                )
            )
        finally:
            servers.stop()
            thread.join()
            servers.loop.close()
