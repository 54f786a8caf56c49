"""How a source of objects is doing, for probes and metrics."""

from collections.abc import Mapping

import msgspec

from ipvsctl.model.problem import Kind


class WatchHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The watch of one kind of object. Times are seconds ago.

    Attributes:
        kind: of the objects.
        is_complete: every object of the kind has been told once.
        is_connected: changes are being told; False while the server is away.
        since_s: for how long it has been connected, or away.
        heard_s: since anything, a bookmark too, was heard; None before the first.
        answered_s: since the server answered when it was asked for a sign of life;
            None if it was not, or did not.
        restarts: how often a watch had to be opened again, by reason in lower case
            with underscores: `expired`, `timeout`, `connection_lost`.
        reason: why it is away, or gives no sign of life, a clause; else "".
    """

    kind: Kind
    is_complete: bool
    is_connected: bool
    since_s: float
    heard_s: float | None = None
    answered_s: float | None = None
    restarts: Mapping[str, int] = {}
    reason: str = ""

    @property
    def age_s(self) -> float | None:
        """Seconds in which changes may have gone untold; None before the first word.

        A watch that is open and silent is as fresh as the server's last sign of life.
        """
        if self.heard_s is None or not self.is_connected or self.answered_s is None:
            return self.heard_s
        return min(self.heard_s, self.answered_s)
