"""Manifest files on disk: which ones there are, and which were written since.

Blocking calls; the caller keeps them off the event loop.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ipvsctl.cluster.manifests.manifest import (
    ManifestFile,
    keep_last_good,
    parse_manifest,
    unreadable,
)
from ipvsctl.model.errors import ConfigError
from ipvsctl.sources.aside import ASIDE_BYTES, Aside
from ipvsctl.sources.bounded import (
    CannotRead,
    Fingerprint,
    fingerprint,
    is_inherited_pipe,
    kind_of,
    read_file,
    shown,
)

SUFFIXES = (".yaml", ".yml", ".json")

EMPTY_S: Final = 60.0
"""How long a directory must be empty before that is believed: tools that write it anew
delete first."""

NO_MANIFESTS: Final = (
    "has no manifests; where nothing is to be served, a file with an empty List says so"
)


class FileReader:
    """Reads files again when they were written; keeps the content of the others.

    A path that is a directory means the manifests directly in it (as for
    `kubectl apply -f`); hidden ones are left out, which also keeps the `..data`
    directories of a mounted ConfigMap from counting twice.

    A directory without any manifest says nothing: it may be a mount point without its
    volume, or its files are still to come. Only one that is seen to be emptied, and is
    empty for a minute, withdraws the objects it had.

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
        self._awaited: dict[str, ManifestFile] = {}
        self._homes: dict[Path, tuple[int, int]] = {}
        self._emptied_s: dict[Path, float] = {}

    def require(self) -> None:
        """Check that every path is there, and can be a file or a directory.

        Raises:
            ConfigError: a path cannot; it is named.
        """
        for path in self._paths:
            try:
                status = path.stat()
                kind = "" if stat.S_ISDIR(status.st_mode) else kind_of(status)
                if not kind or is_inherited_pipe(path, status):
                    continue
                reason = f"is {kind}, not a file or directory"
            except FileNotFoundError:
                reason = "is not there"
            except OSError as exc:
                reason = f"cannot be read: {exc.strerror}"
            raise ConfigError(field="--manifests", value=shown(path), reason=reason)

    def read(
        self, touched: Iterable[str] = (), aside: Aside | None = None
    ) -> Mapping[str, ManifestFile]:
        """All files by path, as `shown`, read again where they changed.

        A path that was given and is gone keeps its last good state: a directory that
        is being replaced or remounted must not take the cluster's Services with it.

        Args:
            touched: files to read again even if they look the same, since two writes
                within a clock tick do.
            aside: reads the large ones. While it does, such a file has a problem and
                its last good state.
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
                path = shown(item)
                now = _fingerprint(item)
                if now is None and item != root and not os.path.lexists(item):
                    # It went after the directory was listed.
                    continue
                if now is None or now != self._fingerprints.get(path) or path in again:
                    now, files[path] = self._read_changed(item, now, aside)
                else:
                    files[path] = self._files[path]
                fingerprints[path] = now
        self._files = files
        self._fingerprints = fingerprints
        return dict(files)

    def _read_changed(
        self, path: Path, now: Fingerprint | None, aside: Aside | None
    ) -> tuple[Fingerprint | None, ManifestFile]:
        """The content of a file, and its fingerprint; None to ask again."""
        name = shown(path)
        before = self._files.get(name)
        if aside is None or now is None or now[3] <= ASIDE_BYTES:
            read = self.read_one(path)
        else:
            found = aside.take(path)
            if found is None:
                reason = "is large, and still being read"
                awaited = keep_last_good(unreadable(name, reason), before)
                return None, self._awaited.setdefault(name, awaited)
            read = found
        self._awaited.pop(name, None)
        was_read, file = read
        if was_read is None and before and before.problems == file.problems:
            return None, before
        return was_read, keep_last_good(file, before)

    def read_one(self, path: Path) -> tuple[Fingerprint | None, ManifestFile]:
        """The content of a file, and its fingerprint then: None if unreadable."""
        name = shown(path)
        try:
            content = read_file(path)
        except CannotRead as exc:
            return None, unreadable(name, str(exc))
        file = parse_manifest(content.raw, name, self._proxy_name)
        return content.fingerprint, file

    def _list(self, root: Path) -> list[Path]:
        """The files a path means.

        Raises:
            OSError: the path is gone, may not be listed, or has no manifests and is not
                known to have been emptied (see the class).
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
            if Path(path).parent == Path(shown(root))
        }
        name = shown(root)
        known = name in self._files or files
        kept = "; its last good state stays in force" if known else ""
        missing = unreadable(name, f"{exc.strerror}{kept}")
        files[name] = keep_last_good(missing, self._files.get(name))
        return files


def _manifests_in(root: Path) -> list[Path]:
    if not stat.S_ISDIR(root.stat().st_mode):
        return [root]
    with os.scandir(root) as entries:
        names = sorted(
            entry.name
            for entry in entries
            if entry.name.endswith(SUFFIXES)
            and entry.name[0] != "."
            and not _is_directory(entry)
        )
    return [root / name for name in names]


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads nowhere is a manifest that cannot be read.
        return False


def _fingerprint(path: Path) -> Fingerprint | None:
    try:
        return fingerprint(path.stat())
    except OSError:
        return None
