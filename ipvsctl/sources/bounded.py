"""Reading a file that may be anything: neither for ever, nor without end.

Blocking calls; the caller keeps them off the event loop.
"""

import os
import select
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

MAX_BYTES: Final = 128 * 2**20
"""The largest file that is read. A dump of 10,000 Services has about 50 MB."""

MAX_PIPE_S: Final = 30.0
"""How long a pipe may take to end."""

_CHUNK = 2**20

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)

Fingerprint = tuple[int, int, int, int]
"""Device, inode, modification time and size of a file's content."""


class CannotRead(Exception):
    """A file cannot be read; the reason is a clause about it, without its name."""


class Content(msgspec.Struct, frozen=True):
    """The content of a file, and its fingerprint then."""

    raw: bytes
    fingerprint: Fingerprint


def read_file(
    path: Path, max_bytes: int = MAX_BYTES, *, max_pipe_s: float = MAX_PIPE_S
) -> Content:
    """Read a regular file, or a pipe that this process was started with.

    `/dev/stdin` and a shell's `<(...)` are such pipes. Nothing else is opened:
    a device may do something when it is. Files of /proc that never end say that they
    are empty, and are believed.

    Args:
        path: of the file.
        max_bytes: the largest that is read.
        max_pipe_s: how long a pipe may take to end.

    Raises:
        CannotRead: the path is something else, too large, not there, not allowed, or
            written to meanwhile.
    """
    try:
        is_pipe = _check_kind(path, path.stat())
        # Never waits for the other end of a FIFO that took the file's place.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except OSError as exc:
        raise CannotRead(f"cannot be read: {exc.strerror}") from exc
    try:
        before = os.fstat(descriptor)
        _check_kind(path, before)
        if is_pipe:
            raw = _read_pipe(descriptor, max_bytes, max_pipe_s)
        else:
            raw = _read_regular(descriptor, before.st_size, max_bytes)
        if not is_pipe and fingerprint(os.fstat(descriptor)) != fingerprint(before):
            raise CannotRead("was written to while it was read")
    except OSError as exc:
        raise CannotRead(f"cannot be read: {exc.strerror}") from exc
    finally:
        os.close(descriptor)
    return Content(raw, fingerprint(before))


def shown(path: Path) -> str:
    """A path as text that can be written anywhere: not every name is UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")


def fingerprint(status: os.stat_result) -> Fingerprint:
    """A file's fingerprint, which changes when it is written or replaced."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def kind_of(status: os.stat_result) -> str:
    """The kind of file if it is no regular one: `a FIFO`; else ""."""
    for is_kind, words in _KINDS:
        if is_kind(status.st_mode):
            return words
    return ""


def is_inherited_pipe(path: Path, status: os.stat_result) -> bool:
    """Whether it is a pipe without a name, that was open when this process began."""
    return stat.S_ISFIFO(status.st_mode) and "/fd/pipe:[" in os.path.realpath(path)


def _check_kind(path: Path, status: os.stat_result) -> bool:
    """Whether it is a pipe; other kinds than that and a regular file are refused."""
    kind = kind_of(status)
    is_pipe = is_inherited_pipe(path, status)
    if kind and not is_pipe:
        raise CannotRead(f"is {kind}, not a file")
    return is_pipe


def _read_regular(descriptor: int, size: int, max_bytes: int) -> bytes:
    if size > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    left = size
    while left > 0:
        chunk = os.read(descriptor, min(left, _CHUNK))
        if not chunk:
            break
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def _read_pipe(descriptor: int, max_bytes: int, max_s: float) -> bytes:
    deadline_s = time.monotonic() + max_s
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    chunks: list[bytes] = []
    left = max_bytes
    while left >= 0:
        wait_s = deadline_s - time.monotonic()
        if wait_s <= 0 or not poll.poll(wait_s * 1000):
            raise CannotRead(f"did not end within {max_s:g} s")
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        left -= len(chunk)
    raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> CannotRead:
    return CannotRead(f"is larger than {max_bytes // 2**20} MiB, and is not read")
