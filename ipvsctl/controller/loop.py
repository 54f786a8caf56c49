"""The daemon's tasks: watch events, sync what they change, audit, end drains.

The event loop hears, gives serials, decides when something is to be done and tells
others what was. What takes time is done by the worker (`worker`): the loop gives it
what the store knows, as a value, and is given back what was done, as a value. Jobs are
told of in the order they were done.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from tenacity import (
    AsyncRetrying,
    retry_if_result,
    wait_exponential,
    wait_random,
)

from ipvsctl.cluster.events import ApiServersFound, Synced
from ipvsctl.controller.audit_pace import AuditPace, pause
from ipvsctl.controller.audit_run import AuditOutcome, AuditRun
from ipvsctl.controller.backlog import Backlog, Programmed
from ipvsctl.controller.drift_watch import DriftWatch
from ipvsctl.controller.hearing import Hearing
from ipvsctl.controller.jobs import Aftermath, SyncOutcome, check_drains, sync_some
from ipvsctl.controller.looks import Looks
from ipvsctl.controller.loop_state import LoopState
from ipvsctl.controller.observers import AuditDone, Nobody, Observer, SyncDone
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.recovery import Recovery
from ipvsctl.controller.refused_settings import to_try_again
from ipvsctl.controller.sync_report import SyncReport
from ipvsctl.controller.teller import Teller
from ipvsctl.controller.worker import Priority, Worker
from ipvsctl.libraries.log import structlog
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import KernelError, UnreadKernel, WireError
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.parts import EVIDENCE
from ipvsctl.model.problem import Problem
from ipvsctl.model.problem_book import ProblemBook
from ipvsctl.model.steps import parts
from ipvsctl.sources.source import Source

_log = structlog.get_logger("ipvsctl")

DRAIN_CHECK_S = 5.0
"""Seconds between looks at draining real servers: how long one may outlive its last
connection."""

DRAINS_AT_ONCE = 50
"""Virtual servers that are looked at for that in one go: some milliseconds."""


class Loop:
    """Runs one reconciler on one source until it is cancelled.

    Args:
        worker: does all that takes time.
    """

    def __init__(
        self,
        *,
        reconciler: Reconciler,
        worker: Worker,
        source: Source,
        config: ProxyConfig,
        observer: Observer | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._reconciler = reconciler
        self._worker = worker
        self._source = source
        self._config = config
        self._sleep = sleep
        self._clock = clock
        self._wall_clock = wall_clock
        self.backlog = Backlog(2 * config.sync_period_s)
        self._teller = Teller(
            reconciler.noted_problems,
            Nobody() if observer is None else observer,
            clock,
            reconciler.words,
        )
        self.looks = Looks(worker, reconciler)
        self._recovery = Recovery(reconciler, worker)
        self._pace = AuditPace(config.sync_period_s)
        self._drift = DriftWatch(
            reconciler, worker, self._repair, config.sync_period_s, sleep, clock
        )
        # What is taken of the store is given to the worker in the same order.
        self._taking = asyncio.Lock()
        self._left = Aftermath()
        self._hearing = Hearing()
        self._complete = asyncio.Event()
        self._dirty = asyncio.Event()
        self._audited = asyncio.Event()
        self._audit_wanted = asyncio.Event()
        self._drift_seen = asyncio.Event()
        self._large = asyncio.Event()
        self.state = LoopState(clock=clock)

    async def run(self) -> None:
        """Run every task; the first one to fail ends the others with its reason."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="watch")
            tasks.create_task(self._audit_forever(), name="audit")
            tasks.create_task(self._sync_forever(), name="sync")
            tasks.create_task(self._compile_forever(), name="compile")
            tasks.create_task(self._end_drains_forever(), name="drains")
            tasks.create_task(self.looks.run(), name="looks")
            tasks.create_task(self._watch_drift(), name="drift")

    @property
    def problem_book(self) -> ProblemBook:
        """Everything wrong with any object, or with telling others of it."""
        return self._teller.problems.book

    def uncompiled_problems(self) -> tuple[Problem, ...]:
        """Those that a look does not find."""
        return tuple(self._teller.problems.uncompiled())

    def is_healthy(self) -> bool:
        """Whether no event has been waiting for two sync periods to be imposed.

        One that a refused op concerns was imposed as far as it can be.
        """
        return not self.backlog.is_late(self._clock())

    def pending_s(self) -> float | None:
        """For how long the oldest event has been waiting, None without one."""
        return self.backlog.pending_s(self._clock())

    @property
    def is_holding(self) -> bool:
        """Whether something stays in the kernel since it may be wanted."""
        return self._reconciler.hold is not None

    def want_audit(self) -> None:
        """Have everything compared soon: what is desired is not in the kernel."""
        self._drift.forget()
        self._audit_wanted.set()

    async def _watch(self) -> None:
        # Before anybody looks up a name: a name server may be what is in the way.
        await self._recovery.run(frozenset())
        async with aclosing(self._source.events()) as events:
            async for event in events:
                if isinstance(event, ApiServersFound) and not self._complete.is_set():
                    await self._recovery.run(event.servers)
                is_change = self._reconciler.take_event(event)
                self.backlog.heard(
                    event, self._clock(), self._wall_clock(), is_change=is_change
                )
                if isinstance(event, Synced):
                    _log.info("source complete", source=self._source.description)
                    self._complete.set()
                self._dirty.set()
                await self._hearing.heard()

    async def _audit_forever(self) -> None:
        # Nothing is programmed before the whole cluster is known: a half-known one
        # would take away what is not known yet.
        await self._complete.wait()
        self.state.begin()
        while True:
            await self._audit_until_clean()
            await pause(self._sleep, self._pace.pause_s, self._audit_wanted)

    async def _audit_until_clean(self) -> None:
        """Audit; if ops failed, again after growing pauses, until none does."""
        retrying = AsyncRetrying(
            wait=wait_exponential(multiplier=0.5, max=30) + wait_random(0, 0.5),
            retry=retry_if_result(lambda clean: not clean),
            # Syncs that fail want audits, too, and would leave no pause.
            sleep=lambda left_s: pause(self._sleep, left_s, self._drift_seen),
        )
        await retrying(self._audit)

    async def _audit(self) -> bool:
        """Audit once; whether it was done and no op is to be tried again."""
        # A request that arrives now may concern state already read: it is kept.
        self._audit_wanted.clear()
        self._drift_seen.clear()
        try:
            with self._drift.auditing():
                done = await self._audit_between_syncs() if self.state.audits else None
                if done is None:
                    done = await self._audit_alone()
        except (KernelError, WireError, UnreadKernel) as error:
            _log.error("audit failed", reason=str(error))
            return False
        self._audited.set()
        observed = done.observed
        if observed.skipped and not done.report.failed:
            self._repair()
        return self.state.audited(observed, len(to_try_again(done.report)))

    async def _audit_alone(self) -> SyncReport:
        """Everything at once, with what is dirty: it is the audit's business now."""
        async with self._taking:
            self._dirty.clear()
            serial, taken = self.backlog.take(), self._reconciler.take()
            run = AuditRun(self._reconciler)
            try:
                # What is refused may wait for the rules, as a set that they hold does.
                with_rules = not self._audited.is_set() or bool(self.state.failed_ops)
                steps = run.alone(taken, has_rules=with_rules)
                outcome = await self._worker.walk(Priority.ALONE, steps)
            finally:
                self.backlog.absorbed(run.changes)
            return await self._audit_done(serial, outcome)

    async def _audit_between_syncs(self) -> SyncReport | None:
        """None, with nothing done, if no sync may run meanwhile."""
        serial = self.backlog.taken_to
        run = AuditRun(self._reconciler)
        try:
            outcome = await self._worker.walk(Priority.AUDIT, run.between_syncs())
        finally:
            self.backlog.absorbed(run.changes)
        return None if outcome is None else await self._audit_done(serial, outcome)

    async def _audit_done(self, serial: int, outcome: AuditOutcome) -> SyncReport:
        """Take note of an audit's end, and tell of it.

        Args:
            serial: of the last taking before it began. What was taken later is its
                sync's; if that has failed, another audit follows at once.
            outcome: what it has come to.
        """
        self._note(outcome.aftermath)
        now = self._wall_clock()
        changes = self.backlog.changes
        # What was desired anew is no drift, and what cannot be changed is no repair.
        is_repair = bool(self.state.audits and outcome.report.report.applied)
        self._pace.audited(found_drift=is_repair and not changes)
        self._drift.audited(outcome.report.report, is_repair=is_repair)
        programmed: tuple[Programmed, ...] = ()
        if not outcome.report.observed.blind & EVIDENCE:
            programmed = self.backlog.imposed_all_to(serial, now)
            self.state.imposed_at_s = now
        done = AuditDone(
            report=outcome.report,
            changes=changes,
            is_first=not self.state.audits,
            programmed=programmed,
            context=outcome.context,
            health_checks=outcome.health_checks,
            localhost_ports=outcome.localhost_ports,
        )
        await self._teller.audited(done, outcome.aftermath)
        return outcome.report

    def _repair(self) -> None:
        """Have an audit at once, also while one is to be tried again later."""
        self._drift_seen.set()
        self._audit_wanted.set()

    async def _watch_drift(self) -> None:
        await self._audited.wait()
        if self._config.drift_watch:
            await self._drift.run()

    async def _sync_forever(self) -> None:
        await self._audited.wait()
        while True:
            await self._dirty.wait()
            await self._hearing.over()
            self._dirty.clear()
            is_done = await self._sync()
            if self._left.has_large:
                self._large.set()
            if self._left.has_parts:
                self._dirty.set()
                if is_done:
                    continue
            await self._sleep(self._config.min_sync_period_s)

    async def _sync(self) -> bool:
        """Impose what is dirty, or as much as keeps nobody waiting; whether it was."""
        async with self._taking:
            serial, taken = self.backlog.take(), self._reconciler.take()
            outcome = await self._worker.do(
                Priority.SYNC, lambda: sync_some(self._reconciler, taken)
            )
            self.backlog.compiled(serial, outcome.change)
            self._note(outcome.aftermath)
            report = self._imposed(outcome, "sync failed")
            if report is None:
                return False
            now = self._wall_clock()
            programmed = self.backlog.imposed(serial, now)
            self.state.imposed_at_s = now
            done = SyncDone(report=report, change=outcome.change, programmed=programmed)
            await self._teller.synced(done, outcome.aftermath)
        self.state.syncs += 1
        failed = to_try_again(report.report)
        self.state.failed_ops += len(failed)
        if failed:
            self.want_audit()
        return True

    async def _compile_forever(self) -> None:
        """Compile large Services; syncs put them into place."""
        while True:
            await self._large.wait()
            self._large.clear()
            if self._left.has_large:
                steps = self._reconciler.compile_large()
                await self._worker.walk(Priority.SYNC, steps)
                self._dirty.set()

    async def _end_drains_forever(self) -> None:
        while True:
            await self._sleep(DRAIN_CHECK_S)
            # After a change of many, all at once would keep others waiting.
            reconciler = self._reconciler
            every = reconciler.draining | reconciler.growing
            for keys in parts(every, DRAINS_AT_ONCE):
                await self._check_drains(frozenset(keys))
            self._teller.end_drains()

    async def _check_drains(self, keys: frozenset[VirtualServerKey]) -> None:
        outcome = await self._worker.do(
            Priority.SYNC, lambda: check_drains(self._reconciler, keys)
        )
        self._note(outcome.aftermath)
        report = self._imposed(outcome, "drain check failed")
        if report is not None and report.plan:
            await self._teller.drained(SyncDone(report=report, change=outcome.change))

    def _imposed(self, outcome: SyncOutcome, failure: str) -> SyncReport | None:
        """What was imposed; if nothing was, an audit is wanted."""
        if outcome.report is None:
            if outcome.reason:
                _log.error(failure, reason=outcome.reason)
            self.want_audit()
        return outcome.report

    def _note(self, left: Aftermath) -> None:
        """Take over what a job has left."""
        self._left = left
        self._teller.problems.note(left.problems)
