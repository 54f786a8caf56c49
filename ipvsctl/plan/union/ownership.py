"""Which virtual servers are ours: by their entries in sets, or by other evidence."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import cached_property

from ipvsctl.model.ipset import SetEntry
from ipvsctl.model.ipvs import ForwardingMethod, VirtualServerKey
from ipvsctl.model.net import IPAddress, IPFamily, Protocol
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.rules.catalogue import (
    OWNING_ROLES,
    SetRole,
    kube_proxy_node_ports,
    set_name,
)
from ipvsctl.plan.service.program import ServerProgram, WayIn


def owned_keys(
    state: NodeState, host_addresses: AbstractSet[IPAddress] = frozenset()
) -> frozenset[VirtualServerKey]:
    """The virtual servers of a state that are ours: those with an owning entry.

    Args:
        state: with all of its entries.
        host_addresses: this node's own. kube-proxy's node ports have no address, so
            they tell what is ours only together with these.
    """
    owning = OwningEntries(state.entries, host_addresses)
    return frozenset(key for key in state.virtual_servers if key in owning)


class OwningEntries:
    """Tells whether a virtual server has an owning entry."""

    def __init__(
        self,
        entries: Mapping[str, AbstractSet[SetEntry]],
        host_addresses: AbstractSet[IPAddress],
    ) -> None:
        self._entries = entries
        self._host_addresses = host_addresses
        self._by_family = {
            family: [
                entries[name]
                for name in (set_name(role, family) for role in OWNING_ROLES)
                if name in entries
            ]
            for family in IPFamily
        }
        self._marks = {
            family: {
                entry.mark
                for entry in entries.get(set_name(SetRole.SHORT_CIRCUIT, family), ())
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
        return any(
            entry in entries for entries in self._by_family[key.family]
        ) or self._is_kube_proxys_node_port(key, entry)

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
        """Whether there is no owning entry at all, not even of kube-proxy's."""
        held = [entries for found in self._by_family.values() for entries in found]
        held += (
            self._entries.get(kube_proxy_node_ports(protocol, family), frozenset())
            for family in IPFamily
            for protocol in Protocol
        )
        return not any(held)

    def _is_kube_proxys_node_port(self, key: VirtualServerKey, entry: SetEntry) -> bool:
        if key.protocol is None:
            return False
        held = self._entries.get(kube_proxy_node_ports(key.protocol, key.family), ())
        is_own_address = key.address in self._host_addresses
        return entry in held or (is_own_address and SetEntry(port=key.port) in held)


class Ownership:
    """Tells whose the virtual servers of a complete state are.

    Attributes:
        owning: says which virtual servers have an owning entry.
    """

    def __init__(self, observed: Observed) -> None:
        self._state = observed.state
        self.owning = OwningEntries(observed.state.entries, observed.host_addresses)

    def is_recognised(self, program: ServerProgram) -> bool:
        """Whether a virtual server without an owning entry is ours all the same.

        It may be, since anybody can flush a set. Evidence, the strongest first:

        - A virtual server with a real server that is not masqueraded is none of ours.
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
        if any(
            real_server.forwarding is not ForwardingMethod.MASQUERADE
            for real_server in held.values()
        ):
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
