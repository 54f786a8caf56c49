"""A small cluster as events, and a kernel that follows it."""

import asyncio
from collections.abc import AsyncGenerator, Iterable

from ipvsctl.cluster.events import Deleted, Event, Synced, Upserted
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.objects import EndpointSlice, Service
from ipvsctl.model.problem import Kind
from ipvsctl.model.watch_health import WatchHealth
from tests import builders
from tests.fakes.kernel import FakeKernel

WEB = VirtualServerKey(
    family=IPFamily.IPV4,
    protocol=Protocol.TCP,
    address=parse_address("10.96.0.10"),
    port=80,
)


def has(service: Service) -> Event:
    """A Service is there."""
    return Upserted(kind=Kind.SERVICE, ref=service.ref, values=(service,))


def has_not(service: Service) -> Event:
    """A Service is gone."""
    return Deleted(kind=Kind.SERVICE, ref=service.ref)


def has_slice(piece: EndpointSlice) -> Event:
    """A slice is there."""
    return Upserted(kind=Kind.ENDPOINT_SLICE, ref=piece.ref, values=(piece,))


def endpoints(*addresses: str) -> Event:
    """The endpoints of `web` are these."""
    return has_slice(builders.endpoint_slice("web-1", *addresses))


FIRST: tuple[Event, ...] = (has(builders.service()), endpoints("172.16.0.1"))


def take(reconciler: Reconciler, *events: Event) -> None:
    """Put events in."""
    for event in events:
        reconciler.take_event(event)


def real_servers(kernel: FakeKernel, key: VirtualServerKey = WEB) -> dict[str, int]:
    """Real servers of a virtual server with their weights."""
    held = kernel.observe().state.real_servers.get(key, {})
    return {str(server): held[server].weight for server in held}


class ListSource:
    """A source that tells what it is told to."""

    description = "a list"

    def __init__(self, first: Iterable[Event]) -> None:
        self._first = tuple(first)
        self._feed: asyncio.Queue[Event] = asyncio.Queue()

    def tell(self, *events: Event) -> None:
        """Events after the first state."""
        for event in events:
            self._feed.put_nowait(event)

    def health(self) -> tuple[WatchHealth, ...]:
        """See `Source`."""
        return ()

    async def events(self) -> AsyncGenerator[Event, None]:
        """See `Source`."""
        for event in self._first:
            yield event
        yield Synced()
        while True:
            yield await self._feed.get()
