"""From objects to the desired state: compile what is dirty, without a kernel."""

from collections.abc import Callable, Generator, Iterable
from collections.abc import Set as AbstractSet
from typing import TypeVar

import msgspec

from ipvsctl.cluster.store import Store
from ipvsctl.controller.backlog import (
    LARGE_VIRTUAL_SERVERS,
    SMALL,
    Backlog,
    Job,
    Limited,
)
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.facts import KernelFacts
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.problem import ObjectRef, Problem
from ipvsctl.model.problem_book import ProblemBook
from ipvsctl.model.state import Observed
from ipvsctl.plan.amounts import namespace_limit, service_limit
from ipvsctl.plan.change import Change
from ipvsctl.plan.desired import Desired
from ipvsctl.plan.node import NodeProgram, compile_node
from ipvsctl.plan.shares import Shares

T = TypeVar("T")

Work = Callable[[], object]

Steps = Generator[Work | None, None, T]
"""Work step by step. What it yields is to be called, in whatever thread, before it goes
on; after each step the rest may wait for others."""


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
        facts: KernelFacts,
    ) -> None:
        self._config = config
        self._store = store
        self._facts = facts
        self._context = self._context_with(())
        self._desired = Desired(self._compile_node())
        self._limits = Limited(
            service_limit(config.limits), namespace_limit(config.limits)
        )
        self._shares = Shares(self._limits.namespace)
        self._backlog = Backlog()
        self._is_parts_turn = True
        self._book = ProblemBook((store.noted_problems, *self._desired.problem_parts))

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

    def compile_dirty(
        self, host_addresses: Iterable[IPAddress] | None = None
    ) -> Change:
        """Compile what is dirty; return what that changed.

        Args:
            host_addresses: the node's own; None is those known of. Other ones have
                everything compiled.
        """
        return _run(self.compile_in_steps(host_addresses))

    def compile_in_steps(
        self, host_addresses: Iterable[IPAddress] | None = None
    ) -> Steps[Change]:
        """The same in steps, between which the store may change.

        No other call meanwhile, but for steps of `compile_large` that has begun.
        """
        self._take_dirty(host_addresses)
        yield from self._compile_rest()
        return self._desired.take_change()

    def compile_some(self) -> Change:
        """The same of some of it, for some ten milliseconds."""
        self._take_dirty(None)
        is_idle = not self._backlog.small
        self._compile_small()
        # Others' changes are not to wait for a part as well, but every second time.
        if is_idle or self._is_parts_turn:
            self._backlog.work()
        self._is_parts_turn = not self._is_parts_turn
        return self._desired.take_change()

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
        ref = self._backlog.begin()
        job = self._job(ref)
        if job is None:
            self._backlog.put(self._desired.remove_in_steps(ref))
            return
        self._backlog.hold(job)
        yield job.measure
        if self._backlog.is_held(job):
            self._grant(job)
            yield job.compile
        if self._backlog.is_held(job) and job.program is not None:
            self._backlog.put(self._desired.put_in_steps(job.program))

    def set_host_addresses(self, addresses: Iterable[IPAddress]) -> None:
        """Compile everything for the node's own addresses, if they are other ones."""
        _run(self._move_in_steps(addresses))

    def absorb(
        self, observed: Observed, touched: AbstractSet[VirtualServerKey]
    ) -> Change:
        """Take note of what is the kernel's to say: host addresses, what is others'.

        Args:
            observed: the complete state.
            touched: virtual servers that syncs have changed since it was read.

        Returns:
            What that changed; the whole state is to be compared next all the same.
        """
        return _run(self.absorb_in_steps(observed, touched))

    def absorb_in_steps(
        self, observed: Observed, touched: AbstractSet[VirtualServerKey]
    ) -> Steps[Change]:
        """The same in steps; see `compile_in_steps`."""
        yield from self._move_in_steps(observed.host_addresses)
        self._desired.agree(observed, touched)
        return self._desired.take_change()

    def _move_in_steps(self, addresses: Iterable[IPAddress]) -> Steps[None]:
        hosts = _order(addresses)
        if hosts != self._context.host_addresses:
            self._context = self._context_with(hosts)
            self._add_all()
            yield from self._compile_rest()

    def _context_with(self, host_addresses: tuple[IPAddress, ...]) -> NodeContext:
        known = self._store.node_context()
        node_addresses = known.node_addresses
        if self._config.node_address is not None:
            # The first address of a family is the one that stands for the node.
            node_addresses = (self._config.node_address, *node_addresses)
        return msgspec.structs.replace(
            known,
            node_addresses=tuple(dict.fromkeys(node_addresses)),
            host_addresses=host_addresses,
            families=self._facts.families,
            schedulers=self._facts.schedulers,
        )

    def _compile_node(self) -> NodeProgram:
        return compile_node(self._context, self._config, self._facts)

    def _take_dirty(self, host_addresses: Iterable[IPAddress] | None) -> None:
        dirty = self._store.take_dirty()
        known = self._context.host_addresses
        hosts = known if host_addresses is None else _order(host_addresses)
        if dirty or hosts != known:
            # Peers' addresses concern the Services that claim one, which are dirty.
            self._context = self._context_with(hosts)
        if dirty.node_changed or hosts != known:
            self._add_all()
        else:
            self._backlog.add(dirty.services)

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
            self._backlog.work()
            yield None
            if self._backlog.has_large:
                yield from self.compile_large()

    def _compile_small(self) -> None:
        small = self._backlog.small
        for _ in range(min(SMALL, len(small))):
            ref = next(iter(small))
            del small[ref]
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

    def _job(self, ref: ObjectRef) -> Job | None:
        """What it takes to compile a Service as it is now; None if it is gone."""
        service = self._store.service(ref)
        if service is None:
            self._backlog.add(self._shares.remove(ref))
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


def _run(steps: Steps[T]) -> T:
    while True:
        try:
            work = next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        if work is not None:
            work()


def _order(addresses: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
    return tuple(sorted(addresses, key=lambda a: (a.version, int(a))))
