"""From objects to the kernel and back: compile what is dirty, compare, apply.

Plain calls that may block; tasks and pace are the loop's business.
"""

import time
from collections.abc import Callable, Generator, Mapping
from collections.abc import Set as AbstractSet
from errno import EEXIST

import msgspec

from ipvsctl.cluster.events import Event
from ipvsctl.cluster.store import Store
from ipvsctl.controller.audit import impose_in_steps, note_drains_in_steps
from ipvsctl.controller.backlog import Pace
from ipvsctl.controller.compiler import Compiler
from ipvsctl.controller.drains import DrainClock
from ipvsctl.controller.holding import Holding
from ipvsctl.controller.turns import Steps, run_steps
from ipvsctl.kernel.interface import Kernel, Reading
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.host import ApiServer, HostNetwork
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.problem import ObjectRef, Problem
from ipvsctl.model.problem_book import ProblemBook
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.steps import finish
from ipvsctl.plan.diff.concurrent_changes import ConcurrentChanges
from ipvsctl.plan.diff.ops import AddVirtualServer, FailedOp, Plan, Report
from ipvsctl.plan.diff.plan import DiffOptions, Drain, Hold, diff, drains, with_held
from ipvsctl.plan.diff.recovery import api_keys, may_be_cut_off, plan_recovery
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.desired_change import DesiredChange


class SyncReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one sync or audit did.

    Attributes:
        plan: the ops that were to be done.
        report: what became of them.
        observed: what was read before, of a sync only what it touches.
        touched: virtual servers that syncs have changed after that, and told of.
        duration_s: reading, comparing and applying.
    """

    plan: Plan
    report: Report
    observed: Observed
    touched: frozenset[VirtualServerKey] = frozenset()
    duration_s: float


class Reconciler:
    """One node's desired state, kept up with events and imposed on its kernel.

    Two kinds of calls: those that compute on the desired state (`take_event`,
    `prepare`, `absorb` and their like) and those that talk to the kernel and leave that
    state as it is (`observe`, `sync`, `impose`). A loop may run the second kind in a
    thread, but no two calls at once, except for `take_event`, which only fills the
    store, and what `compile_large` yields, which looks at nothing that changes.
    """

    def __init__(
        self,
        *,
        kernel: Kernel,
        config: ProxyConfig,
        store: Store,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kernel = kernel
        self._config = config
        self._store = store
        self._clock = clock
        self._compiler = Compiler(
            config=config, store=store, capabilities=kernel.capabilities()
        )
        self._drain_clock = DrainClock(config.drain_timeout_s)
        self._pace = Pace()
        # What syncs are about while an audit runs in steps.
        self._touched: ConcurrentChanges | None = None
        self._holding = Holding(self.desired)

    @property
    def desired(self) -> Desired:
        """Every Service's program and their union."""
        return self._compiler.desired

    @property
    def context(self) -> NodeContext:
        """What is known of this node."""
        return self._compiler.context

    @property
    def words(self) -> FirewallWords:
        """What operators call the things of the kernel's firewall."""
        return self._kernel.words

    @property
    def hold(self) -> Hold | None:
        """What may not be taken from the kernel for now; None is nothing."""
        return self._holding.hold

    @property
    def doubts(self) -> tuple[str, ...]:
        """What could not be read of what the desired state was compiled from."""
        return self._holding.doubts

    @property
    def draining(self) -> frozenset[VirtualServerKey]:
        """Virtual servers with a real server that drains."""
        return self._drain_clock.keys

    def drain_ages_s(self) -> Mapping[Drain, float]:
        """For how many seconds each drain has been seen."""
        now = self._clock()
        return {drain: now - since for drain, since in self._drain_clock.since.items()}

    @property
    def problem_book(self) -> ProblemBook:
        """Everything wrong with any object: as read, and as compiled."""
        return self._compiler.problem_book

    def problems(self) -> tuple[Problem, ...]:
        """The same of all objects, sorted."""
        return self._compiler.problems()

    def take_event(self, event: Event) -> bool:
        """Put an event into the store; see `Store.apply`."""
        return self._store.apply(event)

    def read_host(self) -> HostNetwork:
        """The node's own network.

        Everything is compiled for its addresses, and again if they are others. So they
        are to be known before the first `prepare`, and not only when all has been read.
        """
        return self._kernel.read_host()

    def prepare(self, host: HostNetwork | None = None) -> DesiredChange:
        """Compile what is dirty; return what that changed.

        Args:
            host: the node's own network; None is the one known of.
        """
        return run_steps(self.prepare_in_steps(host))

    def prepare_in_steps(self, host: HostNetwork | None = None) -> Steps[DesiredChange]:
        """The same in steps; see `Compiler.compile_in_steps`."""
        change = yield from self._compiler.compile_in_steps(host)
        return self._vouched(change)

    def prepare_some(self) -> DesiredChange:
        """Compile some of what is dirty; see `Compiler.compile_some`."""
        return self._vouched(self._compiler.compile_some(self._pace.parts))

    @property
    def has_parts(self) -> bool:
        """Whether another `prepare_some` would have something to do."""
        return self._compiler.has_parts

    @property
    def has_large(self) -> bool:
        """Whether `compile_large` would have something to do."""
        return self._compiler.has_large

    @property
    def unfinished(self) -> ObjectRef | None:
        """The large Service that is compiled or put into place just now."""
        return self._compiler.unfinished

    def compile_large(self) -> Steps[None]:
        """Compile a large Service; `prepare_some` has parts of it then."""
        return self._compiler.compile_large()

    def recheck_drains(
        self, keys: AbstractSet[VirtualServerKey] | None = None
    ) -> DesiredChange:
        """Virtual servers that drain, to be looked at again; None is all of them."""
        return self._noted(
            self.desired.unchanged(self.draining if keys is None else keys)
        )

    def sync(self, change: DesiredChange) -> SyncReport:
        """Impose a change on the kernel, reading only what it touches.

        What it has that is fresh, and in the kernel all the same, is left out as if the
        kernel had refused it; the audit that follows finds out whose it is.
        """
        begun = self._clock()
        seen = self._kernel.observe_virtual_servers(change.keys)
        observed = msgspec.structs.replace(
            seen,
            state=msgspec.structs.replace(
                change.presumed,
                virtual_servers=seen.state.virtual_servers,
                real_servers=seen.state.real_servers,
            ),
        )
        taken = change.fresh & seen.state.virtual_servers.keys()
        desired = self.desired.without(change, taken) if taken else change.desired
        done = self._apply(observed, desired, change.keys, begun, taken)
        self._pace.note(done.duration_s)
        return _with_refusals(done, change, taken) if taken else done

    def observe(self) -> Observed:
        """Read the whole kernel state."""
        return finish(self._kernel.read_in_steps(self.desired.servers()))

    def observe_in_steps(self) -> Reading:
        """The same between syncs; `impose_in_steps` may follow."""
        self._touched = ConcurrentChanges()
        return self._kernel.read_in_steps(self.desired.servers())

    def absorb(self, observed: Observed) -> DesiredChange:
        """Take note of what is the kernel's to say; return what that changed.

        Recompiles for the node's own network, if it is not what it was; tells what
        is ours from what is others'. A mark that a sync gave out since `observed` was
        read was confirmed by that sync.
        """
        return run_steps(self.absorb_in_steps(observed))

    def absorb_in_steps(self, observed: Observed) -> Steps[DesiredChange]:
        """The same in steps; see `Compiler.compile_in_steps`."""
        hold = self.hold
        return self._compiler.absorb_in_steps(
            observed,
            self._touched_keys(),
            keeps_unwanted=hold is not None and hold.services,
        )

    def impose(self, observed: Observed) -> SyncReport:
        """Impose the whole desired state on the kernel."""
        return self._apply_all(observed, self._clock())

    def impose_in_steps(
        self, observed: Observed
    ) -> Generator[None, None, SyncReport | None]:
        """The same between syncs, without what they touch.

        Args:
            observed: what `observe_in_steps` read.

        Returns:
            None, and then nothing was done, if no sync may run meanwhile.
        """
        begun = self._clock()
        touched = self._touched or ConcurrentChanges()
        try:
            desired = self.desired.state()
            options = self._options()
            self._holding.know(desired)
            yield
            done = yield from impose_in_steps(
                self._kernel, observed, desired, options, touched
            )
            if done is None:
                return None
            self._holding.audited(options.hold)
            if options.hold is not None:
                desired = with_held(observed, desired, options.hold, options.foreign)
            yield from note_drains_in_steps(
                self._drain_clock, observed, desired, touched, self._clock
            )
        finally:
            self._touched = None
        plan, report = done
        self._confirm(plan, report)
        return SyncReport(
            plan=plan,
            report=report,
            observed=observed,
            touched=touched.keys,
            duration_s=self._clock() - begun,
        )

    def recover(self, api: frozenset[ApiServer]) -> SyncReport | None:
        """Free the way to the API server of what the kernel holds in it.

        To be called while the source has not told everything: see `plan.recovery`.

        Args:
            api: where it is asked; empty while that is not known.

        Returns:
            None if nothing is in the way.
        """
        begun = self._clock()
        host, vips = self._kernel.read_host(), self._kernel.read_vips()
        if not (may_be_cut_off(host, api, vips, self._config) or self._serves(api)):
            return None
        observed = self._kernel.observe()
        plan = plan_recovery(observed, api, self._config)
        if not plan:
            return None
        report = self._kernel.apply(plan)
        return SyncReport(
            plan=plan,
            report=report,
            observed=observed,
            duration_s=self._clock() - begun,
        )

    def plan(self, observed: Observed) -> Plan:
        """What `impose` would do."""
        return diff(observed, self.desired.state(), self._options())

    def held(self, observed: Observed) -> int:
        """How many ops more it would do, if nothing were held."""
        if self.hold is None:
            return 0
        options = msgspec.structs.replace(self._options(), hold=None)
        without = diff(observed, self.desired.state(), options)
        return len(without) - len(self.plan(observed))

    def audit(self) -> SyncReport:
        """Everything at once: compile, read, impose."""
        begun = self._clock()
        observed = self.survey()
        return self._apply_all(observed, begun)

    def survey(self) -> Observed:
        """Compile what is dirty and read the kernel; `plan` and `impose` may follow."""
        self.prepare(self.read_host())
        observed = self.observe()
        self.absorb(observed)
        return observed

    def _serves(self, api: frozenset[ApiServer]) -> bool:
        """Whether the kernel has a virtual server where the API server is asked."""
        keys = api_keys(api)
        return bool(keys) and bool(
            self._kernel.observe_virtual_servers(keys).state.virtual_servers
        )

    def _apply_all(self, observed: Observed, begun_s: float) -> SyncReport:
        # Every drain known of is looked at again, or its virtual server is gone.
        done = self._apply(
            observed, self.desired.state(), self._drain_clock.keys, begun_s
        )
        self._holding.audited(self.hold)
        return done

    def _apply(
        self,
        observed: Observed,
        desired: NodeState,
        looked_at: AbstractSet[VirtualServerKey],
        begun_s: float,
        taken: AbstractSet[VirtualServerKey] = frozenset(),
    ) -> SyncReport:
        self._holding.know(desired)
        options = self._options()
        if taken:
            foreign = options.foreign | taken
            options = msgspec.structs.replace(options, foreign=foreign)
        plan = diff(observed, desired, options)
        if options.hold is not None:
            desired = with_held(observed, desired, options.hold, options.foreign)
        report = self._kernel.apply(plan) if plan else Report(applied=0)
        self._confirm(plan, report)
        now = self._clock()
        self._drain_clock.update(looked_at, drains(observed, desired), now)
        return SyncReport(
            plan=plan, report=report, observed=observed, duration_s=now - begun_s
        )

    def _vouched(self, change: DesiredChange) -> DesiredChange:
        """End a hold together with what is desired, once all of it is compiled.

        Or the hold would vouch for what is not.
        """
        change = self._noted(change)
        compiler = self._compiler
        if compiler.has_parts or compiler.has_large or compiler.unfinished:
            return change
        if self._holding.take(self._store.vouched()):
            return msgspec.structs.replace(change, needs_audit=True, ends_hold=True)
        return change

    def _touched_keys(self) -> frozenset[VirtualServerKey]:
        return self._touched.keys if self._touched is not None else frozenset()

    def _noted(self, change: DesiredChange) -> DesiredChange:
        """Have an audit that is under way leave to a sync what is the sync's."""
        if self._touched is not None:
            self._touched.add(change)
        return change

    def _confirm(self, plan: Plan, report: Report) -> None:
        """Take note of the virtual servers that are ours since they were added."""
        added = {op.server.key for op in plan if isinstance(op, AddVirtualServer)}
        if not added:
            return
        failed = {
            failure.op.server.key: failure.errno
            for failure in report.failed
            if isinstance(failure.op, AddVirtualServer)
        }
        self.desired.confirm(added - failed.keys())
        # It was not there when the kernel was read.
        self.desired.doubt({key for key, errno in failed.items() if errno == EEXIST})

    def _options(self) -> DiffOptions:
        return DiffOptions(
            vip_link=self._config.vip_link,
            urgent=self.desired.urgent_addresses(),
            expired_drains=self._drain_clock.expired(self._clock()),
            exclude=self._config.exclude_cidrs,
            short_circuits=self.desired.short_circuits,
            hold=self.hold,
            foreign=self.desired.foreign,
        )


def _with_refusals(
    done: SyncReport, change: DesiredChange, taken: AbstractSet[VirtualServerKey]
) -> SyncReport:
    refused = tuple(
        AddVirtualServer(change.desired.virtual_servers[key]) for key in sorted(taken)
    )
    failed = tuple(
        FailedOp(
            op=op,
            errno=EEXIST,
            reason="the fwmark is somebody else's"
            if op.server.key.fwmark
            else "another one is there already",
        )
        for op in refused
    )
    report = done.report
    return msgspec.structs.replace(
        done,
        plan=(*done.plan, *refused),
        report=Report(applied=report.applied, failed=(*report.failed, *failed)),
    )
