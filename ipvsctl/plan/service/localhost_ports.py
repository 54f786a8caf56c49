"""Node ports on localhost: the ways in where this process is asked, and not IPVS."""

from collections.abc import Iterable, Mapping

from ipvsctl.model.config import Listener, ProxyConfig
from ipvsctl.model.ipvs import RealServers
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.model.objects import (
    NodeContext,
    Service,
    ServicePort,
    ServicePortName,
    TrafficPolicy,
)
from ipvsctl.model.problem import Problem
from ipvsctl.plan.service.families import service_problem
from ipvsctl.plan.service.frontends import has_node_port
from ipvsctl.plan.service.program import LocalhostPort
from ipvsctl.plan.service.scheduling import Scheduling
from ipvsctl.plan.service.servers import node_port_servers


def localhost_port(
    service: Service,
    port: ServicePort,
    index: int,
    family: IPFamily,
    real_servers: Mapping[TrafficPolicy, RealServers],
    node: NodeContext,
    config: ProxyConfig,
    scheduling: Scheduling,
) -> LocalhostPort | None:
    """The listener on localhost of one port in one family; None if it has none.

    A port of the API server is none, wherever on this node that listens: it could not
    start beside a listener of ours.

    Args:
        service: whose port it is.
        port: entry `index` of its ports.
        index: names the field in problems.
        family: of the address.
        real_servers: those of each traffic policy.
        node: says where the API server is.
        config: says whether there are node ports on localhost.
        scheduling: of the virtual servers of the Service.
    """
    address = config.localhost(family)
    if (
        address is None
        or port.protocol is not Protocol.TCP
        or not has_node_port(service, port)
        or port.node_port in node.api_ports
    ):
        return None
    policy = service.external_traffic_policy
    return LocalhostPort(
        port_name=ServicePortName(service.ref, port.name, port.protocol),
        listener=Listener(address, port.node_port),
        field=f"spec.ports[{index}].nodePort",
        policy=policy,
        real_servers=node_port_servers(policy, real_servers, config),
        scheduler=scheduling.scheduler,
        affinity_timeout_s=service.affinity_timeout_s,
        drain_timeout_s=scheduling.wishes.drain_timeout_s,
    )


def one_of_each(
    service: Service, ports: Iterable[LocalhostPort]
) -> tuple[tuple[LocalhostPort, ...], list[Problem]]:
    """Make listeners unique; of two ports with one number the first has it."""
    found: dict[Listener, LocalhostPort] = {}
    problems = []
    for port in ports:
        known = found.setdefault(port.listener, port)
        if known is not port:
            reason = f"already taken by {known.field} of this Service"
            problems.append(service_problem(service, port.field, port.listener, reason))
    return tuple(found.values()), problems
