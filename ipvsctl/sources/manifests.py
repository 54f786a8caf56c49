"""Manifests on disk as a source: read once, or followed."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

from watchfiles import Change, awatch

from ipvsctl.cluster.events import Event, Synced
from ipvsctl.cluster.manifest import ManifestFile, Manifests, changes, merge
from ipvsctl.cluster.withdrawals import Withdrawals
from ipvsctl.model.problem import Kind
from ipvsctl.model.watch_health import WatchHealth
from ipvsctl.sources.files import FileReader

# Files are looked at this often without being told: network file systems, and links to
# files in other directories, tell nothing.
_LOOK_AGAIN_MS = 10_000

# A burst of writes is one change when nothing follows for a step, at the latest after
# the debounce time.
_DEBOUNCE_MS = 1_000
_STEP_MS = 50


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
        """What it reads, for logs."""
        return "manifests in " + ", ".join(map(str, self._paths))

    def health(self) -> tuple[WatchHealth, ...]:
        """One: when the files were looked at last and could all be read."""
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
        """All objects, `Synced`, then what changes in the files.

        Raises:
            ConfigError: a path is not there at the start.
        """
        reader = FileReader(self._paths, self._proxy_name, clock=self._clock)
        withdrawals = Withdrawals()
        await asyncio.to_thread(reader.require)
        known: Manifests | None = None
        async with aclosing(_wakeups(self._paths)) as wakeups:
            async for touched in wakeups:
                files = await asyncio.to_thread(reader.read, touched)
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


async def _wakeups(paths: Sequence[Path]) -> AsyncGenerator[frozenset[str], None]:
    """When to look at the files: at once, after a change, and now and then.

    Yields:
        The paths that are known to have changed. The first is yielded when changes are
        already being noticed, so that none falls between reading and watching.
    """
    while True:
        watched = await asyncio.to_thread(_directories, paths)
        async with aclosing(_changes_in(watched, paths)) as changed:
            async for touched in changed:
                yield touched
                if await asyncio.to_thread(_directories, paths) != watched:
                    break


async def _changes_in(
    watched: Iterable[Path], paths: Sequence[Path]
) -> AsyncGenerator[frozenset[str], None]:
    roots = tuple(map(str, paths))

    def concerns(_change: Change, path: str) -> bool:
        return any(
            root == path or root.startswith(f"{path}/") or path.startswith(f"{root}/")
            for root in roots
        )

    stop = asyncio.Event()
    watch = awatch(
        *watched,
        watch_filter=concerns,
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        rust_timeout=_LOOK_AGAIN_MS,
        yield_on_timeout=True,
        recursive=False,
        ignore_permission_denied=True,
        stop_event=stop,
    )
    pending = asyncio.ensure_future(anext(watch, None))
    try:
        # awatch opens its watches when it first runs, before it first waits.
        await asyncio.sleep(0)
        yield frozenset()
        while (changed := await asyncio.shield(pending)) is not None:
            pending = asyncio.ensure_future(anext(watch, None))
            yield frozenset(path for _, path in changed)
    except FileNotFoundError:
        # A directory went away before it was watched; the caller looks again.
        return
    finally:
        stop.set()
        await asyncio.gather(pending, return_exceptions=True)


def _directories(paths: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """What to watch for `paths` to be noticed, with device and inode.

    That is each directory, and the parent of each path, which tells when the path
    itself is replaced; of a parent that is gone, the nearest one that is there.
    """
    found: dict[Path, tuple[int, int]] = {}
    for path in paths:
        for start in (path, path.parent):
            for directory in (start, *start.parents):
                if directory.is_dir():
                    status = directory.stat()
                    found[directory] = status.st_dev, status.st_ino
                    break
    return found
