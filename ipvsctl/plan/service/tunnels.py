"""Who may send packets in a tunnel to whom, instead of masquerading them."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from ipvsctl.model.config import ExternalForwarding, ProxyConfig
from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    RealServers,
    Tunnel,
)
from ipvsctl.model.net import IPFamily, of_family
from ipvsctl.model.objects import NodeContext, Service, ServicePort, TrafficPolicy
from ipvsctl.model.tunnel import TunnelEnd
from ipvsctl.plan.rules.local_clients import local_clients
from ipvsctl.plan.service.endpoints import UsableEndpoints
from ipvsctl.plan.service.frontends import Frontend
from ipvsctl.plan.service.program import WayIn
from ipvsctl.plan.service.real_servers import real_servers_of
from ipvsctl.plan.service.wishes import MOST_WEIGHT, Wishes

GUE_FIXED: Final = (5, 3)
"""Linux 5.2 has tunnels in UDP for real servers, 5.3 all of their flags."""


def tunnel_ends(node: NodeContext, config: ProxyConfig) -> Mapping[IPFamily, TunnelEnd]:
    """The ends of tunnels that this node is to have.

    One for each family, at its first address that a link has.
    """
    if not config.has_tunnel:
        return {}
    hosts = frozenset(node.host_addresses)
    found = {
        family: next(
            (a for a in of_family(node.node_addresses, family) if a in hosts), None
        )
        for family in node.families
    }
    return {
        family: TunnelEnd(address=address, port=config.tunnel_port)
        for family, address in found.items()
        if address is not None
    }


def _end_of(node: NodeContext, name: str, family: IPFamily) -> TunnelEnd | None:
    """Where a Node takes packets in tunnels, as it says itself; None if nowhere.

    Args:
        node: this node, with all that is known of others.
        name: of any Node.
        family: of the tunnel and of the packets in it.
    """
    offer = node.tunnel_offers.get(name)
    if offer is None:
        return None
    address = next(of_family(offer.addresses, family), None)
    return None if address is None else TunnelEnd(address=address, port=offer.port)


def _may_send(node: NodeContext, family: IPFamily) -> bool:
    """Whether other nodes know that this one sends them packets in tunnels."""
    own = node.tunnel_offers.get(node.name)
    return own is not None and own.is_sending and any(of_family(own.addresses, family))


class TunnelledServers(NamedTuple):
    """What is behind an external address whose packets go to other nodes in tunnels.

    Attributes:
        outside: what clients outside the cluster have: endpoints on this node, and
            other nodes as one real server each.
        everywhere: what clients inside the cluster have.
        here: the endpoints on this node, for what other nodes send on.
    """

    outside: RealServers
    everywhere: RealServers
    here: RealServers


def may_be_tunnelled(frontend: Frontend) -> bool:
    """Whether packets to a frontend may go to other nodes in tunnels.

    A node port is asked by pods of other nodes, too, which would drop answers that do
    not come from where they asked.
    """
    is_external = frontend.way in {WayIn.EXTERNAL_IP, WayIn.INGRESS_VIP}
    return is_external and frontend.policy is TrafficPolicy.CLUSTER


def wants_tunnel(service: Service, wishes: Wishes, config: ProxyConfig) -> bool:
    """Whether a Service's external addresses are tunnelled where nodes can."""
    return (
        config.has_tunnel
        and wishes.forwarding is ExternalForwarding.TUNNEL
        and service.external_traffic_policy is TrafficPolicy.CLUSTER
    )


def tunnel_obstacle(
    port: ServicePort,
    family: IPFamily,
    usable: UsableEndpoints,
    wishes: Wishes,
    node: NodeContext,
    config: ProxyConfig,
) -> str:
    """Why the external addresses of a port are masqueraded although tunnels are wanted.

    All or nothing: a packet that was not masqueraded before IPVS has chosen cannot be
    afterwards, so one endpoint on a node that cannot has the whole address masqueraded.
    Nor can anything be tunnelled while pods cannot be told from outside clients: an
    answer past their own node is one that they drop.

    Args:
        port: of the Service.
        family: of its addresses.
        usable: the endpoints that each policy may use.
        wishes: of the Service.
        node: knows which nodes can.
        config: how clients are told apart.

    Returns:
        A clause; "" if nothing is in the way.
    """
    if wishes.is_one_packet(port):
        return "each datagram goes by itself, and keeps its source anyway"
    if not _may_send(node, family):
        return "the others have not heard yet that this node sends packets in tunnels"
    if not local_clients(family, config, node):
        return "pods cannot be told from clients outside the cluster"
    for endpoint in usable.cluster:
        if endpoint.is_local:
            continue
        name = endpoint.endpoint.node_name
        if _end_of(node, name, family) is None:
            where = f"node {name}, which takes none" if name else "no node"
            return f"endpoint {endpoint.server.key} is on {where}"
    return ""


def tunnelled_servers(
    service: Service,
    port: ServicePort,
    family: IPFamily,
    usable: UsableEndpoints,
    real_servers: Mapping[TrafficPolicy, RealServers],
    wishes: Wishes,
    node: NodeContext,
    config: ProxyConfig,
) -> TunnelledServers | None:
    """What is behind the external addresses of a port, if all of it can be tunnelled.

    Args:
        service: whose port it is.
        port: of the Service.
        family: of its addresses.
        usable: the endpoints that each policy may use.
        real_servers: those of each traffic policy.
        wishes: of the Service.
        node: knows which nodes can.
        config: whether this one can.

    Returns:
        None where everything is masqueraded.
    """
    if not wants_tunnel(service, wishes, config) or tunnel_obstacle(
        port, family, usable, wishes, node, config
    ):
        return None
    everywhere = real_servers[TrafficPolicy.CLUSTER]
    outside: dict[RealServerKey, RealServer] = {}
    for endpoint in usable.cluster:
        server = everywhere[endpoint.server.key]
        end = None
        if not endpoint.is_local:
            end = _end_of(node, endpoint.endpoint.node_name, family)
        if end is not None:
            key = RealServerKey(end.address, port.port)
            server = _with_another(outside.get(key), key, server, end.port)
        outside[server.key] = server
    here = real_servers_of(usable.local, config, wishes)
    return TunnelledServers(outside, everywhere, here)


def _with_another(
    known: RealServer | None, key: RealServerKey, endpoint: RealServer, port: int
) -> RealServer:
    """A node as a real server with one endpoint more; it counts for all of them."""
    if known is None:
        return msgspec.structs.replace(
            endpoint,
            key=key,
            forwarding=ForwardingMethod.TUNNEL,
            tunnel=Tunnel(port=port),
        )
    return msgspec.structs.replace(
        known,
        weight=min(known.weight + endpoint.weight, MOST_WEIGHT),
        upper_threshold=known.upper_threshold + endpoint.upper_threshold,
        lower_threshold=known.lower_threshold + endpoint.lower_threshold,
    )
