"""Manifest files on disk: which there are, and which were written since.

Blocking calls; the caller keeps them off the event loop.
"""

import errno
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ipvsctl.cluster.manifest import (
    ManifestFile,
    keep_last_good,
    parse_manifest,
    unreadable,
)
from ipvsctl.model.errors import ConfigError

SUFFIXES = frozenset({".yaml", ".yml", ".json"})

EMPTY_S: Final = 60.0
"""How long a directory must be empty before that is believed: tools that write it anew
delete first."""

NO_MANIFESTS: Final = (
    "has no manifests; where nothing is to be served, a file with an empty List says so"
)

Fingerprint = tuple[int, int, int, int]
"""Device, inode, modification time and size of a file's content."""


class FileReader:
    """Reads files again when they were written; keeps what the others say.

    A path that is a directory means the manifests directly in it (as for
    `kubectl apply -f`); hidden ones are left out, which also keeps the `..data`
    directories of a mounted ConfigMap from counting twice.

    A directory without any manifest says nothing: it may be a mount point without its
    volume, or its files are still to come. Only one that is seen to be emptied, and is
    empty for a minute, withdraws what was in it.

    Args:
        paths: files and directories.
        proxy_name: see `ProxyConfig.service_proxy_name`.
        clock: seconds on any steady clock.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        proxy_name: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = tuple(paths)
        self._proxy_name = proxy_name
        self._clock = clock
        self._files: dict[str, ManifestFile] = {}
        self._fingerprints: dict[str, Fingerprint | None] = {}
        self._homes: dict[Path, tuple[int, int]] = {}
        self._emptied_s: dict[Path, float] = {}

    def require(self) -> None:
        """Check that every path is there.

        Raises:
            ConfigError: it names the first that is not.
        """
        for path in self._paths:
            if not path.exists():
                raise ConfigError(
                    field="--manifests", value=str(path), reason="is not there"
                )

    def read(self, touched: Iterable[str] = ()) -> Mapping[str, ManifestFile]:
        """All files by path, read again where they changed.

        A path that was given and is gone keeps its last good state: a directory that
        is being replaced or remounted must not take the cluster's Services with it.

        Args:
            touched: files to read again even if they look the same, since two writes
                within a clock tick do.
        """
        files: dict[str, ManifestFile] = {}
        fingerprints: dict[str, Fingerprint | None] = {}
        again = frozenset(touched)
        for root in self._paths:
            try:
                items = self._list(root)
            except OSError as exc:
                files |= self._last_good_of(root, exc)
                continue
            for item in items:
                path = str(item)
                now = _fingerprint(item)
                if now is None or now != self._fingerprints.get(path) or path in again:
                    read = self._read(item)
                    files[path] = keep_last_good(read, self._files.get(path))
                else:
                    files[path] = self._files[path]
                fingerprints[path] = now
        self._files = files
        self._fingerprints = fingerprints
        return dict(files)

    def _read(self, path: Path) -> ManifestFile:
        try:
            raw = path.read_bytes()
        except OSError as exc:
            return unreadable(str(path), f"cannot be read: {exc.strerror}")
        return parse_manifest(raw, str(path), self._proxy_name)

    def _list(self, root: Path) -> list[Path]:
        """The files a path means.

        Raises:
            OSError: it is gone, may not be listed, or has no manifests and is not known
                to have been emptied (see the class).
        """
        items = _manifests_in(root)
        status = root.stat()
        home = status.st_dev, status.st_ino
        if items:
            self._homes[root] = home
            self._emptied_s.pop(root, None)
            return items
        before = self._homes.get(root)
        if before is None:
            raise FileNotFoundError(errno.ENOENT, NO_MANIFESTS)
        if before != home:
            raise FileNotFoundError(errno.ENOENT, "Replaced by an empty directory")
        now_s = self._clock()
        if now_s - self._emptied_s.setdefault(root, now_s) < EMPTY_S:
            reason = f"is empty, which is believed after {EMPTY_S:g} s"
            raise FileNotFoundError(errno.ENOENT, reason)
        return []

    def _last_good_of(self, root: Path, exc: OSError) -> dict[str, ManifestFile]:
        files = {
            path: file
            for path, file in self._files.items()
            if Path(path).parent == root
        }
        known = str(root) in self._files or files
        kept = "; its last good state stays in force" if known else ""
        missing = unreadable(str(root), f"{exc.strerror}{kept}")
        files[str(root)] = keep_last_good(missing, self._files.get(str(root)))
        return files


def _manifests_in(root: Path) -> list[Path]:
    if not stat.S_ISDIR(root.stat().st_mode):
        return [root]
    return [
        item
        for item in sorted(root.iterdir())
        if item.suffix in SUFFIXES
        and item.name[0] != "."
        # One that leads nowhere is a manifest that cannot be read.
        and (item.is_file() or (item.is_symlink() and not item.exists()))
    ]


def _fingerprint(path: Path) -> Fingerprint | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
