"""The node's own addresses that stand for it."""

from collections.abc import Iterable, Iterator, Mapping

from ipvsctl.model.config import NodePortAddresses, ProxyConfig
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    family_of,
    is_in,
)
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.problem import Kind, ObjectRef, Problem


def standing_addresses(
    named: Iterable[IPAddress], primary: Iterable[IPAddress]
) -> tuple[IPAddress, ...]:
    """The addresses that stand for the node, which nobody may have as a VIP.

    Those that are named for it. Of a family without any, the node's primary one: a
    Node object may be missing, and any other address may be a VIP that keepalived or
    kube-vip has put on a link of this node.

    Args:
        named: by the settings and the Node object, in order.
        primary: of the host, each family's first one counts.
    """
    standing = dict.fromkeys(named)
    families = {family_of(address) for address in standing}
    for address in primary:
        if family_of(address) not in families:
            standing[address] = None
            families.add(family_of(address))
    return tuple(standing)


def node_ip(node: NodeContext, family: IPFamily) -> IPAddress | None:
    """The node's primary address of a family; None when it has none."""
    for address in (*node.node_addresses, *node.host_addresses):
        if family_of(address) is family:
            return address
    return None


def source_address(node: NodeContext, family: IPFamily) -> IPAddress | None:
    """The source of the host's own connections to VIPs of a family.

    The node's primary address; None if no link has it, since the kernel takes only an
    address of the host as source (fib_semantics.c:fib_valid_prefsrc).
    """
    address = node_ip(node, family)
    return address if address in node.host_addresses else None


def node_port_problems(
    node: NodeContext, config: ProxyConfig, lost: Mapping[IPFamily, int]
) -> Iterator[Problem]:
    """One problem a family for the node ports of all Services.

    Args:
        node: this node.
        config: says which of its addresses have node ports.
        lost: how many Services have some that are served on none.
    """
    for family, count in sorted(lost.items()):
        if count > 0:
            # Rounded down, so that it is not another problem with each Service.
            least = 10 ** (len(str(count)) - 1)
            has_localhost = config.localhost(family) is not None
            but = " but localhost" if has_localhost else ""
            kind = " for UDP and SCTP" if has_localhost else ""
            yield Problem(
                kind=Kind.NODE,
                ref=ObjectRef("", node.name),
                field="nodePortAddresses",
                value=str(config.node_port_addresses),
                reason=f"matches no {family.label} address of this node{but}; node"
                f" ports{kind} of {least:,} or more Services are not served here",
            )


def node_port_addresses(
    node: NodeContext, choice: NodePortAddresses, family: IPFamily
) -> tuple[IPAddress, ...]:
    """The addresses of a family on which node ports are served, sorted.

    All of them when the choice names no network of that family.
    Never loopback: the kernel does not route a packet from 127.0.0.1 to another host
    (k/k#56320), and `host_addresses` leaves it out. There this process listens, see
    `localhost_ports`.
    Source: kube-proxy pkg/proxy/util/nodeport_addresses.go.
    """
    if choice.primary:
        own = node_ip(node, family)
        return () if own is None else (own,)
    networks = [net for net in choice.networks if family_of(net) is family]
    addresses = [
        address
        for address in node.host_addresses
        if family_of(address) is family
        and (not networks or any(is_in(address, network) for network in networks))
    ]
    return tuple(sorted(addresses, key=int))
