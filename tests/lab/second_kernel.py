"""A second kernel for the guest: Linux 6.12 with nftables, in one piece.

Debian's package of user-mode Linux has no nftables, so this one is built, from Debian's
source with the options of `second_kernel.config`. That takes minutes; what was built is
kept in the cache folder of the user.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab.cache import cache_directory, cached, keeping
from tests.lab.errors import NoLab
from tests.lab.host import SYSTEM_PATH, missing, package_obstacles, require
from tests.lab.room import directory_with_room

VERSION: Final = "6.12"

_PACKAGE: Final = f"linux-source-{VERSION}"
_SOURCE: Final = Path("/usr/src", f"{_PACKAGE}.tar.xz")
OPTIONS: Final = Path(__file__).with_suffix(".config")
"""What it is to have."""

PACKAGE_OF: Final[Mapping[str, str]] = {
    str(_SOURCE): _PACKAGE,
    "/usr/include/dlfcn.h": "libc6-dev",
    "bc": "bc",
    "bison": "bison",
    "cc": "gcc",
    "depmod": "kmod",
    "flex": "flex",
    "make": "make",
    "xz": "xz-utils",
}
"""What a build needs, by command or file -> Debian package."""

_MAKE: Final = ("make", "ARCH=um", "KCFLAGS=-O1")
"""Less optimised than a kernel usually is: built a tenth sooner."""
_ROOM_BYTES: Final = 2500 * 2**20
"""The source is 1.7 GB, and what is made of it 300 MB."""

_LAST_LINES: Final = 20


@dataclass(frozen=True, slots=True)
class BuiltKernel:
    """What a guest is started with.

    Attributes:
        directory: holds the program, and what `modprobe` asks about its parts.
    """

    directory: Path

    @property
    def program(self) -> Path:
        """It, as a program of the host."""
        return self.directory / "linux"

    @property
    def modules(self) -> Path:
        """What is to be its /lib/modules: names of what is built in."""
        return self.directory / "modules"


def second_kernel() -> BuiltKernel:
    """The kernel, after building it if it is not there.

    Raises:
        NoLab: it cannot be built here, and why.
    """
    return _look() or _once(_look, _build)


def obstacles_to_building() -> tuple[str, ...]:
    """What a build lacks here, if the kernel is not there."""
    return () if _look() else package_obstacles(missing(PACKAGE_OF))


def _once(
    look: Callable[[], BuiltKernel | None], build: Callable[[], BuiltKernel]
) -> BuiltKernel:
    with _alone():
        # Somebody else may have built it while we waited.
        return look() or build()


def _look() -> BuiltKernel | None:
    return _find(_source_version() if _SOURCE.exists() else None)


def _find(version: str | None) -> BuiltKernel | None:
    """The one that was built of this version of the source; None is of any, lately."""
    pattern = _place(version or "*")
    found = sorted(
        pattern.parent.glob(pattern.name), key=lambda kept: kept.stat().st_mtime
    )
    return BuiltKernel(found[-1]) if found else None


def _place(version: str) -> Path:
    made_of = OPTIONS.read_bytes() + " ".join(_MAKE).encode()
    return cached(f"linux-{version}", made_of)


def _source_version() -> str:
    """That of Debian's package, which follows the fixes of its release."""
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Version}", _PACKAGE],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = f"the version of {_SOURCE} is not known: {done.stderr.strip()}"
        raise NoLab((reason,))
    return done.stdout.strip()


def _build() -> BuiltKernel:
    require(PACKAGE_OF)
    place = _place(_source_version())
    candidates = (Path(tempfile.gettempdir()), Path("/var/tmp"), place.parent)  # noqa: S108 - a directory of our own is made in it
    room = directory_with_room(candidates, _ROOM_BYTES, "building a kernel")
    _say(f"building Linux {VERSION}, once: this takes minutes")
    scratch = tempfile.TemporaryDirectory(prefix="ipvsctl-kernel-", dir=room)
    with scratch as where, keeping(place) as made:
        _make(Path(where), made)
    return BuiltKernel(place)


def _make(where: Path, made: Path) -> None:
    """Unpack the source into an empty directory, and make a `BuiltKernel` of it."""
    log = where / "log"
    _run(log, "tar", "--extract", f"--file={_SOURCE}", f"--directory={where}")
    (source,) = (path for path in where.iterdir() if path.is_dir())
    make = (*_MAKE, f"--directory={source}")
    _run(log, *make, f"KCONFIG_ALLCONFIG={OPTIONS}", "allnoconfig")
    if lost := lost_options(OPTIONS.read_text(), (source / ".config").read_text()):
        raise NoLab((f"this source has no {', '.join(lost)}, or not with the others",))
    _run(log, *make, f"--jobs={len(os.sched_getaffinity(0)) + 1}", "linux")
    # depmod looks in lib or usr/lib, as its distribution has it.
    base = where / "base"
    release = (source / "include/config/kernel.release").read_text().strip()
    modules = base / "usr/lib/modules" / release
    modules.mkdir(parents=True)
    (base / "lib").symlink_to("usr/lib")
    # By these files modprobe knows what is built in.
    for name in ("modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(source / name, modules)
    (modules / "modules.order").touch()
    _run(log, "depmod", f"--basedir={base}", release)
    shutil.copytree(modules.parent, BuiltKernel(made).modules)
    _run(log, "strip", "-o", str(BuiltKernel(made).program), str(source / "linux"))


def lost_options(wanted: str, got: str) -> tuple[str, ...]:
    """Options of one configuration that another one has not.

    The kernel's own tools say nothing of what they do not know.
    """
    lines = set(got.splitlines())
    return tuple(
        line.partition("=")[0]
        for line in wanted.splitlines()
        if line.startswith("CONFIG_") and line not in lines
    )


def _run(log: Path, *command: str) -> None:
    """Run a step, and end all of it when we are interrupted.

    Raises:
        NoLab: it failed; with the end of what it said.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # An unprivileged user has no depmod on the PATH.
            env=os.environ | {"PATH": f"{os.environ['PATH']}:{SYSTEM_PATH}"},
            start_new_session=True,
        )
        try:
            status = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if status:
        lines = log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:]
        raise NoLab((f"{' '.join(command)} failed; its last lines:", *lines))


@contextmanager
def _alone() -> Iterator[None]:
    """Nobody else builds at the same time, in whatever process; waits for who does."""
    folder = cache_directory()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f"linux-{VERSION}.lock").open("w")
    except OSError as error:
        raise NoLab((f"the cache folder cannot be written: {error}",)) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another lab is building Linux {VERSION}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(what: str) -> None:
    print(f"lab: {what}", file=sys.stderr, flush=True)
