"""Tells what the worker has done: observers, and the log."""

import asyncio
from collections.abc import Callable

from ipvsctl.controller.jobs import Aftermath
from ipvsctl.controller.observers import AuditDone, Observer, SyncDone
from ipvsctl.controller.problem_teller import ProblemTeller
from ipvsctl.controller.refused_settings import to_try_again
from ipvsctl.controller.sync_log import SyncLog
from ipvsctl.libraries.log import structlog
from ipvsctl.model.problem_book import ProblemPart
from ipvsctl.plan.diff.words import FirewallWords

_log = structlog.get_logger("ipvsctl")


class Teller:
    """Tells of each audit, sync and drain check, one after the other.

    To be called as soon as the worker has done it, with nothing awaited before: what
    was done first is told first.

    Args:
        noted: what is wrong with objects as they were read.
        observer: is told, and has problems of its own.
        clock: steady, in seconds.
        firewall: what operators call the things of the firewall.
    """

    def __init__(
        self,
        noted: ProblemPart,
        observer: Observer,
        clock: Callable[[], float],
        firewall: FirewallWords,
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._turn = asyncio.Lock()
        self._sync_log = SyncLog(firewall)
        self._drain_log = SyncLog(firewall)
        self._doubts: tuple[str, ...] = ()
        self.problems = ProblemTeller(noted, observer)

    async def audited(self, done: AuditDone, left: Aftermath) -> None:
        """An audit has imposed everything."""
        async with self._turn:
            await self._observer.audited(done)
            report = done.report
            self._sync_log.add(report, to_try_again(report.report), done.programmed)
            self._sync_log.end("audit")
            self._tell(left)

    async def synced(self, done: SyncDone, left: Aftermath) -> None:
        """A sync has imposed a change, or a part of one."""
        async with self._turn:
            await self._observer.synced(done)
            report = done.report
            self._sync_log.add(report, to_try_again(report.report), done.programmed)
            if not left.has_parts:
                self._sync_log.end("sync")
            self._tell(left)

    async def drained(self, done: SyncDone) -> None:
        """A drain check has ended drains of some virtual servers."""
        async with self._turn:
            await self._observer.synced(done)
            report = done.report
            self._drain_log.add(report, to_try_again(report.report))

    def end_drains(self) -> None:
        """All that drain have been looked at."""
        self._drain_log.end("drain check")

    def _tell(self, left: Aftermath) -> None:
        """Log doubts and problems as they appear."""
        if left.doubts != self._doubts:
            self._tell_doubts(left)
        self.problems.tell(self._clock(), left.unfinished)

    def _tell_doubts(self, left: Aftermath) -> None:
        """Log what of the input cannot be read any more, or can again."""
        for doubt in left.doubts:
            if doubt not in self._doubts:
                _log.warning("input not known", reason=doubt)
        if left.doubts and left.is_holding:
            _log.warning("deletions held", until="all of the input can be read")
        if not left.doubts:
            _log.info("input known")
        self._doubts = left.doubts
