"""What is made once, and kept for the labs to come: in the cache folder of the user."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.errors import NoLab

_DIGITS = 16


def cache_directory() -> Path:
    """The folder, which may not be there yet."""
    # Not an absolute path is to be ignored (XDG Base Directory Specification).
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = given if given.is_absolute() else Path.home() / ".cache"
    return base / "ipvsctl"


def cached(name: str, made_of: bytes) -> Path:
    """Where something is kept, or is to be, that is made of these bytes."""
    digest = hashlib.sha256(made_of).hexdigest()[:_DIGITS]
    return cache_directory() / f"{name}-{digest}"


@contextmanager
def keeping(path: Path) -> Iterator[Path]:
    """Where to make a file or a directory, which has the path when the block ends.

    Others who look for the path find the whole of it or nothing. Nothing is left of a
    block that fails. A directory that is there already is not replaced.

    Raises:
        NoLab: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=path.parent) as name:
            unfinished = Path(name, path.name)
            yield unfinished
            unfinished.replace(path)
    except OSError as error:
        raise NoLab((f"{path.name} cannot be kept: {error}",)) from error
