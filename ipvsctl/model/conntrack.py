"""The connection tracking table, which all connections of a node share."""

from typing import Final

import msgspec

_FILLING: Final = 0.8
_NEARLY_FULL: Final = 0.95


class ConntrackFill(msgspec.Struct, gc=False, frozen=True):
    """How full the table is, in entries; a limit of 0 is none."""

    count: int
    limit: int

    @property
    def is_filling(self) -> bool:
        """Whether somebody should look at it."""
        return 0 < _FILLING * self.limit <= self.count

    @property
    def is_nearly_full(self) -> bool:
        """Whether new connections are dropped, or soon will be."""
        return 0 < _NEARLY_FULL * self.limit <= self.count

    def __str__(self) -> str:
        return f"{self.count:,} of {self.limit:,} entries"
