"""Looking at a node: what is desired and what the kernel holds, at one moment."""

from collections.abc import Generator, Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.problem import Problem
from ipvsctl.model.state import EMPTY, Observed
from ipvsctl.model.steps import Step, Steps, exclusively, finish, parts
from ipvsctl.plan.diff.concurrent_changes import ConcurrentChanges
from ipvsctl.plan.diff.ops import Plan
from ipvsctl.plan.diff.plan import DiffOptions, Drain, diff_in_steps
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.plan.report.unread import require
from ipvsctl.plan.union.frozen import FrozenDesired
from ipvsctl.plan.union.vip_binding import VipChoice

T = TypeVar("T")

_STEP_KEYS: Final = 10
"""Virtual servers that are read again in one step."""

_STEP_SUBJECTS: Final = 200
"""Objects whose problems are put into words in one step."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a look has found; nobody changes it any more.

    Attributes:
        observed: the complete kernel state.
        desired: what it should be.
        context: what is known of this node.
        options: what a plan depends on besides.
        touched: what of `observed` syncs have changed after it was read; they have
            just imposed it.
        words: what operators call the things of the kernel's firewall.
        capabilities: of the kernel.
        drain_ages_s: for how many seconds each drain has been seen.
        problems: what is wrong with objects as they were compiled, in any order.
        vip_choice: see `Reconciler`.
    """

    observed: Observed
    desired: FrozenDesired
    context: NodeContext
    options: DiffOptions
    touched: ConcurrentChanges
    words: FirewallWords
    capabilities: Capabilities = Capabilities()
    drain_ages_s: Mapping[Drain, float] = EMPTY
    problems: tuple[Problem, ...] = ()
    vip_choice: VipChoice | None = None

    def plan(self) -> Plan:
        """The plan that an audit would have."""
        return finish(self.plan_in_steps())

    def plan_in_steps(self) -> Generator[None, None, Plan]:
        """See `plan`."""
        return (yield from self._plan_in_steps(self.options))

    def held_in_steps(self) -> Generator[None, None, int]:
        """How many ops more it would have, if nothing were held."""
        if self.options.hold is None:
            return 0
        options = msgspec.structs.replace(self.options, hold=None)
        without = yield from self._plan_in_steps(options)
        plan = yield from self.plan_in_steps()
        return len(without) - len(plan)

    def _plan_in_steps(self, options: DiffOptions) -> Generator[None, None, Plan]:
        plan = yield from diff_in_steps(self.observed, self.desired.state, options)
        return tuple(op for op in plan if not self.touched.concerns(op))


def see(reconciler: Reconciler, observed: Observed) -> Seen:
    """What is desired now, beside what was observed just before; see `Seen`."""
    desired = reconciler.desired.frozen()
    return _see(reconciler, observed, desired, ConcurrentChanges(), ())


def look_in_steps(reconciler: Reconciler) -> Steps[Seen]:
    """Read everything, while syncs and audits run in between; nothing is changed.

    What they change after it was read is read again, so that what is shown is true in
    the end.

    Raises:
        KernelError: something could not be read.
        WireError: the kernel's answer could not be understood.
        UnreadKernel: nearly nothing would be known.
    """
    touched = ConcurrentChanges()
    with reconciler.followed(touched), reconciler.desired.copying() as copy:
        observed = yield from reconciler.read_in_steps()
        require(observed, reconciler.words)
        yield Step.EXCLUSIVE
        problems: set[Problem] = set()
        book = reconciler.compiled_problems
        for some in parts(book.subjects(), _STEP_SUBJECTS):
            yield Step.EXCLUSIVE
            problems.update(problem for one in some for problem in book.of(one))
        yield Step.EXCLUSIVE
        yield from exclusively(copy.in_steps())
        refreshed = _Refreshed(observed)
        while True:
            keys = touched.take_keys(_STEP_KEYS)
            refreshed.put(keys, reconciler.kernel.observe_virtual_servers(keys))
            if len(keys) < _STEP_KEYS:
                break
            yield Step.EXCLUSIVE
        return _see(
            reconciler, refreshed.observed, copy.finish(), touched, tuple(problems)
        )


def _see(
    reconciler: Reconciler,
    observed: Observed,
    desired: FrozenDesired,
    touched: ConcurrentChanges,
    problems: tuple[Problem, ...],
) -> Seen:
    options = reconciler.imposer.options()
    hold = options.hold
    if hold is not None:
        hold = msgspec.structs.replace(hold, known=hold.known.copy())
    ramps = options.ramps
    if ramps is not None:
        ramps = msgspec.structs.replace(ramps, desired=desired, begun={**ramps.begun})
    return Seen(
        observed=observed,
        desired=desired,
        context=reconciler.context,
        options=msgspec.structs.replace(
            options, hold=hold, short_circuits=desired.short_circuits, ramps=ramps
        ),
        touched=touched,
        words=reconciler.words,
        capabilities=reconciler.kernel.capabilities(),
        drain_ages_s=reconciler.drain_ages_s(),
        problems=problems,
        vip_choice=reconciler.vip_choice,
    )


class _Refreshed:
    """What was observed, with some virtual servers as they are now.

    Args:
        observed: nobody else has it; its parts may be changed.
    """

    def __init__(self, observed: Observed) -> None:
        state = observed.state
        self._virtual_servers = _own(state.virtual_servers)
        self._real_servers = _own(state.real_servers)
        self._connections = _own(observed.connections)
        self._traffic = _own(observed.traffic)
        self._flows = None if observed.flows is None else _own(observed.flows)
        self._before = observed

    def put(self, keys: frozenset[VirtualServerKey], now: Observed) -> None:
        """Have virtual servers as they are, or have them not."""
        _replace(keys, self._virtual_servers, now.state.virtual_servers)
        _replace(keys, self._real_servers, now.state.real_servers)
        _replace(keys, self._connections, now.connections)
        _replace(keys, self._traffic, now.traffic)
        if self._flows is not None:
            # What was read of flows is about what was there.
            _replace(keys, self._flows, {})

    @property
    def observed(self) -> Observed:
        """Everything."""
        return msgspec.structs.replace(
            self._before,
            state=msgspec.structs.replace(
                self._before.state,
                virtual_servers=self._virtual_servers,
                real_servers=self._real_servers,
            ),
            connections=self._connections,
            traffic=self._traffic,
            flows=self._flows,
        )


def _own(
    read: Mapping[VirtualServerKey, T],
) -> dict[VirtualServerKey, T]:
    """What was just read as it is: copying ten thousand takes the interpreter long."""
    return read if isinstance(read, dict) else dict(read)


def _replace(
    keys: Iterable[VirtualServerKey],
    held: dict[VirtualServerKey, T],
    found: Mapping[VirtualServerKey, T],
) -> None:
    for key in keys:
        if key in found:
            held[key] = found[key]
        else:
            held.pop(key, None)
