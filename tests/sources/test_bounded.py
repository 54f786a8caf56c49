"""Facts about reading a file that may be anything."""

import errno
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ipvsctl.sources.bounded import MAX_BYTES, CannotRead, read_file, shown

MIB = 2**20


def sparse(path: Path, size: int) -> None:
    """A file of so many bytes that takes no room."""
    with path.open("wb") as file:
        file.truncate(size)


def bind(path: Path) -> None:
    """A socket of that name."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1])
def test_regular(tmp_path: Path, size: int) -> None:
    """A file is read to its end; its fingerprint is the one of what was read."""
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    content = read_file(path)
    assert content.raw == path.read_bytes()
    path.write_bytes(b"other")
    assert read_file(path).fingerprint != content.fingerprint


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.mkdir, "is a directory"),
        (os.mkfifo, "is a FIFO"),
        (bind, "is a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "is a character device"),
        (lambda path: path.symlink_to("/dev/null"), "is a character device"),
        (lambda path: sparse(path, MAX_BYTES + 1), "is larger than 128 MiB"),
        (lambda path: sparse(path, 2**41), "is larger than 128 MiB"),
        (lambda path: path.symlink_to("nowhere"), "cannot be read"),
        (lambda path: path.symlink_to(path), "cannot be read"),
    ],
)
def test_what_is_not_read(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    """What never ends, or takes too much, is refused before it is opened."""
    path = tmp_path / "a"
    make(path)
    with pytest.raises(CannotRead, match=f"^{reason}"):
        read_file(path)


def test_limit(tmp_path: Path) -> None:
    """A file may be as large as the limit."""
    path = tmp_path / "a"
    sparse(path, MIB)
    assert len(read_file(path, MIB).raw) == MIB
    sparse(path, MIB + 1)
    with pytest.raises(CannotRead, match="is larger than 1 MiB"):
        read_file(path, MIB)


def test_files_of_proc() -> None:
    """Those that say they are empty are believed; reading some would never end."""
    for name in ("/proc/kmsg", "/proc/self/mem", "/proc/self/status"):
        if Path(name).exists():
            assert read_file(Path(name)).raw == b""


def test_permission(tmp_path: Path) -> None:
    """A file that may not be read has the system's reason."""
    path = tmp_path / "a"
    path.touch(mode=0)
    user = os.geteuid()
    if not user:
        os.seteuid(65534)
    try:
        with pytest.raises(CannotRead, match=os.strerror(errno.EACCES)):
            read_file(path)
    finally:
        os.seteuid(user)


def test_written_to_meanwhile(tmp_path: Path) -> None:
    """A file that changes while it is read is not believed.

    Half of what a writer writes may be a whole file of fewer objects.
    """
    path = tmp_path / "a"
    sparse(path, 64 * MIB)
    begun, stop = threading.Event(), threading.Event()

    def write() -> None:
        with path.open("r+b") as file:
            size = 64 * MIB
            while not stop.is_set():
                size += 1
                file.truncate(size)
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(60)
        with pytest.raises(CannotRead, match="was written to while it was read"):
            read_file(path)
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ('printf abc | $0 -c "$1" /dev/stdin', "b'abc'"),
        ('$0 -c "$1" <(printf abc)', "b'abc'"),
        ('$0 -c "$1" /dev/stdin < /dev/null', "is a character device, not a file"),
        ('head -c 3000000 /dev/zero | $0 -c "$1" /dev/stdin', "is larger than 1 MiB"),
    ],
)
def test_pipes_of_a_shell(command: str, found: str) -> None:
    """A pipe that a shell made is read, also as `<(...)`."""
    code = (
        "import sys; from pathlib import Path\n"
        "from ipvsctl.sources.bounded import CannotRead, read_file\n"
        "try: print(read_file(Path(sys.argv[1]), 2**20).raw)\n"
        "except CannotRead as error: print(error)\n"
    )
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(found), done.stderr


def test_pipe_that_does_not_end() -> None:
    """The other end of a pipe may take its time, and not for ever."""
    reader, writer = os.pipe()
    try:
        with pytest.raises(CannotRead, match=r"did not end within 0\.01 s"):
            read_file(Path(f"/dev/fd/{reader}"), max_pipe_s=0.01)
        os.write(writer, b"abc")
        os.close(writer)
        assert read_file(Path(f"/dev/fd/{reader}")).raw == b"abc"
    finally:
        os.close(reader)


def test_names() -> None:
    """A name that is not UTF-8 can be shown, and shows which it is."""
    path = Path(os.fsdecode(b"/etc/caf\xe9.yaml"))
    assert re.fullmatch(r"/etc/caf\\xe9\.yaml", shown(path))
    assert shown(Path("/etc/café.yaml")) == "/etc/café.yaml"
