"""From objects to the desired state: compile what is dirty, without a kernel."""

from collections.abc import Iterable

import msgspec

from ipvsctl.cluster.store import Store
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.facts import KernelFacts
from ipvsctl.model.net import IPAddress
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.problem import ObjectRef, Problem
from ipvsctl.model.state import Observed
from ipvsctl.plan.change import Change
from ipvsctl.plan.compile import compile_service
from ipvsctl.plan.desired import Desired
from ipvsctl.plan.node import NodeProgram, compile_node


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
        self._context = self._context_with(())
        self._desired = Desired(self._compile_node())

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
        return tuple(sorted({*self._store.problems(), *self._desired.problems()}))

    def compile_dirty(
        self, host_addresses: Iterable[IPAddress] | None = None
    ) -> Change:
        """Compile what is dirty; return what that changed.

        Args:
            host_addresses: the node's own; None is those known of. Other ones have
                everything compiled.
        """
        dirty = self._store.take_dirty()
        known = self._context.host_addresses
        hosts = known if host_addresses is None else _order(host_addresses)
        if dirty or hosts != known:
            # Peers' addresses concern the Services that claim one, which are dirty.
            self._context = self._context_with(hosts)
        if dirty.node_changed or hosts != known:
            self._compile_all()
        else:
            self._compile(dirty.services)
        return self._desired.take_change()

    def set_host_addresses(self, addresses: Iterable[IPAddress]) -> None:
        """Compile everything for the node's own addresses, if they are other ones."""
        hosts = _order(addresses)
        if hosts != self._context.host_addresses:
            self._context = self._context_with(hosts)
            self._compile_all()

    def absorb(self, observed: Observed) -> Change:
        """Take note of what is the kernel's to say: host addresses and fwmarks.

        Returns:
            What that changed; the whole state is to be compared next all the same.
        """
        self.set_host_addresses(observed.host_addresses)
        self._desired.agree_on_marks(observed.state)
        return self._desired.take_change()

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


def _order(addresses: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
    return tuple(sorted(addresses, key=lambda a: (a.version, int(a))))
