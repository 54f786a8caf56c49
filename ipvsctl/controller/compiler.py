"""From objects to the desired state: compile what is dirty, without a kernel."""

from collections.abc import Set as AbstractSet

from ipvsctl.cluster.store import Store
from ipvsctl.cluster.taken import Objects, Taken
from ipvsctl.controller.compilation import (
    LARGE_VIRTUAL_SERVERS,
    Compilation,
    Limited,
)
from ipvsctl.controller.compile_queue import MOST_PARTS, MOST_SMALL, CompileQueue, Pace
from ipvsctl.controller.node_context import (
    Sources,
    context_of,
    guarded_differences,
    is_other_node,
)
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig, VipBinding
from ipvsctl.model.host import HostNetwork
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.parts import Part
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.problem_book import NotedProblems, ProblemBook
from ipvsctl.model.state import Observed
from ipvsctl.model.steps import Step, Steps, finish
from ipvsctl.plan.diff.concurrent_changes import ConcurrentChanges
from ipvsctl.plan.service.amounts import namespace_limit, service_limit
from ipvsctl.plan.service.endpoints import FEW_PORTS, KnownSlices
from ipvsctl.plan.service.node_addresses import node_port_problems
from ipvsctl.plan.service.tunnels import wants_tunnel
from ipvsctl.plan.service.wishes import read_wishes
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.desired_change import DesiredChange
from ipvsctl.plan.union.host_ports import taken_ports
from ipvsctl.plan.union.node import NodeProgram, compile_node
from ipvsctl.plan.union.shares import Shares


