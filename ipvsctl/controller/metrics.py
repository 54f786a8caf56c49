"""What metrics say of audits and syncs: an observer that counts.

It is told between two syncs and keeps nobody waiting: what takes long is done later, by
a task of its own, in pieces.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from errno import errorcode
from typing import Final

from ipvsctl.controller.observers import AuditDone, SyncDone
from ipvsctl.controller.refused_settings import is_lasting
from ipvsctl.model.net import IPFamily
from ipvsctl.model.parts import EVIDENCE, Part
from ipvsctl.model.problem import Problem
from ipvsctl.model.subject import RulesSubject
from ipvsctl.plan.diff.ops import DeleteVirtualServer, FailedOp
from ipvsctl.plan.report.arrivals import Arrivals, arrivals_since, count_arrivals
from ipvsctl.plan.report.counts import count_foreign
from ipvsctl.plan.report.drift import DRIFTING_KINDS, find_drift
from ipvsctl.plan.report.full import count_full
from ipvsctl.plan.report.traffic import Traffic, TrafficLedger
from ipvsctl.plan.union.frozen import DesiredLookups
from ipvsctl.serve import metric_table as table
from ipvsctl.serve.metrics import Metrics

_PIECE: Final = 500
"""Virtual servers whose traffic is added up before others have their turn: about a
millisecond."""


class MetricsObserver:
    """Counts what is done; see `Observer`.

    Args:
        metrics: where to.
        desired: what says which Service has a virtual server.
        families: those of the kernel.
        alone: how many Services have traffic metrics of their own; 0 is no traffic
            metrics.
    """

    def __init__(
        self,
        metrics: Metrics,
        desired: DesiredLookups,
        families: Collection[IPFamily],
        alone: int,
    ) -> None:
        self._metrics = metrics
        self._desired = desired
        self._families = frozenset(families)
        self._ledger = TrafficLedger(alone) if alone else None
        self._done: asyncio.Queue[AuditDone | SyncDone] = asyncio.Queue()
        self._tried: frozenset[str] = frozenset()
        self._arrivals: Mapping[IPFamily, Arrivals] = {}
        for kind in sorted(DRIFTING_KINDS):
            metrics.add(table.DRIFT_FOUND, kind, by=0)
            metrics.add(table.DRIFT_REPAIRED, kind, by=0)
        for family in self._families:
            metrics.add(table.RESTORE_FAILURES, family.label, by=0)

    async def audited(self, done: AuditDone) -> None:
        """See `Observer`."""
        self._observe(table.FULL_SYNC_DURATION, self._families, done)
        self._done.put_nowait(done)

    async def synced(self, done: SyncDone) -> None:
        """See `Observer`."""
        touched = {key.family for key in done.change.keys}
        families = touched or self._families
        self._observe(table.PARTIAL_SYNC_DURATION, families, done)
        self._done.put_nowait(done)

    def problems(self) -> tuple[Problem, ...]:
        """See `Observer`."""
        return ()

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Observer`."""

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            # In no variable of ours, which would keep all that an audit has read until
            # the next one.
            await self._count(await self._done.get())
            self._done.task_done()

    async def settle(self) -> None:
        """Return when all that was told has been counted."""
        await self._done.join()

    def _observe(
        self,
        metric: table.Metric,
        families: Iterable[IPFamily],
        done: AuditDone | SyncDone,
    ) -> None:
        labels = [(family.label,) for family in families]
        for one in (table.SYNC_DURATION, metric):
            self._metrics.observe(one, done.report.duration_s, labels=labels)
        for programmed in done.programmed:
            self._metrics.observe(
                table.PROGRAMMING_DURATION,
                programmed.duration_s,
                labels=[(programmed.family.label,)],
            )

    async def _count(self, done: AuditDone | SyncDone) -> None:
        if isinstance(done, AuditDone):
            await self._count_audit(done)
        else:
            await self._count_sync(done)

    async def _count_audit(self, done: AuditDone) -> None:
        observed = done.report.observed
        if not observed.blind & EVIDENCE:
            foreign = await asyncio.to_thread(count_foreign, observed, self._desired)
            self._metrics.set(table.FOREIGN_VIRTUAL_SERVERS, to=foreign)
            full = await asyncio.to_thread(count_full, observed)
            self._metrics.set(table.FULL_VIRTUAL_SERVERS, to=full)
        self._count_arrivals(done)
        if not done.is_first:
            found, repaired = await asyncio.to_thread(_drift, done, self._tried)
            for metric, counts in (
                (table.DRIFT_FOUND, found),
                (table.DRIFT_REPAIRED, repaired),
            ):
                for kind, count in counts.items():
                    self._metrics.add(metric, kind, by=count)
        self._tried = self._count_failed(done.report.report.failed)
        await self._count_traffic(done)
        if self._ledger is not None and Part.IPVS not in observed.blind:
            report = done.report
            self._ledger.keep(report.observed.traffic.keys() | report.touched)
            self._publish(self._ledger.choose(dict(self._desired.programs).keys()))

    def _count_arrivals(self, done: AuditDone) -> None:
        """Add up packets out of tunnels since the last look; the first adds none."""
        observed = done.report.observed
        if observed.blind & EVIDENCE:
            return
        before, self._arrivals = self._arrivals, count_arrivals(observed)
        for family, now in self._arrivals.items():
            received, balanced = arrivals_since(
                now if done.is_first else before.get(family), now
            )
            self._metrics.add(table.TUNNEL_RECEIVED, family.label, by=received)
            self._metrics.add(table.TUNNEL_BALANCED, family.label, by=balanced)

    async def _count_sync(self, done: SyncDone) -> None:
        self._tried |= self._count_failed(done.report.report.failed)
        await self._count_traffic(done)
        if self._ledger is not None:
            self._publish(self._ledger.take())

    def _count_failed(self, failed: Collection[FailedOp]) -> frozenset[str]:
        for failure in failed:
            if is_lasting(failure) and str(failure.op) in self._tried:
                # Each audit tries, and meets the same.
                continue
            name = type(failure.op).__name__
            error = errorcode.get(failure.errno, str(failure.errno))
            self._metrics.add(table.FAILED_OPS, _snake_case(name), error)
            subject = failure.op.subject
            if isinstance(subject, RulesSubject):
                self._metrics.add(table.RESTORE_FAILURES, subject.family.label)
        return frozenset(str(failure.op) for failure in failed)

    async def _count_traffic(self, done: AuditDone | SyncDone) -> None:
        """Add up what was read, and forget what was deleted after that."""
        ledger = self._ledger
        if ledger is None:
            return
        is_first = isinstance(done, AuditDone) and done.is_first
        count = ledger.begin if is_first else ledger.count
        read = list(done.report.observed.traffic.items())
        for start in range(0, len(read), _PIECE):
            for key, stats in read[start : start + _PIECE]:
                if key in done.report.touched:
                    # The sync has told a later count, or that it is gone.
                    continue
                program = self._desired.server(key)
                owner = program.port_name.service if program is not None else None
                count(key, owner, stats)
            await asyncio.sleep(0)
        for op in done.report.plan:
            if isinstance(op, DeleteVirtualServer):
                ledger.forget(op.key)

    def _publish(self, traffic: Traffic) -> None:
        for ref, stats in traffic.added.items():
            labels = (ref.namespace, ref.name)
            self._metrics.add(table.CONNECTIONS, *labels, by=stats.connections)
            self._metrics.add(table.PACKETS_IN, *labels, by=stats.packets_in)
            self._metrics.add(table.PACKETS_OUT, *labels, by=stats.packets_out)
            self._metrics.add(table.BYTES_IN, *labels, by=stats.bytes_in)
            self._metrics.add(table.BYTES_OUT, *labels, by=stats.bytes_out)
        for ref in traffic.gone:
            for metric in table.TRAFFIC_METRICS:
                self._metrics.remove(metric, ref.namespace, ref.name)


def _drift(
    done: AuditDone, tried: Collection[str]
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """What was found and what of it was repaired, by kind of object."""
    report = done.report
    found = list(find_drift(report.plan, report.observed, done.changes, tried))
    failed = {str(failure.op) for failure in report.report.failed}
    repaired = [op for op in found if not (failed and str(op) in failed)]
    return (
        Counter(op.kind for op in found),
        Counter(op.kind for op in repaired),
    )


def _snake_case(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
