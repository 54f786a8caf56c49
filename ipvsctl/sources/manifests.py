"""Manifests on disk as a source: read once, or followed."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path

from ipvsctl.cluster.events import Event, Synced
from ipvsctl.cluster.manifests.manifest import ManifestFile, Manifests, changes, merge
from ipvsctl.cluster.manifests.withdrawals import Withdrawals
from ipvsctl.model.problem import Kind
from ipvsctl.model.watch_health import WatchHealth
from ipvsctl.sources.aside import Aside
from ipvsctl.sources.bounded import shown
from ipvsctl.sources.files import FileReader
from ipvsctl.sources.watching import Touched, wakeups


def load_manifests(paths: Sequence[Path], proxy_name: str = "") -> Manifests:
    """Read files and directories once; `proxy_name` as for `FileReader`.

    Raises:
        ConfigError: a path is not there. Faults inside a file are problems in the
            answer.
    """
    reader = FileReader(paths, proxy_name)
    reader.require()
    return merge(reader.read())


class ManifestsSource:
    """Follows files and directories of manifests.

    Args:
        paths: files and directories.
        proxy_name: as for `FileReader`.
        clock: seconds on any steady clock.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        proxy_name: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = tuple(path.absolute() for path in paths)
        self._proxy_name = proxy_name
        self._clock = clock
        self._is_complete = False
        self._changed_at_s = clock()
        self._read_at_s: float | None = None
        self._reason = "not read yet"

    @property
    def description(self) -> str:
        """The paths that are read, for logs."""
        return "manifests in " + ", ".join(map(shown, self._paths))

    def health(self) -> tuple[WatchHealth, ...]:
        """One watch: when the files were looked at last and could all be read."""
        now_s = self._clock()
        read_s = self._read_at_s
        return (
            WatchHealth(
                kind=Kind.MANIFEST,
                is_complete=self._is_complete,
                is_connected=not self._reason,
                since_s=now_s - self._changed_at_s,
                heard_s=None if read_s is None else now_s - read_s,
                reason=self._reason,
            ),
        )

    async def events(self) -> AsyncGenerator[Event, None]:
        """All objects, `Synced`, then changes of the files.

        Raises:
            ConfigError: a path is not there at the start.
        """
        reader = FileReader(self._paths, self._proxy_name, clock=self._clock)
        withdrawals = Withdrawals()
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
                # The first state is complete.
                files = await asyncio.to_thread(
                    reader.read, touched, None if known is None else aside
                )
                found, news = await asyncio.to_thread(
                    _compare, withdrawals, files, known or Manifests()
                )
                self._note(found)
                for event in news:
                    yield event
                if known is None:
                    self._is_complete = True
                    yield Synced()
                known = found

    def _note(self, found: Manifests) -> None:
        broken = sorted(found.invalid)
        reason = ""
        if broken:
            more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
            reason = f"{broken[0]}{more} cannot be read"
        now_s = self._clock()
        if bool(reason) != bool(self._reason):
            self._changed_at_s = now_s
        self._reason = reason
        if not reason:
            self._read_at_s = now_s


def _compare(
    withdrawals: Withdrawals, files: Mapping[str, ManifestFile], known: Manifests
) -> tuple[Manifests, list[Event]]:
    found = withdrawals.look(files)
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
