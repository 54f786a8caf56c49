"""Which of the node's own addresses stand for it."""

from ipvsctl.model.config import NodePortAddresses
from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.model.objects import NodeContext


def node_ip(node: NodeContext, family: IPFamily) -> IPAddress | None:
    """The node's primary address of a family; None when it has none."""
    for address in (*node.node_addresses, *node.host_addresses):
        if family_of(address) is family:
            return address
    return None


def node_port_addresses(
    node: NodeContext, choice: NodePortAddresses, family: IPFamily
) -> tuple[IPAddress, ...]:
    """The addresses of a family on which node ports are served, sorted.

    Never loopback: the kernel does not route a packet from 127.0.0.1 to another host
    (k/k#56320), and `host_addresses` leaves it out.
    """
    if choice.primary:
        own = node_ip(node, family)
        return () if own is None else (own,)
    addresses = [a for a in node.host_addresses if family_of(a) is family]
    if choice.networks:
        addresses = [
            address
            for address in addresses
            if any(
                address in network
                for network in choice.networks
                if network.version == address.version
            )
        ]
    return tuple(sorted(addresses, key=int))
