"""A source for the bench: a large cluster, and then what it is told to tell."""

import asyncio
from collections.abc import AsyncGenerator

from ipvsctl.cluster.events import Event, Synced
from ipvsctl.cluster.objects.parse import parse_object
from ipvsctl.model.watch_health import WatchHealth
from tests.bench.cluster import change, raw_objects
from tests.bench.sizes import Size


class BenchSource:
    """Tells all of a cluster as it parses it, then what comes in by `feed`.

    Attributes:
        feed: events, or the bytes of slices that are to be parsed first.
    """

    description = "the bench"

    def __init__(self, size: Size) -> None:
        self._size = size
        self.feed: asyncio.Queue[Event | bytes] = asyncio.Queue()

    def health(self) -> tuple[WatchHealth, ...]:
        """See `Source`."""
        return ()

    async def events(self) -> AsyncGenerator[Event, None]:
        """See `Source`."""
        for kind, raw in raw_objects(*self._size):
            yield parse_object(kind, raw)
        yield Synced()
        while True:
            told = await self.feed.get()
            yield change(told) if isinstance(told, bytes) else told
