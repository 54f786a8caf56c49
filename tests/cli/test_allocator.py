"""`allocator`: memory that is free is given back. Each in a process of its own."""

import subprocess
import sys
from typing import Final

_RESIDENT: Final = """
def resident_kib():
    with open("/proc/self/status") as status:
        return next(int(x.split()[1]) for x in status if x.startswith("VmRSS"))
"""

_FREED: Final = (
    _RESIDENT
    + """
from ipvsctl.cli import allocator
allocator.share_one_arena()
kept, freed = [], []
for _ in range(1000):
    freed.append(b"x" * 60_000)
    kept.append(b"y" * 600)
del freed
before = resident_kib()
allocator.give_back()
print(before - resident_kib())
"""
)

_ARENAS: Final = """
import ctypes, sys, threading
from ipvsctl.cli import allocator
if sys.argv[1] == "one":
    allocator.share_one_arena()
there = threading.Barrier(4)
def take():
    there.wait()
    kept = [b"x" * 5_000 for _ in range(100)]
    there.wait()
threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


def _run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_free_pages_between_others_are_given_back() -> None:
    """60 MB, of which the C library keeps most."""
    assert int(_run(_FREED)) > 20_000


def test_threads_share_one_arena() -> None:
    """By itself the C library has one for each of some threads."""
    assert _run(_ARENAS, "one").count("<heap ") == 1
    assert _run(_ARENAS, "as it does").count("<heap ") > 1
