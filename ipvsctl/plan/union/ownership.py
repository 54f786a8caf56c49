"""Which virtual servers are ours: by their entries in sets, or by other evidence."""

from collections.abc import Set as AbstractSet
from functools import cached_property

from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    Tunnel,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.sets import (
    MARKING_ROLES,
    OWNING_ROLES,
    FormerNodePort,
    SetEntry,
    set_key,
)
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.service.program import ServerProgram, WayIn


def owned_keys(
    state: NodeState, host_addresses: AbstractSet[IPAddress] = frozenset()
) -> frozenset[VirtualServerKey]:
    """The virtual servers of a state that are ours: those with an owning entry.

    Args:
        state: with all of its entries.
        host_addresses: this node's own. A former proxy's node ports have no address,
            so they tell what is ours only together with these.
    """
    owning = OwningEntries(state, host_addresses)
    return frozenset(key for key in state.virtual_servers if key in owning)


class OwningEntries:
    """Tells whether a virtual server has an owning entry."""

    def __init__(
        self, state: NodeState, host_addresses: AbstractSet[IPAddress]
    ) -> None:
        leftovers = state.leftovers
        if state.former is not None:
            leftovers = leftovers | state.former.leftovers
        self._host_addresses = host_addresses
        self._former_node_ports: AbstractSet[FormerNodePort] = frozenset().union(
            *(leftover.node_ports for leftover in leftovers)
        )
        self._by_family = {
            family: [
                entries
                for role in OWNING_ROLES
                if (entries := state.evidence(set_key(role, family)))
            ]
            for family in IPFamily
        }
        self._marks = {
            family: {
                entry.mark
                for role in MARKING_ROLES
                for entry in state.evidence(set_key(role, family))
                if entry.mark
            }
            for family in IPFamily
        }

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, VirtualServerKey):
            return False
        if key.fwmark:
            return key.fwmark in self._marks[key.family]
        entry = SetEntry(address=key.address, protocol=key.protocol, port=key.port)
        return any(entry in entries for entries in self._by_family[key.family]) or (
            bool(self._former_node_ports) and self._is_former_node_port(key)
        )

    @cached_property
    def addresses(self) -> AbstractSet[IPAddress]:
        """The addresses of all owning entries."""
        return {
            entry.address
            for family in IPFamily
            for entries in self._by_family[family]
            for entry in entries
            if entry.address is not None
        }

    @property
    def is_empty(self) -> bool:
        """Whether there is no owning entry at all, not even of a former proxy's."""
        held = [entries for found in self._by_family.values() for entries in found]
        return not (self._former_node_ports or any(held))

    def _is_former_node_port(self, key: VirtualServerKey) -> bool:
        if key.protocol is None:
            return False
        addresses: tuple[IPAddress | None, ...] = (key.address,)
        if key.address in self._host_addresses:
            addresses = (key.address, None)
        return any(
            FormerNodePort(key.family, key.protocol, key.port, address)
            in self._former_node_ports
            for address in addresses
        )


def _way(server: RealServer) -> tuple[ForwardingMethod, Tunnel | None]:
    return server.forwarding, server.tunnel


class Ownership:
    """Tells whose the virtual servers of a complete state are.

    Attributes:
        owning: says which virtual servers have an owning entry.
    """

    def __init__(self, observed: Observed) -> None:
        self._state = observed.state
        self.owning = OwningEntries(observed.state, observed.host_addresses)

    def is_recognised(self, program: ServerProgram) -> bool:
        """Whether a virtual server without an owning entry is ours all the same.

        It may be, since anybody can flush a set. Evidence, the strongest first:

        - A virtual server with a real server that gets packets in another way than
          those of its Service do is none of ours.
        - One with a real server that its Service wants does our work; so does another
          balancer that has the same address on another link for the same real servers
          (kube-vip's, of the API servers). On such an address the real server counts
          only if the sets were flushed.
        - One without any such real server must have the scheduler, flags and timeout
          that are wanted.
        - An address on the VIP link, or with a route of ours, was made local for our
          virtual servers there. While another one of them has its entry, the sets were
          not flushed, and the one without an entry is a stranger beside it.
        - At any other address, after a flush, an empty virtual server is that of a
          Service without endpoints.

        Args:
            program: of a virtual server that is in the state.
        """
        key = program.server.key
        held = self._state.real_servers.get(key, EMPTY)
        ways = {_way(server) for server in program.real_servers.values()}
        ways.add((ForwardingMethod.MASQUERADE, None))
        if any(_way(server) not in ways for server in held.values()):
            return False
        is_bound = key.address in self._state.addresses
        is_bound |= key.address in self._state.routes
        if not held.keys().isdisjoint(program.real_servers):
            return is_bound or program.way is WayIn.NODE_PORT or self._is_flushed
        if self._state.virtual_servers[key] != program.server:
            return False
        if is_bound:
            return key.address not in self.owning.addresses
        return not held and self._is_flushed

    @cached_property
    def _is_flushed(self) -> bool:
        """Whether VIPs are bound, and yet there is no owning entry.

        Sets alone do not show that they were flushed: everything may be withheld.
        """
        is_bound = bool(self._state.addresses or self._state.routes)
        return is_bound and self.owning.is_empty
