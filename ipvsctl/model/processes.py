"""The node's processes, as far as they say who else programs its kernel."""

from collections.abc import Set as AbstractSet

import msgspec


class Process(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A process that is not ours.

    Attributes:
        pid: as the daemon sees it.
        name: of its program, fit to be shown.
        arguments: words that its program was started with, in any order.
    """

    pid: int
    name: str
    arguments: AbstractSet[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


class Processes(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """What was seen of the node's processes at one moment.

    Attributes:
        running: those of the programs that were asked for, by pid; without those that
            are known to be in another network namespace.
        lock_holder: who held the lock that all users of iptables take; None if nobody
            did, or it cannot be seen.
        are_nodes: these are the node's processes, and not only those of the daemon's
            container.
    """

    running: tuple[Process, ...] = ()
    lock_holder: Process | None = None
    are_nodes: bool = False