class Compiler:
    """Keeps one node's desired state up with the store.

    `take` says what is dirty. Then either everything that is to be compiled is
    (`compile_in_steps`), or as much as keeps nobody waiting (`compile_some`, while
    `has_parts`), and beside that the large Services (`compile_large`, while
    `has_large`).

    For one thread, which need not be the store's: after it is made it asks the store
    for nothing but what `Objects` has.
    """

    def __init__(
        self,
        *,
        config: ProxyConfig,
        store: Store,
        capabilities: Capabilities,
    ) -> None:
        self._config = config
        self._objects: Objects = store
        self._capabilities = capabilities
        self._sources = Sources(
            store.node_context(), store.api_servers, HostNetwork(), config, capabilities
        )
        self._context = context_of(self._sources)
        self._binding = VipBinding.ADDRESS
        self._desired = Desired(self._compile_node())
        self._limits = Limited(
            service_limit(config.limits), namespace_limit(config.limits)
        )
        self._shares = Shares(self._limits.namespace)
        self._queue = CompileQueue()
        self._known: dict[ObjectRef, KnownSlices] = {}
        """Large Service -> what was found in its slices."""
        self._is_parts_turn = True
        self._node_problems = NotedProblems()
        self._taken_ports = NotedProblems()
        self.compiled_problems = ProblemBook(
            (*self._desired.problem_parts, self._node_problems, self._taken_ports)
        )
        """What is wrong with objects as they were compiled."""
        self.problem_book = ProblemBook((store.noted_problems, self.compiled_problems))
        """The same, and what is wrong with them as read; for the store's own thread."""

    @property
    def desired(self) -> Desired:
        """Every Service's program and their union."""
        return self._desired

    @property
    def context(self) -> NodeContext:
        """What is known of this node."""
        return self._context

    def problems(self) -> tuple[Problem, ...]:
        """Everything in the `problem_book`, sorted."""
        return self.problem_book.all()

    def compile_all(
        self, taken: Taken, host: HostNetwork | None = None
    ) -> DesiredChange:
        """Take what is dirty and compile all there is; return what that changed.

        Args:
            taken: of the store.
            host: see `take`.
        """
        self.take(taken, host)
        return finish(self.compile_in_steps())

    def take(self, taken: Taken, host: HostNetwork | None = None) -> None:
        """Have to compile what is dirty, and what another context concerns.

        Args:
            taken: of the store, after what was taken before.
            host: the node's own network; None is the one known of. Other addresses
                have everything compiled.
        """
        known = self._sources
        self._enter(
            known._replace(
                nodes=taken.nodes,
                api=taken.api_servers,
                host=known.host if host is None else host,
            ),
            taken.dirty.services,
            node_changed=taken.dirty.node_changed,
        )

    def compile_in_steps(self) -> Steps[DesiredChange]:
        """Compile everything that there is to do; return what that changed.

        No other call meanwhile, but for steps of `compile_large` that has begun.
        """
        yield from self._compile_rest()
        return self._take_change()

    def compile_some(self, pace: Pace) -> DesiredChange:
        """The same of some of it, for some ten milliseconds.

        Args:
            pace: how much of it.
        """
        is_idle = not self._queue.small
        self._compile_small(pace.small)
        # Others' changes are not to wait for a part as well, but every second time.
        if is_idle or self._is_parts_turn:
            self._queue.work(pace.parts)
        self._is_parts_turn = not self._is_parts_turn
        return self._take_change()

    @property
    def has_parts(self) -> bool:
        """Whether another `compile_some` would have something to do."""
        return self._queue.has_parts or self._desired.has_marks_to_give

    @property
    def has_large(self) -> bool:
        """Whether `begin_large` would have something to do."""
        return self._queue.has_large

    @property
    def unfinished(self) -> ObjectRef | None:
        """The large Service that is compiled or put into place just now."""
        return self._queue.current

    def compile_large(self) -> Steps[None]:
        """Compile the next large Service; `compile_some` puts it into place.

        Long steps are shared: they look at nothing that changes.
        """
        if not self.has_large:
            return
        ref = self._queue.begin(self._age_if_gone)
        turn = self._begin(ref)
        if turn is None:
            self._queue.put(self._desired.remove_in_steps(ref))
            return
        if len(turn.service.ports) <= FEW_PORTS:
            # Of more its slices are sorted by port, which makes new ones each time.
            turn.known = self._known.setdefault(ref, KnownSlices())
        self._queue.hold(turn)
        yield Step.SHARED
        turn.measure()
        yield Step.EXCLUSIVE
        if not self._queue.is_held(turn):
            return
        self._grant(turn)
        while turn.program is None:
            yield Step.SHARED
            turn.go_on()
        yield Step.EXCLUSIVE
        if self._queue.is_held(turn):
            self._queue.put(self._desired.put_in_steps(turn.program))

    def bind_vips(self, chosen: VipBinding) -> None:
        """Have VIPs in this way, where the settings leave it open."""
        if chosen is not self._binding:
            self._binding = chosen
            self._desired.set_node(self._compile_node())

    def set_host(self, host: HostNetwork) -> None:
        """Compile what another network of the host concerns."""
        finish(self._move_in_steps(host))

    def absorb_in_steps(
        self,
        observed: Observed,
        touched: ConcurrentChanges,
        *,
        keeps_unwanted: bool = False,
    ) -> Steps[DesiredChange]:
        """Take note of what is the kernel's to say: the host's network, others' things.

        Args:
            observed: the complete state.
            touched: what syncs have changed since it was read; follows them.
            keeps_unwanted: see `FwmarkAllocator.agree`.

        Returns:
            What that changed; the whole state is to be compared next all the same.
        """
        yield from self._move_in_steps(observed.host)
        self._desired.agree(observed, touched.keys, keeps_unwanted=keeps_unwanted)
        if Part.SOCKETS not in observed.blind:
            self._taken_ports.replace(
                taken_ports(
                    observed.sockets, observed.host_addresses, self._desired.server
                )
            )
        return self._take_change()

    def _move_in_steps(self, host: HostNetwork) -> Steps[None]:
        before = self._context
        self._enter(self._sources._replace(host=host), frozenset(), node_changed=False)
        if self._context is not before:
            yield from self._compile_rest()

    def _take_change(self) -> DesiredChange:
        lost = self._desired.lost_node_ports
        if any(lost.values()) or self._node_problems:
            self._node_problems.replace(
                node_port_problems(self._context, self._config, lost)
            )
        return self._desired.take_change()

    def _compile_node(self) -> NodeProgram:
        return compile_node(
            self._context, self._config, self._capabilities, self._binding
        )

    def _enter(
        self,
        sources: Sources,
        services: AbstractSet[ObjectRef],
        *,
        node_changed: bool,
    ) -> None:
        """Have to compile these Services, and those that other sources concern."""
        before = self._context
        if sources != self._sources:
            self._sources = sources
            self._context = context_of(sources)
            # Peers' addresses concern the Services that claim one, which are dirty.
            moved = guarded_differences(before, self._context)
            services = services | self._objects.claimants(moved)
            if before.tunnel_offers != self._context.tunnel_offers:
                services = services | self._tunnelled()
        if node_changed or is_other_node(before, self._context):
            self._desired.set_node(self._compile_node())
            self._queue.add({*self._objects.refs(), *self._desired.programs})
        else:
            if before.peer_addresses != self._context.peer_addresses:
                # They may send packets in tunnels.
                self._desired.set_node(self._compile_node())
            # The same order on all nodes.
            self._queue.add(sorted(services))

    def _tunnelled(self) -> AbstractSet[ObjectRef]:
        """The Services that ask for tunnels, which nodes that can concern."""
        found = ((ref, self._objects.service(ref)) for ref in self._objects.refs())
        return {
            ref
            for ref, service in found
            if service is not None
            and wants_tunnel(service, read_wishes(service, self._config), self._config)
        }

    def _compile_rest(self) -> Steps[None]:
        """Everything that there is to do."""
        # Whoever compiles it may not come to an end before this does.
        abandoned = self._queue.abandon()
        if abandoned is not None:
            self._queue.postpone(abandoned)
        while self._queue.has_parts or self._queue.has_large:
            self._compile_small(MOST_SMALL)
            self._queue.work(MOST_PARTS)
            yield Step.EXCLUSIVE
            yield from self.compile_large()

    def _compile_small(self, most: int) -> None:
        small = self._queue.small
        for _ in range(min(most, len(small))):
            ref = small.take()
            if self._queue.is_taken(ref):
                self._queue.postpone(ref)
                continue
            known = self._desired.programs.get(ref)
            is_large = known is not None and len(known.servers) > LARGE_VIRTUAL_SERVERS
            turn = self._begin(ref)
            if is_large or (turn is not None and turn.is_large):
                self._queue.postpone(ref)
            elif turn is None:
                self._desired.remove(ref)
            else:
                self._known.pop(ref, None)
                turn.measure()
                self._grant(turn)
                self._desired.put(turn.compile())

    def _age_if_gone(self, ref: ObjectRef) -> str | None:
        known = self._desired.programs.get(ref)
        if known is None or self._objects.service(ref) is not None:
            return None
        return known.created

    def _begin(self, ref: ObjectRef) -> Compilation | None:
        """What it takes to compile a Service as it is now; None if it is gone."""
        service = self._objects.service(ref)
        if service is None:
            self._queue.add(self._shares.remove(ref))
            self._taken_ports.put(Kind.SERVICE, ref, ())
            self._known.pop(ref, None)
            return None
        return Compilation(
            service=service,
            slices=self._objects.slices_of(ref),
            context=self._context,
            config=self._config,
            limits=self._limits,
        )

    def _grant(self, turn: Compilation) -> None:
        """Give a measured Service its share; others that have another one come next."""
        ref = turn.service.ref
        self._queue.add(self._shares.put(ref, turn.service.created, turn.asked))
        turn.granted = self._shares.granted(ref)
