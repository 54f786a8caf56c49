"""File descriptors: whether there are some left."""

import os
from contextlib import ExitStack
from typing import Final

NEEDED: Final = 8
"""What pyroute2 opens for one question: an event loop with its pipes, and a socket."""


def require_free(count: int = NEEDED) -> None:
    """Do nothing if so many descriptors can be had.

    A library that runs out of them half way leaves what it has for the garbage
    collector, which prints a traceback for each.

    Raises:
        OSError: they cannot.
    """
    with ExitStack() as opened:
        for _ in range(count):
            opened.callback(os.close, os.open("/", os.O_RDONLY | os.O_CLOEXEC))
