"""Misdeeds of clients, in one line of the log a minute and in no word of theirs."""

import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Final

from ipvsctl.libraries.log import structlog

EVERY_S: Final = 60.0
"""Least time between two lines about one server."""

_FRAMES: Final = 4
"""Innermost calls that are named of a failure."""

_log = structlog.get_logger("ipvsctl")


class Complaints:
    """Counts misdeeds of the clients of one server.

    Args:
        field: the setting, or the port, that says which server.
        clock: seconds, never backwards.
    """

    def __init__(self, field: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._field = field
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._said_at_s: float | None = None

    def note(self, what: str) -> None:
        """Count one; say so if nothing was said lately.

        Args:
            what: the misdeed, in a word of ours: `refused`.
        """
        self._counts[what] += 1
        if self._may_say():
            counts, self._counts = self._counts, Counter()
            _log.warning("clients do wrong", field=self._field, **counts)

    def failed(self, error: BaseException | None) -> None:
        """Count a request that this program failed to answer, and say where.

        Not in the words of the exception, which may be the client's.
        """
        self._counts["failed"] += 1
        if self._may_say():
            frames = traceback.extract_tb(error.__traceback__ if error else None)
            _log.error(
                "request failed",
                field=self._field,
                error=type(error).__name__,
                where=" ".join(f"{f.name}:{f.lineno}" for f in frames[-_FRAMES:]),
            )

    def _may_say(self) -> bool:
        now_s = self._clock()
        if self._said_at_s is not None and now_s - self._said_at_s < EVERY_S:
            return False
        self._said_at_s = now_s
        return True
