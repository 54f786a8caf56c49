"""From objects to the desired state: compile what is dirty, without a kernel."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec

from ipvsctl.cluster.store import Dirty, Store
from ipvsctl.controller.backlog import (
    LARGE_VIRTUAL_SERVERS,
    MOST_PARTS,
    SMALL,
    Backlog,
    Job,
    Limited,
)
from ipvsctl.controller.turns import Steps, run_steps
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.host import ApiServers, HostNetwork
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.problem_book import NotedProblems, ProblemBook
from ipvsctl.model.state import Observed
from ipvsctl.plan.service.amounts import namespace_limit, service_limit
from ipvsctl.plan.service.guards import api_ports, guarded_addresses
from ipvsctl.plan.service.node_addresses import node_port_problems, standing_addresses
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.desired_change import DesiredChange
from ipvsctl.plan.union.host_ports import taken_ports
from ipvsctl.plan.union.node import NodeProgram, compile_node
from ipvsctl.plan.union.shares import Shares


class _Known(NamedTuple):
    """What a context is made of."""

    nodes: NodeContext
    api: ApiServers
    host: HostNetwork


class Compiler:
    """Keeps one node's desired state up with the store.

    Either everything that is dirty is compiled (`compile_dirty`), or as much as keeps
    nobody waiting (`compile_some`, while `has_parts`), and beside that the large
    Services (`compile_large`, while `has_large`).
    """

    def __init__(
        self,
        *,
        config: ProxyConfig,
        store: Store,
        capabilities: Capabilities,
    ) -> None:
        self._config = config
        self._store = store
        self._capabilities = capabilities
        self._known = _Known(store.node_context(), store.api_servers, HostNetwork())
        self._context = self._context_of(self._known)
        self._desired = Desired(self._compile_node())
        self._limits = Limited(
            service_limit(config.limits), namespace_limit(config.limits)
        )
        self._shares = Shares(self._limits.namespace)
        self._backlog = Backlog()
        self._is_parts_turn = True
        self._node_problems = NotedProblems()
        self._taken_ports = NotedProblems()
        self._book = ProblemBook(
            (
                store.noted_problems,
                *self._desired.problem_parts,
                self._node_problems,
                self._taken_ports,
            )
        )

    @property
    def desired(self) -> Desired:
        """Every Service's program and their union."""
        return self._desired

    @property
    def context(self) -> NodeContext:
        """What is known of this node."""
        return self._context

    @property
    def problem_book(self) -> ProblemBook:
        """Everything wrong with any object: as read, and as compiled."""
        return self._book

    def problems(self) -> tuple[Problem, ...]:
        """The same of all objects, sorted."""
        return self._book.all()

    def compile_dirty(self, host: HostNetwork | None = None) -> DesiredChange:
        """Compile what is dirty; return what that changed.

        Args:
            host: the node's own network; None is the one known of. Other addresses
                have everything compiled.
        """
        return run_steps(self.compile_in_steps(host))

    def compile_in_steps(self, host: HostNetwork | None = None) -> Steps[DesiredChange]:
        """The same in steps, between which the store may change.

        No other call meanwhile, but for steps of `compile_large` that has begun.
        """
        self._take_dirty(self._store.take_dirty(), host)
        yield from self._compile_rest()
        return self._take_change()

    def compile_some(self, parts: int) -> DesiredChange:
        """The same of some of it, for some ten milliseconds.

        Args:
            parts: how many of a large Service.
        """
        self._take_dirty(self._store.take_dirty(), None)
        is_idle = not self._backlog.small
        self._compile_small()
        # Others' changes are not to wait for a part as well, but every second time.
        if is_idle or self._is_parts_turn:
            self._backlog.work(parts)
        self._is_parts_turn = not self._is_parts_turn
        return self._take_change()

    @property
    def has_parts(self) -> bool:
        """Whether another `compile_some` would have something to do."""
        return self._backlog.has_parts or self._desired.has_marks_to_give

    @property
    def has_large(self) -> bool:
        """Whether `begin_large` would have something to do."""
        return self._backlog.has_large

    @property
    def unfinished(self) -> ObjectRef | None:
        """The large Service that is compiled or put into place just now."""
        return self._backlog.current

    def compile_large(self) -> Steps[None]:
        """Compile the next large Service; `compile_some` puts it into place."""
        ref = self._backlog.begin(self._age_if_gone)
        job = self._job(ref)
        if job is None:
            self._backlog.put(self._desired.remove_in_steps(ref))
            return
        self._backlog.hold(job)
        yield job.measure
        if self._backlog.is_held(job):
            self._grant(job)
            while job.program is None:
                yield job.go_on
        if self._backlog.is_held(job) and job.program is not None:
            self._backlog.put(self._desired.put_in_steps(job.program))

    def set_host(self, host: HostNetwork) -> None:
        """Compile what another network of the host concerns."""
        run_steps(self._move_in_steps(host))

    def absorb(
        self,
        observed: Observed,
        touched: AbstractSet[VirtualServerKey],
        *,
        keeps_unwanted: bool = False,
    ) -> DesiredChange:
        """Take note of what is the kernel's to say: the host's network, others' things.

        Args:
            observed: the complete state.
            touched: virtual servers that syncs have changed since it was read.
            keeps_unwanted: see `Marks.agree`.

        Returns:
            What that changed; the whole state is to be compared next all the same.
        """
        return run_steps(
            self.absorb_in_steps(observed, touched, keeps_unwanted=keeps_unwanted)
        )

    def absorb_in_steps(
        self,
        observed: Observed,
        touched: AbstractSet[VirtualServerKey],
        *,
        keeps_unwanted: bool = False,
    ) -> Steps[DesiredChange]:
        """The same in steps; see `compile_in_steps`."""
        yield from self._move_in_steps(observed.host)
        self._desired.agree(observed, touched, keeps_unwanted=keeps_unwanted)
        self._taken_ports.replace(
            taken_ports(observed.sockets, observed.host_addresses, self._desired.server)
        )
        return self._take_change()

    def _move_in_steps(self, host: HostNetwork) -> Steps[None]:
        before = self._context
        self._take_dirty(Dirty(), host)
        if self._context is not before:
            yield from self._compile_rest()

    def _take_change(self) -> DesiredChange:
        lost = self._desired.lost_node_ports
        if any(lost.values()) or any(self._node_problems.each()):
            choice = self._config.node_port_addresses
            self._node_problems.replace(node_port_problems(self._context, choice, lost))
        return self._desired.take_change()

    def _know(self, host: HostNetwork) -> None:
        """Have a context of what is known now; the same one if that is the same."""
        known = _Known(self._store.node_context(), self._store.api_servers, host)
        if known != self._known:
            self._known = known
            self._context = self._context_of(known)

    def _context_of(self, known: _Known) -> NodeContext:
        host = known.host
        hosts = tuple(sorted(host.addresses, key=lambda a: (a.version, int(a))))
        named = known.nodes.node_addresses
        if self._config.node_address is not None:
            # The first address of a family is the one that stands for the node.
            named = (self._config.node_address, *named)
        return msgspec.structs.replace(
            known.nodes,
            node_addresses=standing_addresses(named, (*host.primary, *hosts)),
            host_addresses=hosts,
            guarded=guarded_addresses(host, known.api),
            api_ports=api_ports(known.api),
            families=self._capabilities.families,
            schedulers=self._capabilities.schedulers,
        )

    def _compile_node(self) -> NodeProgram:
        return compile_node(self._context, self._config, self._capabilities)

    def _take_dirty(self, dirty: Dirty, host: HostNetwork | None) -> None:
        """Put in what is dirty, and what another network of the host concerns."""
        before = self._context
        services = dirty.services
        self._know(self._known.host if host is None else host)
        if self._context is not before:
            # Peers' addresses concern the Services that claim one, which are dirty.
            services |= self._store.claimants(_differences(before, self._context))
        if dirty.node_changed or _is_other_node(before, self._context):
            self._add_all()
        else:
            # The same order on all nodes.
            self._backlog.add(sorted(services))

    def _add_all(self) -> None:
        self._desired.set_node(self._compile_node())
        self._backlog.add({*self._store.services, *self._desired.programs})

    def _compile_rest(self) -> Steps[None]:
        """Everything that there is to do."""
        # Whoever compiles it may not come to an end before this does.
        abandoned = self._backlog.abandon_job()
        if abandoned is not None:
            self._backlog.postpone(abandoned)
        while self._backlog.has_parts or self._backlog.has_large:
            self._compile_small()
            self._backlog.work(MOST_PARTS)
            yield None
            if self._backlog.has_large:
                yield from self.compile_large()

    def _compile_small(self) -> None:
        small = self._backlog.small
        for _ in range(min(SMALL, len(small))):
            ref, _ = small.popitem(last=False)
            if self._backlog.is_taken(ref):
                self._backlog.postpone(ref)
                continue
            known = self._desired.programs.get(ref)
            is_large = known is not None and len(known.servers) > LARGE_VIRTUAL_SERVERS
            job = self._job(ref)
            if is_large or (job is not None and job.is_large):
                self._backlog.postpone(ref)
            elif job is None:
                self._desired.remove(ref)
            else:
                job.measure()
                self._grant(job)
                self._desired.put(job.compile())

    def _age_if_gone(self, ref: ObjectRef) -> str | None:
        known = self._desired.programs.get(ref)
        if known is None or self._store.service(ref) is not None:
            return None
        return known.created

    def _job(self, ref: ObjectRef) -> Job | None:
        """What it takes to compile a Service as it is now; None if it is gone."""
        service = self._store.service(ref)
        if service is None:
            self._backlog.add(self._shares.remove(ref))
            self._taken_ports.put(Kind.SERVICE, ref, ())
            return None
        return Job(
            service=service,
            slices=self._store.slices_of(ref),
            context=self._context,
            config=self._config,
            limits=self._limits,
        )

    def _grant(self, job: Job) -> None:
        """Give a measured Service its share; others that have another one come next."""
        ref = job.service.ref
        self._backlog.add(self._shares.put(ref, job.service.created, job.asked))
        job.granted = self._shares.granted(ref)


def _is_other_node(before: NodeContext, after: NodeContext) -> bool:
    """Whether node ports, or the source of the node's connections, are others."""
    return (
        before.host_addresses != after.host_addresses
        or before.node_addresses != after.node_addresses
    )


def _differences(before: NodeContext, after: NodeContext) -> Iterable[IPAddress]:
    """The addresses that are guarded in one of two contexts, or for another reason."""
    return {address for address, _ in before.guarded.items() ^ after.guarded.items()}
