"""From objects to the desired state: compile what is dirty, without a kernel."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec

from ipvsctl.cluster.store import Dirty, Store
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.facts import KernelFacts
from ipvsctl.model.host import ApiServers, HostNetwork
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.problem import ObjectRef, Problem
from ipvsctl.model.state import Observed
from ipvsctl.plan.change import Change
from ipvsctl.plan.compile import compile_service
from ipvsctl.plan.desired import Desired
from ipvsctl.plan.guards import api_ports, guarded_addresses
from ipvsctl.plan.host_ports import taken_ports
from ipvsctl.plan.node import NodeProgram, compile_node
from ipvsctl.plan.node_addresses import node_port_problems, standing_addresses


class _Known(NamedTuple):
    """What a context is made of."""

    nodes: NodeContext
    api: ApiServers
    host: HostNetwork


class Compiler:
    """Keeps one node's desired state up with the store."""

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
        self._known = _Known(store.node_context(), store.api_servers, HostNetwork())
        self._context = self._context_of(self._known)
        self._desired = Desired(self._compile_node())
        self._taken_ports: tuple[Problem, ...] = ()

    @property
    def desired(self) -> Desired:
        """Every Service's program and their union."""
        return self._desired

    @property
    def context(self) -> NodeContext:
        """What is known of this node."""
        return self._context

    def problems(self) -> tuple[Problem, ...]:
        """Everything wrong with any object: as read, and as compiled; sorted."""
        choice = self._config.node_port_addresses
        lost = self._desired.lost_node_ports
        return tuple(
            sorted(
                {
                    *self._store.problems(),
                    *self._desired.problems(),
                    *node_port_problems(self._context, choice, lost),
                    *(p for p in self._taken_ports if p.ref in self._desired.programs),
                }
            )
        )

    def compile_dirty(self, host: HostNetwork | None = None) -> Change:
        """Compile what is dirty; return what that changed.

        Args:
            host: the node's own network; None is the one known of. Other addresses
                have everything compiled.
        """
        self._look_again(
            self._store.take_dirty(), self._known.host if host is None else host
        )
        return self._desired.take_change()

    def set_host(self, host: HostNetwork) -> None:
        """Compile what another network of the host concerns."""
        self._look_again(Dirty(), host)

    def absorb(
        self, observed: Observed, touched: AbstractSet[VirtualServerKey]
    ) -> Change:
        """Take note of what is the kernel's to say: the host's network, others' things.

        Args:
            observed: the complete state.
            touched: virtual servers that syncs have changed since it was read.

        Returns:
            What that changed; the whole state is to be compared next all the same.
        """
        self.set_host(observed.host)
        self._desired.agree(observed, touched)
        self._taken_ports = taken_ports(
            observed.sockets, observed.host_addresses, self._desired.server
        )
        return self._desired.take_change()

    def _look_again(self, dirty: Dirty, host: HostNetwork) -> None:
        """Compile what is dirty, and what another network of the host concerns."""
        before = self._context
        services = dirty.services
        self._know(host)
        if self._context is not before:
            # Peers' addresses concern the Services that claim one, which are dirty.
            services |= self._store.claimants(_differences(before, self._context))
        if dirty.node_changed or _is_other_node(before, self._context):
            self._compile_all()
        else:
            self._compile(services)

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
            families=self._facts.families,
            schedulers=self._facts.schedulers,
        )

    def _compile_node(self) -> NodeProgram:
        return compile_node(self._context, self._config, self._facts)

    def _compile_all(self) -> None:
        self._desired.set_node(self._compile_node())
        self._compile({*self._store.services, *self._desired.programs})

    def _compile(self, refs: Iterable[ObjectRef]) -> None:
        for ref in refs:
            service = self._store.service(ref)
            if service is None:
                self._desired.remove(ref)
                continue
            slices = self._store.slices_of(ref)
            self._desired.put(
                compile_service(service, slices, self._context, self._config)
            )


def _is_other_node(before: NodeContext, after: NodeContext) -> bool:
    """Whether node ports, or the source of the node's connections, are others."""
    return (
        before.host_addresses != after.host_addresses
        or before.node_addresses != after.node_addresses
    )


def _differences(before: NodeContext, after: NodeContext) -> Iterable[IPAddress]:
    """The addresses that are guarded in one of two contexts, or for another reason."""
    return {address for address, _ in before.guarded.items() ^ after.guarded.items()}
