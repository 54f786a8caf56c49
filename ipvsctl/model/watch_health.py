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
        restarts: how often a watch had to be opened again, by reason in lower case
            with underscores: `expired`, `timeout`, `connection_lost`.
        reason: why it is away, a clause; "" while connected.
    """

    kind: Kind
    is_complete: bool
    is_connected: bool
    since_s: float
    heard_s: float | None = None
    restarts: Mapping[str, int] = {}
    reason: str = ""
