"""Who is told what the loop has done."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from ipvsctl.controller.changes import Programmed
from ipvsctl.controller.reconciler import SyncReport
from ipvsctl.model.problem import Problem
from ipvsctl.plan.change import Change


class AuditDone(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is desired has been imposed.

    Attributes:
        changes: what was desired anew since the last audit or sync that imposed it;
            any other op of the plan is a repair.
        is_first: nothing of this daemon's was in the kernel before.
        programmed: the endpoint changes that are in the kernel now.
    """

    report: SyncReport
    changes: tuple[Change, ...] = ()
    is_first: bool = False
    programmed: tuple[Programmed, ...] = ()


class SyncDone(msgspec.Struct, frozen=True, kw_only=True):
    """A change has been imposed, or drains have ended: then it changes nothing else.

    Attributes:
        programmed: see `AuditDone`.
    """

    report: SyncReport
    change: Change
    programmed: tuple[Programmed, ...] = ()


class Audience(Protocol):
    """Who tells others what this node serves. Called between two syncs."""

    async def audited(self, done: AuditDone) -> None:
        """Everything that is desired has been imposed."""
        ...

    async def synced(self, done: SyncDone) -> None:
        """A change has been imposed."""
        ...

    def problems(self) -> tuple[Problem, ...]:
        """What cannot be told."""
        ...

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """These were not there at the last sync or audit."""
        ...


class Nobody:
    """An audience that tells nothing."""

    async def audited(self, done: AuditDone) -> None:
        """See `Audience`."""

    async def synced(self, done: SyncDone) -> None:
        """See `Audience`."""

    def problems(self) -> tuple[Problem, ...]:
        """See `Audience`."""
        return ()

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Audience`."""


class Audiences:
    """Several audiences, told one after the other."""

    def __init__(self, audiences: Sequence[Audience]) -> None:
        self._audiences = tuple(audiences)

    async def audited(self, done: AuditDone) -> None:
        """See `Audience`."""
        for audience in self._audiences:
            await audience.audited(done)

    async def synced(self, done: SyncDone) -> None:
        """See `Audience`."""
        for audience in self._audiences:
            await audience.synced(done)

    def problems(self) -> tuple[Problem, ...]:
        """See `Audience`."""
        return tuple(p for audience in self._audiences for p in audience.problems())

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Audience`."""
        for audience in self._audiences:
            audience.appeared(problems)
