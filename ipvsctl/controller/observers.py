"""Who is told what the loop has done."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from ipvsctl.controller.backlog import Programmed
from ipvsctl.controller.sync_report import SyncReport
from ipvsctl.model.config import Listener
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.problem import Problem
from ipvsctl.model.state import EMPTY
from ipvsctl.plan.service.program import LocalhostPort
from ipvsctl.plan.union.desired_change import DesiredChange
from ipvsctl.plan.union.health_checks import ServiceHealth


class AuditDone(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is desired has been imposed.

    Attributes:
        changes: what was desired anew since the last audit or sync that imposed it;
            any other op of the plan is a repair.
        is_first: nothing of this daemon's was in the kernel before.
        programmed: the endpoint changes that are in the kernel now.
        context: of this node, as everything was compiled for it.
        health_checks: what every health-check node port answers.
        localhost_ports: every listener on localhost, with whose it is.
    """

    report: SyncReport
    context: NodeContext
    health_checks: Mapping[int, ServiceHealth] = EMPTY
    localhost_ports: Mapping[Listener, LocalhostPort] = EMPTY
    changes: tuple[DesiredChange, ...] = ()
    is_first: bool = False
    programmed: tuple[Programmed, ...] = ()


class SyncDone(msgspec.Struct, frozen=True, kw_only=True):
    """A change has been imposed, or drains have ended: then it changes nothing else.

    Attributes:
        programmed: see `AuditDone`.
    """

    report: SyncReport
    change: DesiredChange
    programmed: tuple[Programmed, ...] = ()


class Observer(Protocol):
    """Who tells others what this node serves.

    Called in the event loop, in the order in which audits and syncs were done. The next
    sync waits meanwhile. All that is to be known of the desired state comes with the
    call: it may have changed since.
    """

    async def audited(self, done: AuditDone) -> None:
        """Everything that is desired has been imposed."""
        ...

    async def synced(self, done: SyncDone) -> None:
        """A change has been imposed."""
        ...

    def problems(self) -> tuple[Problem, ...]:
        """Problems of this observer itself."""
        ...

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """These were not there at the last sync or audit."""
        ...


class Nobody:
    """An observer that tells nothing."""

    async def audited(self, done: AuditDone) -> None:
        """See `Observer`."""

    async def synced(self, done: SyncDone) -> None:
        """See `Observer`."""

    def problems(self) -> tuple[Problem, ...]:
        """See `Observer`."""
        return ()

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Observer`."""


class Observers:
    """Several observers, told one after the other."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    async def audited(self, done: AuditDone) -> None:
        """See `Observer`."""
        for observer in self._observers:
            await observer.audited(done)

    async def synced(self, done: SyncDone) -> None:
        """See `Observer`."""
        for observer in self._observers:
            await observer.synced(done)

    def problems(self) -> tuple[Problem, ...]:
        """See `Observer`."""
        return tuple(p for observer in self._observers for p in observer.problems())

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.appeared(problems)
