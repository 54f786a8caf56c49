"""The daemon's tasks: watch events, sync what they change, audit, end drains.

One lock keeps the calls to the reconciler apart. Reads and writes of the kernel run in
a thread, so that events keep coming in (and probes keep being answered) meanwhile. An
audit takes seconds on a large node, so it gives the lock back after every few
milliseconds, and an event waits for one step of it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import aclosing, nullcontext
from typing import TypeVar, cast

import msgspec
import structlog
from tenacity import (
    AsyncRetrying,
    retry_if_result,
    wait_exponential,
    wait_random,
)

from ipvsctl.cluster.events import ApiServersFound, Synced
from ipvsctl.controller.observers import AuditDone, Nobody, Observer, SyncDone
from ipvsctl.controller.problem_teller import ProblemTeller
from ipvsctl.controller.programming_latency import Programmed, ProgrammingLatency
from ipvsctl.controller.progress import Progress
from ipvsctl.controller.reconciler import Reconciler, SyncReport
from ipvsctl.controller.refused_settings import is_lasting
from ipvsctl.controller.sync_log import SyncLog
from ipvsctl.controller.turns import take_turns
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import KernelError, WireError
from ipvsctl.model.host import ApiServer
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.problem_book import ProblemBook
from ipvsctl.model.state import Observed
from ipvsctl.model.steps import parts
from ipvsctl.plan.diff.ops import FailedOp
from ipvsctl.plan.union.desired_change import DesiredChange
from ipvsctl.sources.source import Source

T = TypeVar("T")

_log = structlog.get_logger("ipvsctl")

DRAIN_CHECK_S = 5.0
"""Seconds between looks at draining real servers: how long one may outlive its last
connection."""

DRAINS_AT_ONCE = 50
"""Virtual servers that are looked at for that in one go: some milliseconds."""


class LoopState(msgspec.Struct, kw_only=True):
    """How the loop is doing, for health checks and status.

    Attributes:
        synced: the source has delivered its complete first state and one audit has
            imposed it.
        audits, syncs: how many ran.
        audited_at_s: when the last audit ended, on the loop's clock.
        imposed_at_s: when the last audit or sync ended, on the wall clock.
        failed_ops: ops that failed in the last audit or since, and are tried again.
    """

    synced: bool = False
    audits: int = 0
    syncs: int = 0
    audited_at_s: float | None = None
    imposed_at_s: float | None = None
    failed_ops: int = 0


class Loop:
    """Runs one reconciler on one source until it is cancelled."""

    def __init__(
        self,
        *,
        reconciler: Reconciler,
        source: Source,
        config: ProxyConfig,
        observer: Observer | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._reconciler = reconciler
        self._source = source
        self._config = config
        self._sleep = sleep
        self._clock = clock
        self._observer = Nobody() if observer is None else observer
        self._progress = Progress(2 * config.sync_period_s)
        self._wall_clock = wall_clock
        self._unimposed: tuple[DesiredChange, ...] = ()
        self.changes = ProgrammingLatency(wall_clock)
        self._lock = asyncio.Lock()
        self._complete = asyncio.Event()
        self._dirty = asyncio.Event()
        self._audited = asyncio.Event()
        self._audit_wanted = asyncio.Event()
        self._large = asyncio.Event()
        self._sync_log = SyncLog(reconciler.words)
        self._drain_log = SyncLog(reconciler.words)
        self._problems = ProblemTeller(reconciler.problem_book, self._observer)
        self._known_doubts: tuple[str, ...] = ()
        self.state = LoopState()

    async def run(self) -> None:
        """Run every task; the first one to fail ends the others with its reason."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="watch")
            tasks.create_task(self._audit_forever(), name="audit")
            tasks.create_task(self._sync_forever(), name="sync")
            tasks.create_task(self._compile_forever(), name="compile")
            tasks.create_task(self._end_drains_forever(), name="drains")

    async def look(self, view: Callable[[Observed], T]) -> T:
        """Read the kernel between two syncs and make a view of it, in a thread.

        Args:
            view: may look at the reconciler's desired state, which stays as it is
                meanwhile.
        """
        async with self._lock:
            return await asyncio.to_thread(lambda: view(self._reconciler.observe()))

    @property
    def problem_book(self) -> ProblemBook:
        """Everything wrong with any object, or with telling others of it."""
        return self._problems.book

    def is_healthy(self) -> bool:
        """Whether no event has been waiting for two sync periods to be imposed.

        One that a refused op concerns was imposed as far as it can be.
        """
        return not self._progress.is_late(self._clock())

    def pending_s(self) -> float | None:
        """For how long the oldest event has been waiting, None without one."""
        return self._progress.pending_s(self._clock())

    @property
    def is_holding(self) -> bool:
        """Whether something stays in the kernel since it may be wanted."""
        return self._reconciler.hold is not None

    def audited_s_ago(self) -> float | None:
        """Seconds since the last audit ended, None before the first."""
        then = self.state.audited_at_s
        return None if then is None else self._clock() - then

    async def _watch(self) -> None:
        # Before anybody looks up a name: a name server may be what is in the way.
        await self._recover(frozenset())
        async with aclosing(self._source.events()) as events:
            async for event in events:
                if isinstance(event, ApiServersFound) and not self._complete.is_set():
                    await self._recover(event.servers)
                if self._reconciler.take_event(event):
                    self.changes.heard(event)
                self._progress.queued(self._clock())
                if isinstance(event, Synced):
                    _log.info("source complete", source=self._source.description)
                    self._complete.set()
                self._dirty.set()

    async def _recover(self, api: frozenset[ApiServer]) -> None:
        """Free the way to the API server, as far as anything is in it."""
        async with self._lock:
            try:
                done = await asyncio.to_thread(self._reconciler.recover, api)
            except (KernelError, WireError) as error:
                _log.error("recovery failed", reason=str(error))
                return
        if done is not None:
            words = self._reconciler.words
            _log.warning(
                "the way to the API server was taken by VIPs",
                removed=[op.words(words) for op in done.plan],
                failed=[failed.words(words) for failed in done.report.failed],
            )

    async def _audit_forever(self) -> None:
        # Nothing is programmed before the whole cluster is known: a half-known one
        # would take away what is not known yet.
        await self._complete.wait()
        while True:
            await self._audit_until_clean()
            timer = asyncio.ensure_future(self._sleep(self._config.sync_period_s))
            wanted = asyncio.ensure_future(self._audit_wanted.wait())
            try:
                await asyncio.wait({timer, wanted}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
                wanted.cancel()

    async def _audit_until_clean(self) -> None:
        """Audit; if ops failed, again after growing pauses, until none does."""
        retrying = AsyncRetrying(
            wait=wait_exponential(multiplier=0.5, max=30) + wait_random(0, 0.5),
            retry=retry_if_result(lambda clean: not clean),
            sleep=self._sleep,
        )
        await retrying(self._audit)

    async def _audit(self) -> bool:
        # A request that arrives now may concern state already read; keep it.
        self._audit_wanted.clear()
        try:
            done = await self._audit_in_steps() if self.state.synced else None
            if done is None:
                done = await self._audit_at_once()
        except (KernelError, WireError) as error:
            _log.error("audit failed", reason=str(error))
            return False
        report = done.report
        self.state.audits += 1
        self.state.audited_at_s = self._clock()
        self.state.synced = True
        self._audited.set()
        failed = _to_try_again(report)
        self.state.failed_ops = len(failed)
        self._tell("audit", report, done.programmed)
        return not failed

    async def _audit_at_once(self) -> AuditDone:
        async with self._lock:
            host = await asyncio.to_thread(self._reconciler.read_host)
            # What is dirty so far is this audit's business, not a sync's.
            self._dirty.clear()
            self._take(await take_turns(self._reconciler.prepare_in_steps(host)))
            observed = await asyncio.to_thread(self._reconciler.observe)
            absorbed = await take_turns(self._reconciler.absorb_in_steps(observed))
            self._unimposed += (absorbed,)
            report = await asyncio.to_thread(self._reconciler.impose, observed)
            return await self._audit_done(report)

    async def _audit_in_steps(self) -> AuditDone | None:
        """Syncs run in between; None, with nothing done, if none may."""
        begun = self._clock()
        observed = await self._walk(self._reconciler.observe_in_steps())
        async with self._lock:
            # Compiles, maybe, and so reads the store that events are put into here.
            absorbed = await take_turns(self._reconciler.absorb_in_steps(observed))
            self._unimposed += (absorbed,)
        report = await self._walk(self._reconciler.impose_in_steps(observed))
        if report is None:
            return None
        report = msgspec.structs.replace(report, duration_s=self._clock() - begun)
        async with self._lock:
            return await self._audit_done(report)

    async def _audit_done(self, report: SyncReport) -> AuditDone:
        """Take note of an audit's end, and tell of it."""
        changes = self._unimposed
        programmed: tuple[Programmed, ...] = ()
        # After a sync that failed meanwhile, another audit follows at once.
        if not self._audit_wanted.is_set():
            self._progress.imposed_all()
            self._unimposed = ()
            programmed = self.changes.imposed_all()
            self.state.imposed_at_s = self._wall_clock()
        done = AuditDone(
            report=report,
            changes=changes,
            is_first=not self.state.audits,
            programmed=programmed,
        )
        await self._observer.audited(done)
        return done

    async def _walk(self, steps: Generator[bool | None, None, T]) -> T:
        """Do steps in a thread, each under the lock unless it yields False before."""

        def step() -> tuple[bool | None, T | None]:
            try:
                return next(steps) is not False, None
            except StopIteration as done:
                return None, done.value

        needs_lock: bool | None = True
        result = None
        while needs_lock is not None:
            async with self._lock if needs_lock else nullcontext():
                needs_lock, result = await asyncio.to_thread(step)
        return cast("T", result)

    async def _sync_forever(self) -> None:
        await self._audited.wait()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            is_done = await self._sync()
            if self._reconciler.has_large:
                self._large.set()
            if self._reconciler.has_parts:
                self._dirty.set()
                if is_done:
                    continue
            await self._sleep(self._config.min_sync_period_s)

    async def _sync(self) -> bool:
        """Impose what is dirty, or as much as keeps nobody waiting; whether it was."""
        async with self._lock:
            change = self._reconciler.prepare_some()
            self._take(change)
            if change.needs_audit:
                self._audit_wanted.set()
                return False
            try:
                report = await asyncio.to_thread(self._reconciler.sync, change)
            except (KernelError, WireError) as error:
                _log.error("sync failed", reason=str(error))
                self._audit_wanted.set()
                return False
            self._progress.imposed_taken()
            self._unimposed = self._unimposed[:-1]
            programmed = self.changes.imposed_taken()
            self.state.imposed_at_s = self._wall_clock()
            await self._observer.synced(
                SyncDone(report=report, change=change, programmed=programmed)
            )
        self.state.syncs += 1
        failed = _to_try_again(report)
        self.state.failed_ops += len(failed)
        self._tell("sync", report, programmed)
        if failed:
            self._audit_wanted.set()
        return True

    async def _compile_forever(self) -> None:
        """Compile large Services in a thread; syncs put them into place."""
        while True:
            await self._large.wait()
            self._large.clear()
            async with self._lock:
                if not self._reconciler.has_large:
                    continue
                steps = self._reconciler.compile_large()
                work = next(steps, None)
            while work is not None:
                await asyncio.to_thread(work)
                work = next(steps, None)
            self._dirty.set()

    async def _end_drains_forever(self) -> None:
        while True:
            await self._sleep(DRAIN_CHECK_S)
            # After a change of many, all at once would keep others waiting.
            for keys in parts(self._reconciler.draining, DRAINS_AT_ONCE):
                await self._check_drains(frozenset(keys))
            self._drain_log.end("drain check")

    async def _check_drains(self, keys: frozenset[VirtualServerKey]) -> None:
        async with self._lock:
            change = self._reconciler.recheck_drains(keys)
            try:
                report = await asyncio.to_thread(self._reconciler.sync, change)
            except (KernelError, WireError) as error:
                _log.error("drain check failed", reason=str(error))
                self._audit_wanted.set()
                return
            if report.plan:
                await self._observer.synced(SyncDone(report=report, change=change))
                self._drain_log.add(report, _to_try_again(report))

    def _tell_doubts(self, doubts: tuple[str, ...]) -> None:
        """Log what of the input cannot be read any more, or can again."""
        for doubt in doubts:
            if doubt not in self._known_doubts:
                _log.warning("input not known", reason=doubt)
        if doubts and self.is_holding:
            _log.warning("deletions held", until="all of the input can be read")
        if not doubts:
            _log.info("input known")
        self._known_doubts = doubts

    def _take(self, change: DesiredChange) -> None:
        """All events so far are about to be imposed."""
        self._progress.taken()
        self.changes.taken()
        self._unimposed += (change,)

    def _tell(
        self,
        what: str,
        report: SyncReport,
        programmed: tuple[Programmed, ...] = (),
    ) -> None:
        """Log a sync or an audit, and problems as they appear."""
        # The others are problems, and said once.
        self._sync_log.add(report, _to_try_again(report), programmed)
        if what != "sync" or not self._reconciler.has_parts:
            self._sync_log.end(what)
        doubts = self._reconciler.doubts
        if doubts != self._known_doubts:
            self._tell_doubts(doubts)
        self._problems.tell(self._clock(), self._reconciler.unfinished)


def _to_try_again(report: SyncReport) -> tuple[FailedOp, ...]:
    failed = report.report.failed
    return tuple(f for f in failed if not is_lasting(f)) if failed else failed
