"""Manifest files on disk: which there are, and which were written since.

Blocking calls; the caller keeps them off the event loop.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._files: dict[str, ManifestFile] = {}
        self._fingerprints: dict[str, Fingerprint | None] = {}

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
            if not root.exists():
                for path, file in self._gone(root):
                    files[path] = file
                    fingerprints[path] = None
                continue
            for item in _manifests_in(root):
                path = str(item)
                now = _fingerprint(item)
                known = self._fingerprints.get(path)
                if now is not None and now == known and path not in again:
                    files[path] = self._files[path]
                else:
                    files[path] = keep_last_good(_read(item), self._files.get(path))
                fingerprints[path] = now
        self._files = files
        self._fingerprints = fingerprints
        return dict(files)

    def _gone(self, root: Path) -> Iterator[tuple[str, ManifestFile]]:
        missing = unreadable(str(root), "is gone; its last good state stays in force")
        yield str(root), keep_last_good(missing, self._files.get(str(root)))
        for path, file in self._files.items():
            if Path(path).parent == root:
                yield path, file


def _manifests_in(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    for item in sorted(root.iterdir()):
        hidden = item.name.startswith(".")
        if item.suffix in SUFFIXES and not hidden and item.is_file():
            yield item


def _fingerprint(path: Path) -> Fingerprint | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size


def _read(path: Path) -> ManifestFile:
    try:
        raw = path.read_bytes()
    except OSError as exc:
        return unreadable(str(path), f"cannot be read: {exc.strerror}")
    return parse_manifest(raw, str(path))
