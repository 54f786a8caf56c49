"""Set entries of a Service, beside those that its frontends stand for."""

from collections.abc import Iterator

import msgspec

from ipvsctl.model.net import IPFamily, IPNetwork, first_of, is_in, of_family
from ipvsctl.model.objects import NodeContext, Service, ServicePort
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.plan.service.endpoints import PortEndpoint
from ipvsctl.plan.service.node_addresses import node_ip
from ipvsctl.plan.service.program import SetMember


def source_range_entries(
    service: Service,
    vip: SetEntry,
    family: IPFamily,
    node: NodeContext,
    *,
    is_kube_proxy: bool = False,
) -> Iterator[SetMember]:
    """Entries that let only `loadBalancerSourceRanges` reach a VIP.

    A client on the node itself has the VIP as its source address, which no range
    covers; it is let in by that address when a range covers the node.

    Args:
        service: with its ranges.
        vip: address, protocol and port.
        family: of the VIP.
        node: may be a client itself.
        is_kube_proxy: every range has an entry. Else one that lies in another has
            none, which says the same: not every firewall has room for both.
    """
    ranges = tuple(of_family(service.source_ranges, family))
    if not is_kube_proxy:
        ranges = _outermost(ranges)
    if not ranges:
        return
    yield SetMember(set_key(SetRole.LOAD_BALANCER_FW, family), vip)
    ranged = set_key(SetRole.LOAD_BALANCER_SOURCE_CIDR, family)
    for network in ranges:
        # A hash set has no room for length 0 (ip_set_hash_ipportnet.c); two halves do.
        halves = [network] if network.prefixlen else list(network.subnets())
        for half in halves:
            yield SetMember(ranged, msgspec.structs.replace(vip, network=half))
    own = node_ip(node, family)
    if own is not None and any(is_in(own, network) for network in ranges):
        yield SetMember(
            set_key(SetRole.LOAD_BALANCER_SOURCE_IP, family),
            msgspec.structs.replace(vip, second_address=vip.address),
        )


def _outermost(networks: tuple[IPNetwork, ...]) -> tuple[IPNetwork, ...]:
    """Networks of one family without those that lie in another of them."""
    found: list[IPNetwork] = []
    for network in sorted(networks, key=_place):
        # Sorted so, the last one that was kept is the only one it can lie in.
        if not found or not is_in(first_of(network), found[-1]):
            found.append(network)
    return tuple(found)


def _place(network: IPNetwork) -> tuple[int, int]:
    return int(network.network_address), network.prefixlen


def loop_back_entries(
    endpoints: tuple[PortEndpoint, ...], port: ServicePort, family: IPFamily
) -> Iterator[SetMember]:
    """Entries that masquerade an endpoint reaching itself.

    In any condition: its connections outlive its readiness.
    """
    key = set_key(SetRole.LOOP_BACK, family)
    for e in endpoints:
        if e.is_local:
            address = e.endpoint.address
            yield SetMember(
                key,
                SetEntry(
                    address=address,
                    protocol=port.protocol,
                    port=e.port,
                    second_address=address,
                ),
            )


def health_check_entries(
    service: Service, families: tuple[IPFamily, ...]
) -> Iterator[SetMember]:
    """Entries that keep the health-check node port open, which there must be."""
    for family in families:
        key = set_key(SetRole.HEALTH_CHECK_NODE_PORT, family)
        yield SetMember(key, SetEntry(port=service.health_check_node_port))
