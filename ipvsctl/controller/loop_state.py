"""How the loop is doing."""

import msgspec

from ipvsctl.model.net import IPFamily
from ipvsctl.model.state import Observed


class LoopState(msgspec.Struct, kw_only=True):
    """How the loop is doing, for health checks and status.

    Attributes:
        synced: the source has delivered its complete first state and one audit has
            imposed it.
        audits, syncs: how many ran.
        audited_at_s: when the last audit ended, on the loop's clock.
        imposed_at_s: when the last audit or sync ended, on the wall clock.
        failed_ops: ops that failed in the last audit or since, and are tried again.
        rules_read_at_s: when an audit could last read the rules of each family, on the
            wall clock.
    """

    synced: bool = False
    audits: int = 0
    syncs: int = 0
    audited_at_s: float | None = None
    imposed_at_s: float | None = None
    failed_ops: int = 0
    rules_read_at_s: dict[IPFamily, float] = {}

    def note_rules(self, observed: Observed, now_s: float) -> None:
        """Take note of the families whose rules an audit could read."""
        self.rules_read_at_s |= dict.fromkeys(observed.state.chains, now_s)
