"""Large files are read aside, so that other files do not wait for them."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ipvsctl.cluster.manifests.manifest import ManifestFile
from ipvsctl.sources.bounded import Fingerprint

ASIDE_BYTES: Final = 2**20
"""Larger files are: reading one takes at most about a second, all others do less."""

Read = Callable[[Path], tuple[Fingerprint | None, ManifestFile]]
"""Reads a file; the fingerprint is that of the content that was read."""


class Aside:
    """Reads one file after the other in a thread of its own.

    Its methods are for one other thread.

    Args:
        read: reads a file.
        done: is called, in that thread, when a file was read.
    """

    def __init__(self, read: Read, done: Callable[[], None]) -> None:
        self._read = read
        self._done = done
        self._lock = threading.Lock()
        self._wanted: dict[Path, None] = {}
        self._found: dict[Path, tuple[Fingerprint | None, ManifestFile]] = {}
        self._is_running = False

    def take(self, path: Path) -> tuple[Fingerprint | None, ManifestFile] | None:
        """The content of a file, once; None while it is read, which a call begins."""
        with self._lock:
            found = self._found.pop(path, None)
            if found is not None:
                return found
            self._wanted[path] = None
            if not self._is_running:
                self._is_running = True
                # Its end is not waited for when the process ends.
                threading.Thread(target=self._run, daemon=True).start()
        return None

    def _run(self) -> None:
        while (path := self._next()) is not None:
            found = self._read(path)
            with self._lock:
                self._found[path] = found
                self._wanted.pop(path, None)
            self._done()

    def _next(self) -> Path | None:
        with self._lock:
            path = next(iter(self._wanted), None)
            self._is_running = path is not None
        return path
