"""From a desired state to the kernel: compare what was read with it, and apply."""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from ipvsctl.controller.compile_queue import Pace
from ipvsctl.controller.crowds import Crowds, Cut
from ipvsctl.controller.drains import DrainClock
from ipvsctl.controller.holding import Holding
from ipvsctl.controller.ramp_clock import RampClock
from ipvsctl.controller.sync_report import SyncReport, confirm, with_refusals
from ipvsctl.kernel.interface import Kernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import KernelError, WireError
from ipvsctl.model.ipvs import RealServers, VirtualServerKey
from ipvsctl.model.parts import Part
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.diff.ops import DeleteRealServer, Plan, Report
from ipvsctl.plan.diff.plan import DiffOptions, Drain, diff, drains, with_held
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.desired_change import DesiredChange
from ipvsctl.plan.union.program_parts import PART


class Imposer:
    """Imposes one desired state on one kernel, whole or change by change.

    For one thread, the worker's.

    Attributes:
        drain_clock: how long real servers drain.
        ramp_clock: how long they have been getting more weight.
        holding: what may not be taken from the kernel.
        crowds: the virtual servers that are changed portion by portion.
        pace: how much a change may have.
    """

    def __init__(
        self,
        *,
        kernel: Kernel,
        config: ProxyConfig,
        desired: Desired,
        clock: Callable[[], float],
        lasts: bool,
    ) -> None:
        self._kernel = kernel
        self._config = config
        self._desired = desired
        self._clock = clock
        self.drain_clock = DrainClock(self._drain_limit_s)
        self.ramp_clock = RampClock(desired, clock, lasts=lasts)
        self.holding = Holding(desired)
        self.crowds = Crowds()
        self.pace = Pace()

    def sync(self, change: DesiredChange) -> SyncReport:
        """Impose a change, reading only what it touches.

        What it has that is fresh, and in the kernel all the same, is left out as if the
        kernel had refused it; the audit that follows finds out whose it is. Of a crowd
        a portion is imposed.
        """
        try:
            return self._sync(change)
        except (KernelError, WireError):
            # Nobody knows how far it came; an audit follows.
            self.crowds.forget()
            raise

    def impose(self, observed: Observed, begun_s: float) -> SyncReport:
        """Impose all of it.

        Args:
            observed: the whole state.
            begun_s: when that began.
        """
        # Every drain known of is looked at again, or its virtual server is gone.
        cut = Cut(observed=observed, desired=self._desired.state())
        done = self._apply(cut, self.drain_clock.keys, begun_s)
        self.ramp_clock.keep(cut.desired.virtual_servers)
        self.crowds.note(done.plan, done.report)
        self.holding.audited(self.holding.hold)
        return done

    def apply(self, ops: Plan) -> Report:
        """Do some ops of a plan."""
        report = self._kernel.apply(ops)
        self.crowds.note(ops, report)
        return report

    def options(
        self,
        taken: AbstractSet[VirtualServerKey] = frozenset(),
        whole: Mapping[VirtualServerKey, RealServers] = EMPTY,
    ) -> DiffOptions:
        """What a plan depends on besides the two states.

        Args:
            taken: virtual servers of others, beside those that are known.
            whole: see `DiffOptions`.
        """
        return DiffOptions(
            vip_link=self._config.vip_link,
            urgent=self._desired.urgent_addresses(),
            expired_drains=self.drain_clock.expired(self._clock()),
            exclude=self._config.exclude_cidrs,
            short_circuits=self._desired.short_circuits,
            hold=self.holding.hold,
            foreign=self._desired.foreign | taken if taken else self._desired.foreign,
            ramps=self.ramp_clock.ramps(),
            whole=whole,
        )

    def _drain_limit_s(self, key: VirtualServerKey) -> float:
        program = self._desired.server(key)
        limit_s = self._config.drain_timeout_s
        return limit_s if program is None else program.drain_timeout_s

    def _sync(self, change: DesiredChange) -> SyncReport:
        begun_s = self._clock()
        if self.holding.hold is not None:
            # What stays although it is not wanted would be looked for for ever.
            self.crowds.forget()
        # These may be another's, whatever there was before.
        self.crowds.forget(change.fresh)
        seen = self._kernel.observe_virtual_servers(
            change.keys - self.crowds.known, change.likely
        )
        observed = msgspec.structs.replace(
            seen,
            state=msgspec.structs.replace(
                change.presumed,
                virtual_servers=seen.state.virtual_servers,
                real_servers=seen.state.real_servers,
            ),
        )
        taken = change.fresh & seen.state.virtual_servers.keys()
        desired = self._desired.without(change, taken) if taken else change.desired
        cut = Cut(observed=observed, desired=desired)
        if self.holding.hold is None:
            # The kernel goes through all of them for each that comes.
            most = PART * self.pace.parts
            cut = self.crowds.cut(observed, desired, change.keys, most)
        done = self._apply(cut, change.keys - cut.crowds, begun_s, taken)
        self.crowds.note_cut(cut, done.plan, done.report)
        self.pace.note(done.duration_s)
        return with_refusals(done, change, taken) if taken else done

    def _apply(
        self,
        cut: Cut,
        looked_at: AbstractSet[VirtualServerKey],
        begun_s: float,
        taken: AbstractSet[VirtualServerKey] = frozenset(),
    ) -> SyncReport:
        observed, desired = cut.observed, cut.desired
        self.holding.know(desired)
        options = self.options(taken, cut.wanted)
        plan = diff(observed, desired, options)
        if options.hold is not None:
            desired = with_held(observed, desired, options.hold, options.foreign)
        report = self._kernel.apply(plan) if plan else Report(applied=0)
        confirm(self._desired, plan, report)
        now = self._clock()
        if Part.IPVS not in observed.blind:
            every = cut.desired.virtual_servers.keys() - cut.crowds
            self.ramp_clock.update(options.ramps, every, observed, cut.desired)
            self.drain_clock.update(looked_at, _left(plan, observed, desired), now)
            for key in cut.crowds:
                back = desired.real_servers.get(key, EMPTY)
                self.drain_clock.forget((key, one) for one in back)
        return SyncReport(
            plan=plan, report=report, observed=observed, duration_s=now - begun_s
        )


def _left(plan: Plan, observed: Observed, desired: NodeState) -> Iterator[Drain]:
    """What drains when a plan is done; what it could not delete is an audit's."""
    gone = {
        (op.virtual_server, op.key) for op in plan if isinstance(op, DeleteRealServer)
    }
    return (drain for drain in drains(observed, desired) if drain not in gone)
