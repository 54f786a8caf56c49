"""How the daemon has the C library keep memory; with one that is not glibc, as it does.

A first state comes in as texts and is planned as ops, by several threads, and all that
is freed again, between values that stay. glibc keeps such memory for the process.
"""

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8
"""[malloc.h: M_ARENA_MAX]"""


def share_one_arena() -> None:
    """Have all threads take memory from one place.

    By itself each thread has its own, so that none waits for another's; here they take
    turns in Python anyway, and what one has freed no other could use. Only for threads
    that have not started yet.
    """
    _call("mallopt", _M_ARENA_MAX, 1)


def give_back() -> None:
    """Give the kernel each page that is free; some milliseconds for every 100 MB."""
    _call("malloc_trim", 0)


def _call(name: str, *numbers: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*(ctypes.c_int(number) for number in numbers))
