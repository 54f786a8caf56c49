"""What metrics say of the moment: read when they are asked for.

Without asking the kernel or the worker, which may be waiting for the kernel: what the
worker changes is looked up as `DesiredLookups` says.
"""

import time
from collections.abc import Callable, Generator

from ipvsctl.cluster.store import Store
from ipvsctl.controller.loop import Loop
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.problem import Kind
from ipvsctl.model.relay import Refusal, RelayFigures
from ipvsctl.model.source_state import source_state
from ipvsctl.model.watch_health import WatchHealth
from ipvsctl.plan.report.counts import count_problems, count_servers_in_steps
from ipvsctl.plan.report.why import Lack
from ipvsctl.serve import metric_table as table
from ipvsctl.serve.metrics import Metrics

_ENDPOINTS = (Kind.ENDPOINT_SLICE, Kind.ENDPOINTS)


class Gauges:
    """Brings metrics up to the moment.

    Args:
        metrics: where to.
        loop: its state.
        reconciler: what may be asked of it in any thread.
        store: what was heard.
        wall_clock: seconds since the epoch.
        relayed: how much was relayed on localhost; None if nothing is.
    """

    def __init__(
        self,
        metrics: Metrics,
        loop: Loop,
        reconciler: Reconciler,
        store: Store,
        wall_clock: Callable[[], float] = time.time,
        relayed: Callable[[], RelayFigures | None] = lambda: None,
    ) -> None:
        self._relayed = relayed
        self._told = RelayFigures()
        self._wall_clock = wall_clock
        self._metrics = metrics
        self._loop = loop
        self._reconciler = reconciler
        self._store = store
        self._service_changes = 0
        self._endpoint_changes = 0
        self._restarts: dict[tuple[Kind, str], int] = {}

    def refresh_in_steps(
        self, watches: tuple[WatchHealth, ...]
    ) -> Generator[None, None, None]:
        """Have the metrics say how things are now, in steps of some milliseconds."""
        self._set_loop()
        self._set_changes()
        yield from self._set_servers()
        self._set_drains()
        self._set_localhost()
        self._set_problems()
        self._set_watches(watches)
        self._set_source(watches)

    def _set_loop(self) -> None:
        state = self._loop.state
        self._metrics.set(table.READY, to=state.synced)
        self._metrics.set(table.OLDEST_CHANGE, to=self._loop.pending_s() or 0)
        for metric, time_s in (
            (table.LAST_SYNC, state.imposed_at_s),
            (table.LAST_QUEUED, self._loop.backlog.changed_at_s),
        ):
            for family in self._reconciler.context.families:
                self._metrics.set(metric, family.label, to=time_s or 0)
        ages_s = self._loop.state.read_ages_s()
        for part in state.read_at_s:
            self._metrics.set(
                table.PART_READ, part.value, to=self._wall_clock() - ages_s[part]
            )

    def _set_changes(self) -> None:
        totals, pending = self._loop.backlog.totals, self._loop.backlog.pending
        services = totals.get(Kind.SERVICE, 0)
        endpoints = sum(totals.get(kind, 0) for kind in _ENDPOINTS)
        metrics = self._metrics
        metrics.add(table.SERVICE_CHANGES, by=services - self._service_changes)
        metrics.add(table.ENDPOINT_CHANGES, by=endpoints - self._endpoint_changes)
        self._service_changes, self._endpoint_changes = services, endpoints
        metrics.set(table.SERVICE_CHANGES_PENDING, to=pending.get(Kind.SERVICE, 0))
        metrics.set(
            table.ENDPOINT_CHANGES_PENDING,
            to=sum(pending.get(kind, 0) for kind in _ENDPOINTS),
        )

    def _set_servers(self) -> Generator[None, None, None]:
        desired, node = self._reconciler.desired, self._reconciler.context
        counts = yield from count_servers_in_steps(desired, self._store, node)
        self._metrics.set(table.VIRTUAL_SERVERS, to=counts.virtual_servers)
        self._metrics.set(table.REAL_SERVERS, to=counts.real_servers)
        self._metrics.set(table.EMPTY_VIRTUAL_SERVERS, to=counts.without_real_servers)
        self._metrics.set_all(
            table.NO_LOCAL_ENDPOINTS,
            {
                (family.label, policy): counts.without_local_endpoints.get(
                    (family, policy), 0
                )
                for family in self._reconciler.context.families
                for policy in ("internal", "external")
            },
        )

        self._metrics.set_all(
            table.PORTS_WITHOUT_ENDPOINTS,
            {
                (family.label, lack.value): counts.ports_without_endpoints.get(
                    (family, lack), 0
                )
                for family in node.families
                for lack in Lack
                if lack is not Lack.NONE
            },
        )

    def _set_localhost(self) -> None:
        now = self._relayed()
        if now is None:
            return
        before, self._told = self._told, now
        metrics = self._metrics
        metrics.set(table.LOCALHOST_CONNECTIONS, to=now.connections)
        metrics.add(table.LOCALHOST_RELAYED, by=now.relayed - before.relayed)
        for reason in Refusal:
            more = now.refused.get(reason, 0) - before.refused.get(reason, 0)
            metrics.add(table.LOCALHOST_REFUSED, reason.value, by=more)
        for direction, count in (
            ("in", now.bytes_in - before.bytes_in),
            ("out", now.bytes_out - before.bytes_out),
        ):
            metrics.add(table.LOCALHOST_BYTES, direction, by=count)

    def _set_drains(self) -> None:
        ages_s = self._reconciler.drain_ages_s().values()
        self._metrics.set(table.DRAINING, to=len(ages_s))
        self._metrics.set(table.OLDEST_DRAIN, to=max(ages_s, default=0))

    def _set_problems(self) -> None:
        by_kind, refused_vips = count_problems(self._loop.problem_book.each())
        self._metrics.set(table.REFUSED_VIPS, to=refused_vips)
        self._metrics.set_all(
            table.PROBLEMS, {(kind.value,): count for kind, count in by_kind.items()}
        )

    def _set_source(self, watches: tuple[WatchHealth, ...]) -> None:
        age_s = source_state("", watches).age_s
        if age_s is not None:
            self._metrics.set(table.SOURCE_AGE, to=age_s)
        self._metrics.set(table.INPUT_UNREAD, to=len(self._store.vouched().doubts))
        self._metrics.set(table.DELETIONS_HELD, to=self._loop.is_holding)

    def _set_watches(self, watches: tuple[WatchHealth, ...]) -> None:
        for watch in watches:
            kind = watch.kind.value
            self._metrics.set(table.WATCH_CONNECTED, kind, to=watch.is_connected)
            if watch.heard_s is not None:
                self._metrics.set(table.WATCH_AGE, kind, to=watch.heard_s)
            for reason, count in watch.restarts.items():
                before = self._restarts.get((watch.kind, reason), 0)
                self._metrics.add(table.WATCH_RESTARTS, kind, reason, by=count - before)
                self._restarts[watch.kind, reason] = count
