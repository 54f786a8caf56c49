"""When to look at files again: told by the kernel, or where it cannot, by the clock."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from watchfiles import Change, awatch

from ipvsctl.libraries.log import structlog

# Files are looked at this often without being told: network file systems, and links to
# files in other directories, tell nothing.
_LOOK_AGAIN_MS = 10_000

# A burst of writes is one change when nothing follows for a step, at the latest after
# the debounce time.
_DEBOUNCE_MS = 1_000
_STEP_MS = 50

POLL_S: Final = 2.0
"""Seconds between looks while the kernel has no inotify instance or watch left."""

_POLL_SHARE = 20
"""A look takes at most this part of the time when polling."""

_CANNOT_WATCH = (OSError, RuntimeError, ValueError)

_log = structlog.get_logger("ipvsctl")

Touched = frozenset[str]
"""Paths that are known to have changed; others may have, too."""

Watch = Callable[[Iterable[Path], Sequence[Path]], AsyncGenerator[Touched, None]]


async def wakeups(
    paths: Sequence[Path],
    *,
    watch: Watch | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncGenerator[Touched, None]:
    """When to look at the files: at once, after a change, and now and then.

    A directory that cannot be watched, such as when other programs have all inotify
    instances, is looked at every `POLL_S`, until it can be. That is logged once.

    Args:
        paths: absolute, files and directories.
        watch: tells changes in the first directories that concern the second paths.
        sleep: waits so many seconds.

    Yields:
        The first when changes are already being noticed, so that none falls between
        reading and watching.
    """
    watch = watch or changes_in
    clock = asyncio.get_running_loop().time
    is_polling = False
    while True:
        watched = await asyncio.to_thread(_directories, paths)
        try:
            async with aclosing(watch(watched, paths)) as changed:
                async for touched in changed:
                    if is_polling:
                        _log.info("manifests are watched again")
                        is_polling = False
                    yield touched
                    if await asyncio.to_thread(_directories, paths) != watched:
                        break
        except _CANNOT_WATCH as error:
            if not is_polling:
                _log.warning(
                    "manifests cannot be watched",
                    reason=str(error),
                    looked_at_every_s=POLL_S,
                )
                is_polling = True
            begun = clock()
            yield frozenset()
            await sleep(max(POLL_S, _POLL_SHARE * (clock() - begun)))


async def changes_in(
    watched: Iterable[Path], paths: Sequence[Path]
) -> AsyncGenerator[Touched, None]:
    """Paths that change in some directories, as inotify tells.

    Raises:
        OSError, RuntimeError, ValueError: the directories cannot be watched.
    """
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
        stop_event=stop,
    )
    pending = asyncio.ensure_future(anext(watch, None))
    try:
        # awatch opens its watches when it first runs, before it first waits.
        await asyncio.sleep(0)
        if pending.done():
            pending.result()
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
    """Directories to watch for changes of `paths`, with device and inode.

    These are the directories among the paths, and the parent of each path, which tells
    when the path itself is replaced; of a parent that is gone, or may not be watched,
    the nearest one that can be.
    """
    found: dict[Path, tuple[int, int]] = {}
    for path in paths:
        for start in (path, path.parent):
            for directory in (start, *start.parents):
                # False as well where it may not be looked at; Path.is_dir may raise.
                is_directory = os.path.isdir(directory)  # noqa: PTH112
                # inotify(7): watching takes the right to read.
                if is_directory and os.access(directory, os.R_OK):
                    status = directory.stat()
                    found[directory] = status.st_dev, status.st_ino
                    break
    return found
