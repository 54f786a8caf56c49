"""Manifests on disk as a source: read once, or followed."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path

from ipvsctl.cluster.events import Event, Synced
from ipvsctl.cluster.manifest import Manifests, changes, merge
from ipvsctl.model.watch_health import WatchHealth
from ipvsctl.sources.aside import Aside
from ipvsctl.sources.files import FileReader, shown
from ipvsctl.sources.watching import Touched, wakeups


def load_manifests(paths: Sequence[Path], proxy_name: str = "") -> Manifests:
    """Read files and directories once; `proxy_name` as for `FileReader`.

    Raises:
        ConfigError: a path is not there. What is wrong inside a file is a problem in
            the answer.
    """
    reader = FileReader(paths, proxy_name)
    reader.require()
    return merge(reader.read())


class ManifestsSource:
    """Follows files and directories of manifests; `proxy_name` as for `FileReader`."""

    def __init__(self, paths: Sequence[Path], proxy_name: str = "") -> None:
        self._paths = tuple(path.absolute() for path in paths)
        self._proxy_name = proxy_name

    @property
    def description(self) -> str:
        """What it reads, for logs."""
        return "manifests in " + ", ".join(map(shown, self._paths))

    def health(self) -> tuple[WatchHealth, ...]:
        """None: files on disk are there or a problem."""
        return ()

    async def events(self) -> AsyncGenerator[Event, None]:
        """All objects, `Synced`, then what changes in the files.

        Raises:
            ConfigError: a path is not there at the start.
        """
        reader = FileReader(self._paths, self._proxy_name)
        await asyncio.to_thread(reader.require)
        was_read = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            # The loop may have ended meanwhile.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(was_read.set)

        aside = Aside(reader.read_one, wake)
        known: Manifests | None = None
        async with aclosing(_looks(self._paths, was_read)) as looks:
            async for touched in looks:
                found, news = await asyncio.to_thread(
                    _look,
                    reader,
                    touched,
                    known or Manifests(),
                    # The first state is complete.
                    None if known is None else aside,
                )
                for event in news:
                    yield event
                if known is None:
                    yield Synced()
                known = found


def _look(
    reader: FileReader, touched: Iterable[str], known: Manifests, aside: Aside | None
) -> tuple[Manifests, list[Event]]:
    found = merge(reader.read(touched, aside))
    return found, list(changes(known, found))


async def _looks(
    paths: Sequence[Path], was_read: asyncio.Event
) -> AsyncGenerator[Touched, None]:
    """When to look at the files: also after one was read aside."""
    async with aclosing(wakeups(paths)) as woken:
        pending = asyncio.ensure_future(anext(woken))
        try:
            while True:
                read = asyncio.ensure_future(was_read.wait())
                await asyncio.wait({pending, read}, return_when=asyncio.FIRST_COMPLETED)
                read.cancel()
                was_read.clear()
                touched: Touched = frozenset()
                if pending.done():
                    touched = pending.result()
                    pending = asyncio.ensure_future(anext(woken))
                yield touched
        finally:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
