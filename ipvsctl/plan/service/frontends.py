"""The ways into a Service: each address and port a client can knock at."""

from collections.abc import Iterator

import msgspec

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.net import IPAddress, IPFamily, Protocol, of_family
from ipvsctl.model.objects import (
    NodeContext,
    Service,
    ServicePort,
    ServiceType,
    TrafficPolicy,
)
from ipvsctl.model.sets import SetRole
from ipvsctl.plan.service.node_addresses import node_port_addresses
from ipvsctl.plan.service.program import WayIn


class Frontend(msgspec.Struct, frozen=True, kw_only=True):
    """One address and port a client can knock at.

    Attributes:
        is_bound: see `ServerProgram`.
    """

    way: WayIn
    address: IPAddress
    port: int
    policy: TrafficPolicy
    roles: tuple[SetRole, ...]
    field: str
    is_bound: bool = False


def frontends(
    service: Service,
    port: ServicePort,
    index: int,
    family: IPFamily,
    node: NodeContext,
    config: ProxyConfig,
) -> Iterator[Frontend]:
    """Every frontend of one port of a Service in one family.

    An external address that another link has already is not to be bound: the filter
    closes every other port of a bound address, which must never happen to an address
    of the host; and keepalived or kube-vip takes a floating VIP away again, to another
    node.

    Args:
        service: whose port it is.
        port: entry `index` of its ports.
        index: names the field in problems.
        family: of the addresses.
        node: its addresses have the node ports.
        config: says which of them.
    """
    external = service.external_traffic_policy
    is_local = external is TrafficPolicy.LOCAL
    for address in of_family(service.cluster_ips, family):
        yield Frontend(
            way=WayIn.CLUSTER_IP,
            address=address,
            port=port.port,
            policy=service.internal_traffic_policy,
            roles=(SetRole.CLUSTER_IP,),
            field=f"spec.ports[{index}].port",
            is_bound=True,
        )
    for address in of_family(service.external_ips, family):
        yield Frontend(
            way=WayIn.EXTERNAL_IP,
            address=address,
            port=port.port,
            policy=external,
            roles=(SetRole.EXTERNAL_IP_LOCAL if is_local else SetRole.EXTERNAL_IP,),
            field="spec.externalIPs",
            is_bound=address not in node.host_addresses,
        )
    for address in of_family(service.ingress_vips, family):
        yield Frontend(
            way=WayIn.INGRESS_VIP,
            address=address,
            port=port.port,
            policy=external,
            roles=(
                (SetRole.LOAD_BALANCER, SetRole.LOAD_BALANCER_LOCAL)
                if is_local
                else (SetRole.LOAD_BALANCER,)
            ),
            field="status.loadBalancer.ingress",
            is_bound=address not in node.host_addresses,
        )
    if not has_node_port(service, port):
        return
    # There a Service would answer the cluster instead of the API server.
    taken = node.api_ports.get(port.node_port, ())
    for address in node_port_addresses(node, config.node_port_addresses, family):
        if address in taken:
            continue
        yield Frontend(
            way=WayIn.NODE_PORT,
            address=address,
            port=port.node_port,
            policy=external,
            roles=(
                (SetRole.NODE_PORT, SetRole.NODE_PORT_LOCAL)
                if is_local
                else (SetRole.NODE_PORT,)
            ),
            field=f"spec.ports[{index}].nodePort",
        )


def has_node_port(service: Service, port: ServicePort) -> bool:
    """Whether a port has a node port; on a ClusterIP Service the number is idle."""
    return port.node_port != 0 and service.type in {
        ServiceType.NODE_PORT,
        ServiceType.LOAD_BALANCER,
    }


def lost_node_ports(
    service: Service,
    families: tuple[IPFamily, ...],
    node: NodeContext,
    config: ProxyConfig,
) -> tuple[IPFamily, ...]:
    """The families of which node ports are served nowhere on this node.

    On localhost those of TCP are.
    """
    if not any(has_node_port(service, port) for port in service.ports):
        return ()
    choice = config.node_port_addresses
    return tuple(
        family
        for family in families
        if choice.names(family)
        and not node_port_addresses(node, choice, family)
        and not _is_all_on_localhost(service, family, config)
    )


def _is_all_on_localhost(
    service: Service, family: IPFamily, config: ProxyConfig
) -> bool:
    return config.localhost(family) is not None and all(
        port.protocol is Protocol.TCP
        for port in service.ports
        if has_node_port(service, port)
    )


def uses_cluster_endpoints(
    service: Service, port: ServicePort, family: IPFamily
) -> bool:
    """Whether a port has any other frontend than a cluster IP with policy Local.

    Source: kube-proxy pkg/proxy/ipvs/proxier.go (`syncEndpoint`), k/k#97081;
        pkg/proxy/serviceport.go (`UsesClusterEndpoints`).
    """
    if service.internal_traffic_policy is TrafficPolicy.CLUSTER:
        return True
    external = (*service.external_ips, *service.ingress_vips)
    return any(of_family(external, family)) or has_node_port(service, port)
