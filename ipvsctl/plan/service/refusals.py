"""The parts of a Service that this node does not serve, and why.

A refusal takes away what its problem names and nothing else: it is taken out of the
Service before anything is compiled, so that no other part can depend on it.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.host import API_SERVICE, Guard
from ipvsctl.model.net import IPAddress, IPNetwork, format_host_port, is_in
from ipvsctl.model.objects import NodeContext, Service, ServicePort, ServiceType
from ipvsctl.model.problem import Problem
from ipvsctl.plan.service.families import service_problem
from ipvsctl.plan.service.frontends import has_node_port
from ipvsctl.plan.service.guards import ON_THE_WAY_TO_THE_API

_NODE_ADDRESS: Final = "is the address of a Node"
_RESERVED: Final = "is reserved for the host (reservedNodePorts)"
_API_PORT: Final = "is the API server's port on this node"
_NOT_SERVED: Final = "; not served"

_API: Final = frozenset({Guard.API_SERVER, Guard.API_ENDPOINT})

# The API server is reached through its own Service, and name servers may be the
# cluster's: for a cluster IP to be either is what it is for.
_NO_CLUSTER_IP: Final = frozenset(
    {Guard.API_ENDPOINT, Guard.GATEWAY, Guard.BROADCAST, Guard.NETWORK}
)

_CLUSTER_IPS: Final = "spec.clusterIPs"
_EXTERNAL_IPS: Final = "spec.externalIPs"
_INGRESS_VIPS: Final = "status.loadBalancer.ingress"
_VIP_FIELDS: Final = frozenset({_CLUSTER_IPS, _EXTERNAL_IPS, _INGRESS_VIPS})
_SETTINGS: Final = {
    _EXTERNAL_IPS: "allowedExternalIPs",
    _INGRESS_VIPS: "allowedIngressVIPs",
}
_VIP_REASONS: Final = frozenset(
    f"{reason}{_NOT_SERVED}"
    for reason in (
        _NODE_ADDRESS,
        *Guard,
        *(f"is not in {setting}" for setting in _SETTINGS.values()),
    )
)


class Admitted(NamedTuple):
    """Take out of a Service all that is refused, with a problem for each thing."""

    service: Service
    problems: tuple[Problem, ...] = ()


def admit(service: Service, node: NodeContext, config: ProxyConfig) -> Admitted:
    """Take out of a Service what may not be served on this node."""
    problems = [*_refused_cluster_ips(service, node, config)]
    if service.external_ips or service.ingress_vips:
        problems += _refused_vips(service, node, config)
    # No other type has any kind of node port.
    if service.type is not ServiceType.CLUSTER_IP:
        problems += _refused_ports(service, node, config)
    if not problems:
        return Admitted(service)
    lost = {(problem.field, problem.value) for problem in problems}

    def kept(field: str, vips: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
        return tuple(vip for vip in vips if (field, str(vip)) not in lost)

    left = msgspec.structs.replace(
        service,
        cluster_ips=kept(_CLUSTER_IPS, service.cluster_ips),
        external_ips=kept(_EXTERNAL_IPS, service.external_ips),
        ingress_vips=kept(_INGRESS_VIPS, service.ingress_vips),
        ports=tuple(_kept_port(port, config) for port in service.ports),
        health_check_node_port=0
        if config.is_reserved(service.health_check_node_port)
        else service.health_check_node_port,
    )
    return Admitted(left, tuple(problems))


def is_refusal(problem: Problem) -> bool:
    """Whether a problem is that of a VIP that is not served."""
    return problem.field in _VIP_FIELDS and problem.reason in _VIP_REASONS


def _refused_cluster_ips(
    service: Service, node: NodeContext, config: ProxyConfig
) -> Iterator[Problem]:
    # An API server gives out none of these; manifests may say anything.
    if config.is_kube_proxy or service.ref == API_SERVICE:
        return
    for vip in service.cluster_ips:
        if _is_nodes(vip, node):
            yield _refusal(service, _CLUSTER_IPS, vip, _NODE_ADDRESS)
        elif (guard := node.guarded.get(vip)) and guard in _NO_CLUSTER_IP:
            yield _refusal(service, _CLUSTER_IPS, vip, guard)


def _refused_vips(
    service: Service, node: NodeContext, config: ProxyConfig
) -> Iterator[Problem]:
    for field, vips, allowed in (
        (_EXTERNAL_IPS, service.external_ips, config.allowed_external_ips),
        (_INGRESS_VIPS, service.ingress_vips, config.allowed_ingress_vips),
    ):
        for vip in vips:
            reason = ""
            if _is_nodes(vip, node) and not config.is_kube_proxy:
                reason = _NODE_ADDRESS
            elif allowed is not None and not any(is_in(vip, net) for net in allowed):
                reason = f"is not in {_SETTINGS[field]}"
            elif guards_vip(node.guarded.get(vip), vip, allowed, config):
                reason = node.guarded[vip]
            if reason:
                yield _refusal(service, field, vip, reason)


def guards_vip(
    guard: Guard | None,
    vip: IPAddress,
    allowed: tuple[IPNetwork, ...] | None,
    config: ProxyConfig,
) -> bool:
    """Whether a guard keeps an address from being an external VIP.

    Args:
        guard: that of the address.
        vip: the address.
        allowed: networks that such VIPs may be in; None is all.
        config: says whether the VIP must be where kube-proxy would have it.
    """
    if guard is None:
        return False
    if guard in ON_THE_WAY_TO_THE_API and any(
        is_in(vip, net) for net in allowed or () if net.prefixlen
    ):
        return False
    # A node that cannot reach the API server would never hear of a way out.
    return guard in _API or not config.is_kube_proxy


def _is_nodes(vip: IPAddress, node: NodeContext) -> bool:
    """Whether an address is some Node's own.

    Bound here, that of another Node cuts this node off from it (k/k#75290,
    k/k#117613); on that of this one, a Service would take the host's ports. Another
    address on a link of this node may be a VIP that others move.
    """
    return vip in node.peer_addresses or vip in node.node_addresses


def _refused_ports(
    service: Service, node: NodeContext, config: ProxyConfig
) -> Iterator[Problem]:
    for index, port in enumerate(service.ports):
        number = port.node_port
        if not has_node_port(service, port):
            continue
        field = f"spec.ports[{index}].nodePort"
        if config.is_reserved(number):
            yield _refusal(service, field, number, _RESERVED)
        for address in node.api_ports.get(number, ()):
            if address in node.host_addresses:
                where = format_host_port(address, number)
                yield _refusal(service, field, where, _API_PORT)
    number = service.health_check_node_port
    if number and config.is_reserved(number):
        yield _refusal(service, "spec.healthCheckNodePort", number, _RESERVED)


def _kept_port(port: ServicePort, config: ProxyConfig) -> ServicePort:
    if port.node_port and config.is_reserved(port.node_port):
        return msgspec.structs.replace(port, node_port=0)
    return port


def _refusal(service: Service, field: str, value: object, reason: str) -> Problem:
    return service_problem(service, field, value, f"{reason}{_NOT_SERVED}")
