"""`lab.fp_state`: part of the state of a CPU can be given to a process."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import fp_state
from tests.lab.host import missing

ROUND_TRIP = """
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
ptrace = libc.ptrace
ptrace.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
child = os.fork()
if not child:
    ptrace(0, 0, None, None)  # PTRACE_TRACEME
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(7)
os.waitpid(child, 0)
part = ctypes.create_string_buffer(2696)
class IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))
iov = IoVec(ctypes.cast(part, ctypes.c_void_p), len(part))
said = []
for request in (0x4204, 0x4205):  # PTRACE_GETREGSET, PTRACE_SETREGSET
    done = ptrace(request, child, 0x202, ctypes.byref(iov))  # NT_X86_XSTATE
    said.append(ctypes.get_errno() if done else 0)
ptrace(7, child, None, None)  # PTRACE_CONT
print(*said, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
"""What user-mode Linux does with each of its processes."""


def _tried(**env: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", ROUND_TRIP],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | env,
    )
    return list(map(int, done.stdout.split()))


@pytest.fixture(name="library")
def _library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library, compiled in this test."""
    if packages := missing(fp_state.COMPILER_PACKAGE_OF):
        pytest.skip(f"there is no C compiler: {' '.join(packages)}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return fp_state.build()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="not such a CPU")
def test_part_of_the_state_is_taken(library: Path) -> None:
    """A process is given back what was read of it, and goes on, on every CPU."""
    read, written, status = _tried(LD_PRELOAD=str(library))
    if read:
        pytest.skip(f"ptrace is not permitted here: {os.strerror(read)}")
    assert (written, status) == (0, 7)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="not such a CPU")
def test_where_it_is_needed() -> None:
    """Without the library the kernel refuses the part exactly where it is asked for."""
    read, written, _ = _tried()
    if read:
        pytest.skip(f"ptrace is not permitted here: {os.strerror(read)}")
    assert fp_state.is_too_large() is bool(written)


@pytest.mark.skipif(fp_state.is_too_large(), reason="it is needed here")
def test_nothing_is_asked_of_other_machines() -> None:
    """No compiler, and nothing preloaded."""
    assert fp_state.packages_to_build_it() == {}
    assert fp_state.environment() == {}


def test_what_is_built_is_found(library: Path) -> None:
    """The second guest compiles nothing, and needs no compiler."""
    built = library.stat().st_ino
    assert fp_state.build() == library
    assert library.stat().st_ino == built
    assert fp_state.packages_to_build_it() == {}
