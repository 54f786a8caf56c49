"""One audit: read everything, compare it with everything, impose the difference.

A sync imposes what it is about on its own, so whatever a sync has touched since the
audit began is left out of its plan: what was read of it is not true any more. The next
audit looks at it again. All other ops are as right, and in as safe an order, as if no
sync had run: none of them is about what another is about.
"""

from collections.abc import Container, Mapping
from typing import Final

import msgspec

from ipvsctl.cluster.taken import Taken
from ipvsctl.controller.jobs import Aftermath, aftermath
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.sync_report import SyncReport, confirm
from ipvsctl.libraries.log import structlog
from ipvsctl.model.config import Listener
from ipvsctl.model.errors import KernelError, WireError
from ipvsctl.model.host import HostNetwork
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.parts import Part
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.steps import Step, Steps, exclusively, parts
from ipvsctl.plan.diff.concurrent_changes import ConcurrentChanges
from ipvsctl.plan.diff.kinds import ObjectKind, Verb
from ipvsctl.plan.diff.ops import (
    AddRealServer,
    AddVirtualServer,
    FailedOp,
    Op,
    Plan,
    Report,
)
from ipvsctl.plan.diff.plan import diff_in_steps, drains, with_held
from ipvsctl.plan.diff.ramp import Ramps
from ipvsctl.plan.service.program import LocalhostPort
from ipvsctl.plan.union.desired_change import DesiredChange
from ipvsctl.plan.union.health_checks import ServiceHealth

_log = structlog.get_logger("ipvsctl")

STEP_OPS: Final = 400
"""Ops that are imposed in one step: some ten milliseconds."""

STEP_KEYS: Final = 1000
"""Virtual servers whose drains are looked for in one step."""


class AuditOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit has come to.

    Attributes:
        context: of this node, as everything was compiled for it.
        health_checks: what every health-check node port answers.
        localhost_ports: every listener on localhost, with whose it is.
    """

    report: SyncReport
    context: NodeContext
    health_checks: Mapping[int, ServiceHealth]
    localhost_ports: Mapping[Listener, LocalhostPort]
    aftermath: Aftermath


_SETS: Final = frozenset({ObjectKind.SET, ObjectKind.FIREWALL})


class AuditRun:
    """An audit under way; to be walked by the worker, once.

    Attributes:
        changes: what of the desired state it has changed so far.
        touched: what syncs have changed since it began.
    """

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._begun_s = reconciler.clock()
        self.changes: tuple[DesiredChange, ...] = ()
        self.touched = ConcurrentChanges()

    def alone(self, taken: Taken, *, has_rules: bool) -> Steps[AuditOutcome]:
        """Do all of it, with what is dirty; no other job may come between two steps.

        Args:
            taken: of the store.
            has_rules: with rules, although whoever holds their lock keeps everybody
                waiting; so they are, once others wait, the next audit's business.

        Raises:
            KernelError: something could not be read.
            WireError: the kernel's answer could not be understood.
            UnreadKernel: the first time, what says whose things are.
        """
        reconciler = self._reconciler
        # Everything is compiled for the host's addresses, so these are read first.
        host = self._host(taken)
        yield Step.EXCLUSIVE
        change = yield from reconciler.prepare_in_steps(taken, host)
        self.changes += (change,)
        yield Step.EXCLUSIVE
        observed = yield from self._observe(has_rules=has_rules)
        return self._outcome(reconciler.impose(observed))

    def _host(self, taken: Taken) -> HostNetwork | None:
        """The node's own network; None, once it is known, if it cannot be read."""
        try:
            return self._reconciler.kernel.read_host()
        except (KernelError, WireError):
            if self._reconciler.has_absorbed:
                return None
            # The store has told it, and tells it once.
            self._reconciler.hear(taken)
            raise

    def between_syncs(self) -> Steps[AuditOutcome | None]:
        """Do all of it but for compiling what is dirty, while syncs do that.

        Returns:
            None, and then nothing was imposed, if no sync may run meanwhile.

        Raises:
            KernelError: something could not be read.
            WireError: the kernel's answer could not be understood.
        """
        with self._reconciler.followed(self.touched):
            observed = yield from self._observe(has_rules=True)
            report = yield from self._impose(observed)
        return None if report is None else self._outcome(report)

    def _observe(self, *, has_rules: bool) -> Steps[Observed]:
        reconciler = self._reconciler
        observed = yield from reconciler.read_in_steps(has_rules=has_rules)
        yield Step.EXCLUSIVE
        before = reconciler.vip_choice
        change = yield from reconciler.absorb_in_steps(observed, self.touched)
        self.changes += (change,)
        choice = reconciler.vip_choice
        if choice is not before and choice is not None:
            # To go from one way to the other may take seconds, for which this is why.
            way = choice.binding.value
            _log.info("VIPs", binding=way, wanted=choice.wanted, setting="auto")
        yield Step.EXCLUSIVE
        return observed

    def _impose(self, observed: Observed) -> Steps[SyncReport | None]:
        reconciler = self._reconciler
        # Follows the changes of syncs.
        desired = reconciler.desired.state()
        imposer = reconciler.imposer
        options = imposer.options()
        imposer.holding.know(desired)
        yield Step.EXCLUSIVE
        plan = yield from exclusively(diff_in_steps(observed, desired, options))
        if any(self._remakes_set(op) for op in plan):
            # Entries that come meanwhile would be lost with the old set.
            return None
        plan, report = yield from self._apply(plan)
        imposer.holding.audited(options.hold)
        if options.hold is not None:
            desired = with_held(observed, desired, options.hold, options.foreign)
        yield from self._note_drains(observed, desired, options.ramps)
        confirm(reconciler.desired, plan, report)
        return SyncReport(
            plan=plan,
            report=report,
            observed=observed,
            touched=self.touched.keys,
            duration_s=reconciler.clock() - self._begun_s,
        )

    def _remakes_set(self, op: Op) -> bool:
        is_set = op.kind is ObjectKind.SET and not _is_goodbye(op)
        return is_set and not self.touched.concerns(op)

    def _apply(self, plan: Plan) -> Steps[tuple[Plan, Report]]:
        """Do what no sync was about; what was done.

        Rules come late, beside syncs: no other op waits for the lock of iptables, but
        the sets that they let go of.
        """
        rules = tuple(op for op in plan if op.kind is ObjectKind.RULES)
        sets = tuple(op for op in plan if _is_goodbye(op))
        rest = tuple(
            op for op in plan if op.kind is not ObjectKind.RULES and not _is_goodbye(op)
        )
        done, report = yield from self._apply_between_syncs(rest)
        reports = [report]
        if rules:
            yield Step.SHARED
            reports.append(self._reconciler.imposer.apply(rules))
            yield Step.EXCLUSIVE
            self._reconciler.note_ops(rules, self.touched)
        if sets:
            _, report = yield from self._apply_between_syncs(sets)
            reports.append(report)
        return (*done, *rules, *sets), Report(
            applied=sum(report.applied for report in reports),
            failed=tuple(failed for report in reports for failed in report.failed),
        )

    def _apply_between_syncs(self, plan: Plan) -> Steps[tuple[Plan, Report]]:
        done: list[Op] = []
        failed: list[FailedOp] = []
        # A kernel keeps real servers from these, if it is asked for both at once.
        refused: set[VirtualServerKey] = set()
        for some in parts(plan, STEP_OPS):
            yield Step.EXCLUSIVE
            ops = tuple(
                op
                for op in some
                if not (self.touched.concerns(op) or _is_in(op, refused))
            )
            report = self._reconciler.imposer.apply(ops)
            self._reconciler.note_ops(ops, self.touched)
            refused.update(
                failure.op.server.key
                for failure in report.failed
                if isinstance(failure.op, AddVirtualServer)
            )
            done += ops
            failed += report.failed
        return tuple(done), Report(
            applied=len(done) - len(failed), failed=tuple(failed)
        )

    def _note_drains(
        self, observed: Observed, desired: NodeState, ramps: Ramps | None
    ) -> Steps[None]:
        """Tell the clocks what drains and what grows, but for what a sync has told."""
        if Part.IPVS in observed.blind:
            return
        clock = self._reconciler.imposer.drain_clock
        ramp_clock = self._reconciler.imposer.ramp_clock
        ramp_clock.keep(desired.virtual_servers)
        gone = clock.keys - desired.virtual_servers.keys()
        clock.update(gone, (), self._reconciler.clock())
        for some in parts(tuple(desired.virtual_servers), STEP_KEYS):
            yield Step.EXCLUSIVE
            keys = frozenset(key for key in some if not self.touched.has(key))
            found = drains(observed, desired, keys)
            clock.update(keys, found, self._reconciler.clock())
            ramp_clock.update(ramps, keys, observed, desired)

    def _outcome(self, report: SyncReport) -> AuditOutcome:
        reconciler = self._reconciler
        return AuditOutcome(
            report=report,
            context=reconciler.context,
            health_checks=dict(reconciler.desired.health_checks()),
            localhost_ports=dict(reconciler.desired.localhost_ports()),
            aftermath=aftermath(reconciler),
        )


def _is_goodbye(op: Op) -> bool:
    """Whether something goes that rules refer to, and no sync puts anything into."""
    return op.kind in _SETS and op.verb is Verb.DELETE


def _is_in(op: Op, refused: Container[VirtualServerKey]) -> bool:
    return isinstance(op, AddRealServer) and op.virtual_server in refused
