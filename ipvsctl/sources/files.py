"""Manifest files on disk: which there are, and which were written since.

Blocking calls; the caller keeps them off the event loop.
"""

import errno
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ipvsctl.cluster.manifest import (
    ManifestFile,
    keep_last_good,
    parse_manifest,
    unreadable,
)
from ipvsctl.model.errors import ConfigError

SUFFIXES = frozenset({".yaml", ".yml", ".json"})

Fingerprint = tuple[int, int, int, int]
"""Device, inode, modification time and size of a file's content."""


class FileReader:
    """Reads files again when they were written; keeps what the others say.

    A path that is a directory means the manifests directly in it (as for
    `kubectl apply -f`); hidden ones are left out, which also keeps the `..data`
    directories of a mounted ConfigMap from counting twice.

    Args:
        paths: files and directories.
        proxy_name: see `ProxyConfig.service_proxy_name`.
    """

    def __init__(self, paths: Sequence[Path], proxy_name: str = "") -> None:
        self._paths = tuple(paths)
        self._proxy_name = proxy_name
        self._files: dict[str, ManifestFile] = {}
        self._fingerprints: dict[str, Fingerprint | None] = {}
        self._homes: dict[Path, tuple[int, int]] = {}

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
            OSError: it is gone, may not be listed, or was replaced by an empty
                directory (one whose files are still to come, or a bare mount point).
        """
        items = _manifests_in(root)
        status = root.stat()
        home = status.st_dev, status.st_ino
        if not items and self._homes.setdefault(root, home) != home:
            raise FileNotFoundError(errno.ENOENT, "Replaced by an empty directory")
        self._homes[root] = home
        return items

    def _last_good_of(self, root: Path, exc: OSError) -> dict[str, ManifestFile]:
        reason = f"{exc.strerror}; its last good state stays in force"
        files = {
            path: file
            for path, file in self._files.items()
            if Path(path).parent == root
        }
        missing = unreadable(str(root), reason)
        files[str(root)] = keep_last_good(missing, self._files.get(str(root)))
        return files


def _manifests_in(root: Path) -> list[Path]:
    if not stat.S_ISDIR(root.stat().st_mode):
        return [root]
    return [
        item
        for item in sorted(root.iterdir())
        if item.suffix in SUFFIXES and item.name[0] != "." and item.is_file()
    ]


def _fingerprint(path: Path) -> Fingerprint | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
