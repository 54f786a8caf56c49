"""When the next audit comes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ipvsctl.kube.waiting import first_of

SOON_S: Final = 5.0
"""After drift: who has changed one thing may be about to change another."""


class AuditPace:
    """Audits come sooner for a while after drift, but not in a fight.

    Args:
        period_s: from one to the next in quiet times.

    Attributes:
        pause_s: until the next one.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._in_a_row = 0
        self.pause_s = period_s

    def audited(self, *, found_drift: bool) -> None:
        """Take note of an audit.

        Args:
            found_drift: it has repaired something. When each one does, somebody
                insists: sooner audits would make two programs change the kernel in
                turns.
        """
        if found_drift:
            self.pause_s = min(self._period_s, SOON_S * 2**self._in_a_row)
            self._in_a_row = min(self._in_a_row + 1, 16)
        else:
            self._in_a_row = 0
            self.pause_s = min(self._period_s, 2 * self.pause_s)


async def pause(
    sleep: Callable[[float], Awaitable[None]], duration_s: float, wanted: asyncio.Event
) -> None:
    """Return when the time is over, or something is wanted before."""
    await first_of(sleep(duration_s), wanted.wait())
