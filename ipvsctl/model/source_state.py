"""How well the desired state is known: how fresh, and whether all could be read."""

from collections.abc import Sequence
from typing import Final

import msgspec

from ipvsctl.model.problem import Kind
from ipvsctl.model.watch_health import WatchHealth

STALE_S: Final = 30.0
"""A source that has not been heard for longer may have changed without a word. A quiet
API server is asked before (`kube.pulse`), and files are looked at every 10 s."""


_OPTIONAL: Final = frozenset({Kind.NODE, Kind.LEASE})


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """A source of objects, and what its word is worth now.

    Attributes:
        description: `API server of https://10.0.0.1:6443`, `manifests in /etc/m`.
        age_s: seconds since it was heard; None if it never was.
        error: why it is not heard, a clause; "" while it is.
        doubts: the parts that could not be read, and why, a line each.
        held: how many ops are not done because of doubts.
    """

    description: str
    age_s: float | None = 0.0
    error: str = ""
    doubts: tuple[str, ...] = ()
    held: int = 0

    @property
    def is_fresh(self) -> bool:
        """The source was heard a moment ago."""
        return self.age_s is not None and self.age_s <= STALE_S

    @property
    def is_sure(self) -> bool:
        """The desired state is what users want: it is fresh, and nothing is missing."""
        return self.is_fresh and not self.doubts

    @property
    def subject(self) -> str:
        """The first words of the description."""
        for separator in (" of ", " in "):
            subject, found, _ = self.description.partition(separator)
            if found:
                return subject
        return self.description

    def notes(self) -> tuple[str, ...]:
        """Why it is not sure, a line each; none if it is."""
        return (*([] if self.is_fresh else [self.heard()]), *self.doubts)

    def heard(self) -> str:
        """`API server not heard for 45 s: connection refused`."""
        because = f": {self.error}" if self.error else ""
        verb = "read" if self.subject == "manifests" else "heard"
        if self.age_s is None:
            return f"{self.subject} never {verb}{because}"
        if self.is_fresh:
            return f"{self.subject} {verb} {self.age_s:.0f} s ago"
        return f"{self.subject} not {verb} for {self.age_s:.0f} s{because}"


def source_state(
    description: str,
    watches: Sequence[WatchHealth],
    *,
    doubts: tuple[str, ...] = (),
    held: int = 0,
) -> SourceState:
    """The state of a source, which is that of its worst watch.

    Args:
        description: see `SourceState`.
        watches: how each is doing; none is a source that is always there. Those of
            Nodes and Leases do not count: without them a node serves all the same.
        doubts: see `SourceState`.
        held: see `SourceState`.
    """
    needed = [watch for watch in watches if watch.kind not in _OPTIONAL]
    worst = max(needed, key=_age_s, default=None)
    return SourceState(
        description=description,
        age_s=0.0 if worst is None else worst.age_s,
        error="" if worst is None else worst.reason,
        doubts=doubts,
        held=held,
    )


def _age_s(watch: WatchHealth) -> float:
    return float("inf") if watch.age_s is None else watch.age_s
