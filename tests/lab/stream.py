"""Copies what a guest says to where it belongs, as it appears."""

import os
import selectors
import time
from collections import deque
from collections.abc import Callable, Mapping

Sink = Callable[[bytes], None]
_CHUNK_BYTES = 65536


class Console:
    """Keeps the last lines of a guest's console."""

    def __init__(self, max_bytes: int = 8192) -> None:
        self._kept: deque[int] = deque(maxlen=max_bytes)

    def feed(self, data: bytes) -> None:
        """Take the next bytes, in chunks of any size."""
        self._kept.extend(data)

    def tail(self) -> tuple[str, ...]:
        """The lines kept; the first may be cut, undecodable bytes are replaced."""
        text = bytes(self._kept).decode(errors="replace")
        return tuple(line.rstrip() for line in text.splitlines() if line.strip())


def write_to(descriptor: int) -> Sink:
    """A sink that writes everything to a file descriptor, blocking."""

    def sink(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    return sink


def pump(sinks: Mapping[int, Sink], limit_s: float) -> bool:
    """Copy from each descriptor to its sink until all of them are at their end.

    Returns:
        False if they were not within the limit.
    """
    deadline = time.monotonic() + limit_s
    with selectors.DefaultSelector() as selector:
        for descriptor, sink in sinks.items():
            selector.register(descriptor, selectors.EVENT_READ, sink)
        while selector.get_map():
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return False
            for key, _ in selector.select(remaining_s):
                if data := os.read(key.fd, _CHUNK_BYTES):
                    key.data(data)
                else:
                    selector.unregister(key.fd)
    return True
