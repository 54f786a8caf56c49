"""A small cluster on a fake API server, and what a source makes of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from ipvsctl.cluster.events import Event, Invalid
from ipvsctl.cluster.store import Store
from ipvsctl.kube.connect.access import Access, Address
from ipvsctl.kube.source import ApiSource
from ipvsctl.kube.transport import Api
from ipvsctl.model.problem import ObjectRef
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import FakeClock

Raw = dict[str, Any]

WEB = ObjectRef("default", "web")

_TURN_S = 0.5
_PATIENCE_TURNS = 20_000


def fill(server: FakeApiServer) -> None:
    """`default/web` with an endpoint on each of two nodes."""
    for raw in (
        raw_node("node-0"),
        raw_node("node-1", "10.0.0.11", zone="zone-b"),
        raw_service("web"),
        raw_slice(
            "web-a",
            raw_endpoint("172.16.0.1"),
            raw_endpoint("172.16.1.1", nodeName="node-1"),
        ),
    ):
        server.put(raw)


class Watched:
    """A source that is read in a task, and the store it fills.

    Time passes for the source only while something is waited for.
    """

    def __init__(self, source: ApiSource, clock: FakeClock) -> None:
        self.source = source
        self.clock = clock
        self.store = Store("node-0")
        self.events: list[Event] = []

    async def read(self) -> None:
        """Take every event."""
        async with aclosing(self.source.events()) as events:
            async for event in events:
                self.events.append(event)
                self.store.apply(event)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let time pass until this is so."""
        for _ in range(_PATIENCE_TURNS):
            if is_so():
                return
            await self.turn()
        raise AssertionError(f"not so: {self.names}, {self.source.health()}")

    async def turn(self) -> None:
        """Let half a second pass, and everybody have their turn."""
        await asyncio.sleep(0.001)
        self.clock.advance(_TURN_S)

    async def pass_time(self, duration_s: float) -> None:
        """Let this much time pass."""
        end_s = self.clock.now_s + duration_s
        while self.clock.now_s < end_s:
            await self.turn()

    async def synced(self) -> None:
        """Wait for the complete first state."""
        await self.until(lambda: self.store.is_synced)

    @property
    def names(self) -> list[str]:
        """The Services there are, sorted."""
        return sorted(str(ref) for ref in self.store.services)

    @property
    def endpoints(self) -> list[str]:
        """The endpoints of `default/web`, sorted."""
        return sorted(
            str(endpoint.address)
            for piece in self.store.slices_of(WEB)
            for endpoint in piece.endpoints
        )

    @property
    def broken(self) -> list[str]:
        """The objects that could not be read."""
        return [str(e.ref) for e in self.events if isinstance(e, Invalid)]


@asynccontextmanager
async def watched(
    kubeconfig: Path,
    clock: FakeClock,
    *,
    proxy_name: str = "",
    has_tunnel: bool = False,
    read_timeout_s: float = 60.0,
) -> AsyncIterator[Watched]:
    """Follow a server; whatever ends the source is raised at the end."""
    api = Api(
        Access(Address(kubeconfig=str(kubeconfig))), read_timeout_s=read_timeout_s
    )
    source = ApiSource(
        api,
        "node-0",
        proxy_name,
        has_tunnel=has_tunnel,
        sleep=clock.sleep,
        clock=clock,
    )
    made = Watched(source, clock)
    reading = asyncio.ensure_future(made.read())
    try:
        yield made
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        if not reading.cancelled():
            reading.result()


def minutes(server: FakeApiServer) -> list[int]:
    """How many requests there were in each minute."""
    counts: dict[int, int] = {}
    for request in server.requests:
        minute = int(request.at_s // 60)
        counts[minute] = counts.get(minute, 0) + 1
    return list(counts.values())
