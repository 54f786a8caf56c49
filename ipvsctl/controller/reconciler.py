"""From objects to the kernel: compile what is dirty, compare, apply.

Plain calls that may block; tasks and pace are the loop's business, and what an audit or
a look keeps between its steps is theirs (`audit_run`, `look`).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

import msgspec

from ipvsctl.cluster.events import Event
from ipvsctl.cluster.store import Store
from ipvsctl.cluster.taken import Taken
from ipvsctl.controller.compiler import Compiler
from ipvsctl.controller.imposer import Imposer
from ipvsctl.controller.sync_report import SyncReport
from ipvsctl.kernel.interface import Kernel, Reading
from ipvsctl.model.config import ProxyConfig, VipBinding
from ipvsctl.model.host import HostNetwork
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.parts import EVIDENCE
from ipvsctl.model.problem import ObjectRef, Problem
from ipvsctl.model.problem_book import ProblemBook, ProblemPart
from ipvsctl.model.state import Observed
from ipvsctl.model.steps import Steps, finish
from ipvsctl.plan.diff.concurrent_changes import ConcurrentChanges
from ipvsctl.plan.diff.ops import Op
from ipvsctl.plan.diff.plan import Drain, Hold
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.plan.report.unread import require
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.desired_change import DesiredChange
from ipvsctl.plan.union.vip_binding import VipChoice, choose_vips


class Reconciler:
    """One node's desired state, kept up with events and imposed on its kernel.

    For one thread, the worker's, with two exceptions. `take_event`, `take` and
    `noted_problems` are for the thread of the store. And `context`, `hold`, `draining`,
    `vip_choice` and `drain_ages_s` may be asked in any thread: each is a value that
    never changes, in whose place another one is put; so is every answer of `desired`
    that is among `DesiredLookups`.

    Args:
        lasts: this process goes on with what it begins; see `Ramps`.

    Attributes:
        imposer: has what is desired imposed.
        has_absorbed: the kernel has been read once as far as that is needed to tell
            what is ours.
        vip_choice: what `vipBinding: auto` has come to for the life of this process;
            None until then, and with another setting.
    """

    def __init__(
        self,
        *,
        kernel: Kernel,
        config: ProxyConfig,
        store: Store,
        clock: Callable[[], float] = time.monotonic,
        lasts: bool = False,
    ) -> None:
        self.kernel = kernel
        self.config = config
        self.clock = clock
        self._store = store
        can = kernel.capabilities()
        self._compiler = Compiler(config=config, store=store, capabilities=can)
        self.imposer = Imposer(
            kernel=kernel,
            config=config,
            desired=self.desired,
            clock=clock,
            lasts=lasts,
        )
        self._followers: list[ConcurrentChanges] = []
        self.has_absorbed = False
        self.vip_choice: VipChoice | None = None
        self._lasts = lasts

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
        return self.kernel.words

    @property
    def hold(self) -> Hold | None:
        """What may not be taken from the kernel for now; None is nothing."""
        return self.imposer.holding.hold

    @property
    def doubts(self) -> tuple[str, ...]:
        """What could not be read of what the desired state was compiled from."""
        return self.imposer.holding.doubts

    @property
    def draining(self) -> frozenset[VirtualServerKey]:
        """Virtual servers with a real server that drains."""
        return self.imposer.drain_clock.keys

    @property
    def growing(self) -> frozenset[VirtualServerKey]:
        """Virtual servers with a real server that has not its whole weight yet."""
        return self.imposer.ramp_clock.keys

    def drain_ages_s(self) -> Mapping[Drain, float]:
        """For how many seconds each drain has been seen."""
        now, since_s = self.clock(), self.imposer.drain_clock.since
        return {drain: now - since for drain, since in since_s.items()}

    @property
    def noted_problems(self) -> ProblemPart:
        """What is wrong with objects as they were read; for the store's thread."""
        return self._store.noted_problems

    @property
    def compiled_problems(self) -> ProblemBook:
        """What is wrong with objects as they were compiled."""
        return self._compiler.compiled_problems

    def problems(self) -> tuple[Problem, ...]:
        """Everything wrong with any object, sorted; while no other thread is there."""
        return self._compiler.problems()

    def take_event(self, event: Event) -> bool:
        """Put an event into the store; see `Store.apply`."""
        return self._store.apply(event)

    def take(self) -> Taken:
        """What the store knows now, to be given to a job; see `Store.take`."""
        return self._store.take()

    def hear(self, taken: Taken) -> None:
        """Have to compile what is dirty, when anything is compiled."""
        self._compiler.take(taken)

    def prepare(self, host: HostNetwork | None = None) -> DesiredChange:
        """Compile what is dirty now; while no other thread is there.

        Args:
            host: the node's own network; None is the one known of.
        """
        return finish(self.prepare_in_steps(self.take(), host))

    def prepare_in_steps(
        self, taken: Taken, host: HostNetwork | None = None
    ) -> Steps[DesiredChange]:
        """Compile everything that is dirty; return what that changed.

        Args:
            taken: of the store.
            host: the node's own network; None is the one known of. Everything is
                compiled for its addresses, and again if they are others.
        """
        self._take(taken, host)
        change = yield from self._compiler.compile_in_steps()
        return self._vouched(taken, change)

    def prepare_some(self, taken: Taken) -> DesiredChange:
        """Compile some of what is dirty; see `Compiler.compile_some`."""
        self._take(taken)
        return self._vouched(taken, self._compiler.compile_some(self.imposer.pace))

    @property
    def has_parts(self) -> bool:
        """Whether another `prepare_some` would have something to do."""
        return self._compiler.has_parts or bool(self.imposer.crowds.unfinished)

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
        """Virtual servers that drain or grow, to be looked at again; None is all."""
        every = self.draining | self.growing
        return self._noted(self.desired.unchanged(every if keys is None else keys))

    def sync(self, change: DesiredChange) -> SyncReport:
        """See `Imposer.sync`."""
        return self.imposer.sync(change)

    def read_in_steps(self, *, has_rules: bool = True) -> Reading:
        """Read the whole kernel state; what is as desired shares its memory.

        Args:
            has_rules: see `Kernel`.
        """
        return self.kernel.read_in_steps(self.desired.servers(), has_rules=has_rules)

    def observe(self) -> Observed:
        """The same at once."""
        return finish(self.read_in_steps())

    def absorb(self, observed: Observed) -> DesiredChange:
        """See `absorb_in_steps`."""
        return finish(self.absorb_in_steps(observed))

    def absorb_in_steps(
        self, observed: Observed, touched: ConcurrentChanges | None = None
    ) -> Steps[DesiredChange]:
        """Take note of what is the kernel's to say; return what that changed.

        Recompiles for the node's own network, if it is not what it was; tells what
        is ours from what is others'; chooses, once, how VIPs are bound. A mark that a
        sync gave out since `observed` was read was confirmed by that sync.

        Args:
            observed: the state; what it does not know stays as it was known before.
            touched: what syncs have changed since it was read.

        Raises:
            UnreadKernel: it does not say whose things are, and none before did.
        """
        if observed.blind & EVIDENCE:
            if not self.has_absorbed:
                require(observed, self.words)
            return self.desired.unchanged(frozenset())
        hold = self.hold
        is_all = hold is None or not hold.services
        self._choose_vips(observed, is_all=is_all)
        change = yield from self._compiler.absorb_in_steps(
            observed, touched or ConcurrentChanges(), keeps_unwanted=not is_all
        )
        self.has_absorbed = True
        return change

    def _choose_vips(self, observed: Observed, *, is_all: bool) -> None:
        is_open = self.config.wanted_vip_binding is VipBinding.AUTO
        if is_open and self.vip_choice is None:
            self.vip_choice = choose_vips(
                self.desired.shared.vips,
                observed.state,
                is_all=is_all,
                lasts=self._lasts,
            )
            self._compiler.bind_vips(self.vip_choice.binding)

    def impose(self, observed: Observed) -> SyncReport:
        """Impose the whole desired state on the kernel."""
        return self.imposer.impose(observed, self.clock())

    def audit(self) -> SyncReport:
        """Everything at once: compile, read, impose."""
        begun = self.clock()
        return self.imposer.impose(self.survey(), begun)

    def survey(self) -> Observed:
        """Compile what is dirty and read the kernel; `impose` may follow."""
        self.prepare(self.kernel.read_host())
        observed = self.observe()
        self.absorb(observed)
        return observed

    @contextmanager
    def followed(self, by: ConcurrentChanges) -> Iterator[None]:
        """Have every change and op of others noted during the block."""
        self._followers.append(by)
        try:
            yield
        finally:
            self._followers.remove(by)

    def note_ops(self, ops: Sequence[Op], of: ConcurrentChanges) -> None:
        """Ops have been done that no change is about, by one of the followers."""
        for follower in self._followers:
            if follower is not of:
                follower.add_ops(ops)

    def _take(self, taken: Taken, host: HostNetwork | None = None) -> None:
        self._compiler.take(taken, host)
        # Another portion of these is to be imposed.
        self.desired.touch(self.imposer.crowds.unfinished)

    def _vouched(self, taken: Taken, change: DesiredChange) -> DesiredChange:
        """End a hold together with what is desired, once all of it is compiled.

        Or the hold would vouch for what is not.
        """
        change = self._noted(change)
        compiler = self._compiler
        if compiler.has_parts or compiler.has_large or compiler.unfinished:
            return change
        if self.imposer.holding.take(taken.vouched):
            return msgspec.structs.replace(change, needs_audit=True, ends_hold=True)
        return change

    def _noted(self, change: DesiredChange) -> DesiredChange:
        """Have an audit or a look that is under way leave out what is a sync's."""
        for follower in self._followers:
            follower.add(change)
        return change
