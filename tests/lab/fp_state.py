"""Lets user-mode Linux run where the CPU has more state than it has room for.

`fp_state.c` says what goes wrong, and what mends it. It is compiled where it is needed.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.lab.cache import cached, keeping
from tests.lab.errors import NoLab

_SOURCE = Path(__file__).with_suffix(".c")

COMPILER_PACKAGE_OF: Final[Mapping[str, str]] = {
    "cc": "gcc",
    "/usr/include/dlfcn.h": "libc6-dev",
}
"""Command or file -> Debian package."""

_ROOM_BYTES: Final = 2696
"""What user-mode Linux has for it (arch/x86/um/user-offsets.c:HOST_FP_SIZE)."""

_FRAME_BYTES: Final = 1024
"""The most that a frame has beside that state (arch/x86/kernel/signal.c)."""


def is_too_large() -> bool:
    """Whether this CPU's state is more than user-mode Linux has room for."""
    try:
        # The whole state is in it, where the kernel can give leave to use all of it
        # (arch/x86/kernel/signal.c:get_sigframe_size).
        frame_bytes = os.sysconf("SC_MINSIGSTKSZ")
    except (OSError, ValueError):
        # A C library without the word is older than such CPUs.
        return False
    return frame_bytes > _ROOM_BYTES + _FRAME_BYTES


def packages_to_build_it() -> Mapping[str, str]:
    """What must be there before a guest can be started, by command or file."""
    return COMPILER_PACKAGE_OF if is_too_large() and not _library().exists() else {}


def environment() -> dict[str, str]:
    """What user-mode Linux is to be started with, besides everything else.

    Raises:
        NoLab: it cannot be made.
    """
    if not is_too_large():
        return {}
    already = os.environ.get("LD_PRELOAD")
    return {"LD_PRELOAD": ":".join(filter(None, (str(build()), already)))}


def build() -> Path:
    """The library to preload, which is compiled if there is none.

    Raises:
        NoLab: it cannot be.
    """
    library = _library()
    if not library.exists():
        with keeping(library) as unfinished:
            _compile(unfinished)
    return library


def _library() -> Path:
    return cached("fp-state", _SOURCE.read_bytes())


def _compile(to: Path) -> None:
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", str(to), str(_SOURCE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NoLab((f"a C compiler is needed for this CPU: {error}",)) from error
    if done.returncode:
        raise NoLab((f"{' '.join(command)} failed:", *done.stderr.splitlines()))
