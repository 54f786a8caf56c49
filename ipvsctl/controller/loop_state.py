"""How the loop is doing."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from ipvsctl.model.parts import EVIDENCE, RULES, Part
from ipvsctl.model.state import Observed

_OTHERS: Final = frozenset(Part) - frozenset(RULES.values())
"""Parts that each node has."""


class LoopState(msgspec.Struct, kw_only=True):
    """How the loop is doing, for health checks and status.

    Attributes:
        clock: the loop's, steady, in seconds.
        synced: the source has delivered its complete first state and one audit has
            imposed it.
        audits, syncs: how many ran.
        audited_at_s: when the last audit ended.
        imposed_at_s: when the last audit or sync ended, on the wall clock.
        failed_ops: ops that failed in the last audit or since, and are tried again.
        begun_at_s: when the first audit was due.
        read_at_s: when an audit could last read each part of the kernel.
        unread: the parts that the last audit could not read.
    """

    clock: Callable[[], float]
    synced: bool = False
    audits: int = 0
    syncs: int = 0
    audited_at_s: float | None = None
    imposed_at_s: float | None = None
    failed_ops: int = 0
    begun_at_s: float | None = None
    read_at_s: dict[Part, float] = {}
    unread: frozenset[Part] = EVIDENCE

    def begin(self) -> None:
        """The first audit is due now."""
        self.begun_at_s = self.clock()

    def audited(self, observed: Observed, failed: int) -> bool:
        """Take note of an audit that has just ended.

        Args:
            observed: what it has read.
            failed: how many ops failed that are to be tried again.

        Returns:
            Whether all of it was done.
        """
        self.audits += 1
        self.audited_at_s = now_s = self.clock()
        self.failed_ops = failed
        rules = {RULES[family] for family in observed.state.chains}
        read = (_OTHERS | rules) - observed.blind
        self.read_at_s |= dict.fromkeys(read, now_s)
        self.unread = (self.unread & observed.skipped) | observed.unread.keys()
        # Nobody is served as he should be before the rules are there once.
        self.synced |= not any(part.is_needed for part in self.unread)
        return not (failed or self.unread)

    def audited_s_ago(self) -> float | None:
        """Seconds since the last audit ended, None before the first."""
        then = self.audited_at_s
        return None if then is None else self.clock() - then

    def read_ages_s(self) -> Mapping[Part, float]:
        """How long ago each part was read, or since when it could not be."""
        begun_s = self.begun_at_s
        if begun_s is None:
            return {}
        now_s = self.clock()
        parts = sorted(self.read_at_s.keys() | self.unread)
        return {part: now_s - self.read_at_s.get(part, begun_s) for part in parts}
