"""`python -m tests.bench.api_traffic`: what lists and watches cost on the wire.

The bytes are those of TCP: HTTP, and TLS around it. They are counted between the fake
API server and a client that asks as `ipvsctl run` does, or as it could.
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.fakes.apiserver import SERVICES, SLICES, FakeApiServer
from tests.fakes.apiserver.kinds import Resource
from tests.fakes.apiserver.large import change_endpoint, large_cluster

Figures = dict[str, float]

PAGE = 500
CHANGES = 200

STREAMED = {
    "watch": "true",
    "sendInitialEvents": "true",
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": "true",
}


class Wire:
    """Passes TCP on to a server, and counts.

    Attributes:
        port: where it listens.
        received_bytes: sent by the server so far.
        sent_bytes: sent to the server so far.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.received_bytes = 0
        self.sent_bytes = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Wire"]:
        """Listen for the length of a block."""
        listener = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for writer in self._writers:
                writer.transport.abort()
            ends = [writer.wait_closed() for writer in self._writers]
            await asyncio.gather(*ends, return_exceptions=True)

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        up_reader, up_writer = await asyncio.open_connection(
            "127.0.0.1", self._target_port
        )
        self._writers |= {writer, up_writer}
        for source, sink, is_up in (
            (reader, up_writer, True),
            (up_reader, writer, False),
        ):
            task = asyncio.ensure_future(self._pass(source, sink, is_up=is_up))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_up: bool
    ) -> None:
        try:
            while data := await source.read(2**16):
                if is_up:
                    self.sent_bytes += len(data)
                else:
                    self.received_bytes += len(data)
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()


class Client:
    """Asks through the wire, and says what each answer cost."""

    def __init__(self, server: FakeApiServer, wire: Wire) -> None:
        self._server = server
        self._wire = wire
        self._headers = {"Authorization": f"Bearer {server.token}"}

    def session(self, encoding: str = "") -> aiohttp.ClientSession:
        """A connection of its own, so that TLS is counted too."""
        return aiohttp.ClientSession(
            f"https://127.0.0.1:{self._wire.port}",
            headers={**self._headers, "Accept-Encoding": encoding},
            connector=aiohttp.TCPConnector(ssl=self._server.client_context()),
        )

    async def paged(self, resource: Resource, encoding: str = "") -> Figures:
        """A list in pages."""
        before, begun = self._wire.received_bytes, time.perf_counter()
        token, pages = "", 0
        async with self.session(encoding) as session:
            while token or not pages:
                query = {"limit": str(PAGE), **({"continue": token} if token else {})}
                async with session.get(_path(resource), params=query) as response:
                    body: dict[str, Any] = json.loads(await response.read())
                token = body["metadata"].get("continue", "")
                pages += 1
        return {
            "bytes": self._wire.received_bytes - before,
            "requests": pages,
            "seconds": round(time.perf_counter() - begun, 2),
        }

    async def streamed(self, resource: Resource) -> Figures:
        """A streaming list, up to the bookmark that ends it."""
        before, begun = self._wire.received_bytes, time.perf_counter()
        async with (
            self.session() as session,
            session.get(_path(resource), params=STREAMED) as response,
        ):
            async for line in response.content:
                if b"k8s.io/initial-events-end" in line[:400]:
                    break
        return {
            "bytes": self._wire.received_bytes - before,
            "requests": 1,
            "seconds": round(time.perf_counter() - begun, 2),
        }

    async def resumed(self, resource: Resource) -> Figures:
        """A watch that goes on where another one ended, and what comes then."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": str(self._server.store.revision),
        }
        wire = self._wire
        received, sent = wire.received_bytes, wire.sent_bytes
        async with (
            self.session() as session,
            session.get(_path(resource), params=query) as response,
        ):
            figures: Figures = {
                "resume, bytes received": wire.received_bytes - received,
                "resume, bytes sent": wire.sent_bytes - sent,
            }
            before = wire.received_bytes
            for _ in range(CHANGES):
                self._server.send_bookmarks()
                await response.content.readline()
            figures["bookmark, bytes"] = (wire.received_bytes - before) / CHANGES
            if resource == SLICES:
                before = wire.received_bytes
                for number in range(CHANGES):
                    change_endpoint(self._server.store, number)
                    await response.content.readline()
                each = (wire.received_bytes - before) / CHANGES
                figures["one endpoint changes, bytes"] = each
        return figures


def _path(resource: Resource) -> str:
    return f"{resource.root}/{resource.plural}"


async def measure(services: int, endpoints: int) -> dict[str, Figures]:
    """What it costs to list a cluster and to follow it.

    Args:
        services: how many, with one slice each.
        endpoints: of each slice.
    """
    figures: dict[str, Figures] = {}
    async with FakeApiServer() as server, Wire(server.port).open() as wire:
        cluster = large_cluster(services=services, slices=services, endpoints=endpoints)
        server.load(cluster, revision=10**8)
        client = Client(server, wire)
        for resource in (SERVICES, SLICES):
            name = resource.plural
            figures[f"{name}, streaming list"] = await client.streamed(resource)
            figures[f"{name}, paged list"] = await client.paged(resource)
            zipped = await client.paged(resource, "gzip")
            figures[f"{name}, paged list, gzip"] = zipped
            figures[f"{name}, watch"] = await client.resumed(resource)
    return figures


def main() -> int:
    """Measure one size and print the figures as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.api_traffic", description=__doc__
    )
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=10)
    options = parser.parse_args()
    figures = asyncio.run(measure(options.services, options.endpoints))
    sizes = {"services": options.services, "endpoints": options.endpoints}
    print(json.dumps({"sizes": sizes, **figures}, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
