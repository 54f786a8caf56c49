"""Which virtual servers are ours."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from ipvsctl.model.ipset import SetEntry
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.state import NodeState
from ipvsctl.plan.catalogue import (
    OWNING_ROLES,
    SetRole,
    kube_proxy_node_ports,
    set_name,
)


def owned_keys(
    state: NodeState, host_addresses: AbstractSet[IPAddress] = frozenset()
) -> AbstractSet[VirtualServerKey]:
    """The virtual servers of a state that are ours: those with an owning entry.

    Args:
        state: with all of its entries.
        host_addresses: this node's own. kube-proxy's node ports have no address, so
            they tell what is ours only together with these.
    """
    owning = OwningEntries(state.entries, host_addresses)
    return {key for key in state.virtual_servers if key in owning}


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

    def _is_kube_proxys_node_port(self, key: VirtualServerKey, entry: SetEntry) -> bool:
        if key.protocol is None:
            return False
        held = self._entries.get(kube_proxy_node_ports(key.protocol, key.family), ())
        is_own_address = key.address in self._host_addresses
        return entry in held or (is_own_address and SetEntry(port=key.port) in held)
