"""Pauses while many events come at once: for probes, but not for a sync."""

import asyncio
from typing import Final

EVENTS_AT_ONCE: Final = 16
"""Events that are taken in before probes have their turn: a millisecond or two."""

EVENTS_OF_A_SYNC: Final = 1024
"""Events after which a sync has its turn too, although more are ready."""


class Hearing:
    """Says when all events that are ready have been taken in.

    A source that has many ready does not wait between them, so whoever takes them in
    pauses now and then. A sync that began in such a pause would impose some of them,
    and the others only after its own pause.
    """

    def __init__(self) -> None:
        self._events = 0
        self._is_over = asyncio.Event()
        self._is_over.set()

    async def heard(self) -> None:
        """One more event has been taken in; the next one may be ready."""
        self._events += 1
        if self._events % EVENTS_AT_ONCE:
            return
        if self._events % EVENTS_OF_A_SYNC:
            self._is_over.clear()
        await asyncio.sleep(0)
        self._is_over.set()

    async def over(self) -> None:
        """Return when no other event is ready, or many have come."""
        while True:
            await self._is_over.wait()
            if self._is_over.is_set():
                return
            # It is cleared again: the next event was ready.
