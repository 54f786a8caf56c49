"""What a daemon did to whom, as values for people and scripts.

Plain text, so that it can leave the process as JSON and come back.
"""

from enum import StrEnum

import msgspec


class What(StrEnum):
    """What was done."""

    SYNC = "sync"
    """A change of the cluster was imposed."""
    REPAIR = "repair"
    """Somebody else had changed the kernel."""
    FAILED = "failed"
    """The kernel refused an op."""
    DRAIN = "drain"
    """A real server takes no new connections any more."""
    DRAINED = "drained"
    """It is gone."""
    PROBLEM = "problem"
    """Something of an object cannot be honoured."""
    OTHER = "other"
    """A word that only a newer daemon knows."""

    @classmethod
    def _missing_(cls, value: object) -> "What":  # noqa: ARG003  # the enum's name
        return cls.OTHER


class Entry(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """One thing that was done, or several of one kind at once.

    Attributes:
        serial: grows by one with each entry of a daemon, from 1.
        at_s: seconds since 1970.
        services: of which Services it is known to be, some of them.
        text: what, with what was there before.
        count: how many things the entry stands for.
    """

    serial: int
    at_s: float
    what: What
    services: tuple[str, ...] = ()
    text: str
    count: int = 1


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What a daemon remembers.

    Attributes:
        daemon: tells this process from one that was started before or after it.
        entries: the oldest first.
        lost: entries since what was asked for that are forgotten.
    """

    daemon: str
    entries: tuple[Entry, ...] = ()
    lost: int = 0
