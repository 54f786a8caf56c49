"""Node ports on localhost in a status: what the daemon serves itself."""

from collections.abc import Iterator, Mapping
from typing import Final

from ipvsctl.cluster.taken import Objects
from ipvsctl.model.ipvs import RealServer
from ipvsctl.model.net import IPAddress, family_of
from ipvsctl.model.objects import Endpoint, NodeContext
from ipvsctl.model.relay import ListenerState, ListenerStates
from ipvsctl.model.status import RealServerStatus, Standing, VirtualServerStatus
from ipvsctl.plan.report.order import real_order
from ipvsctl.plan.report.status_why import why_no_endpoint
from ipvsctl.plan.service.program import LocalhostPort

_UNKNOWN: Final = "not known whether it listens: no ipvsctl run was asked"


def localhost_status(
    port: LocalhostPort,
    listeners: ListenerStates | None,
    endpoints: Mapping[IPAddress, Endpoint],
    objects: Objects,
    node: NodeContext,
) -> VirtualServerStatus:
    """A listener, in the shape of a virtual server.

    Args:
        port: of the Service that has the claim to it.
        listeners: the daemon's; None without a daemon.
        endpoints: of the Service, by address.
        objects: what it was compiled from.
        node: this node.
    """
    # One that the relay does not know yet is about to be opened.
    state = (listeners or {}).get(port.listener, ListenerState())
    why, standing = state.refused, Standing.OK
    if listeners is None:
        why, standing = _UNKNOWN, Standing.UNKNOWN
    elif state.refused:
        standing = Standing.MISSING
    if not port.is_served:
        family = family_of(port.listener.address)
        why = why_no_endpoint(port.port_name, family, port.policy, objects, node)
    return VirtualServerStatus(
        service_port=port.port_name.port,
        way=port.way,
        protocol=port.port_name.protocol.label,
        address=str(port.listener.address),
        port=port.listener.port,
        scheduler=port.scheduler,
        persistence_timeout_s=port.affinity_timeout_s,
        standing=standing,
        why=why,
        real_servers=tuple(_real_servers(port, state, endpoints, objects)),
    )


def _real_servers(
    port: LocalhostPort,
    state: ListenerState,
    endpoints: Mapping[IPAddress, Endpoint],
    objects: Objects,
) -> Iterator[RealServerStatus]:
    wanted = port.real_servers
    for key in sorted(wanted.keys() | state.connections.keys(), key=real_order):
        server = wanted.get(key)
        endpoint = endpoints.get(key.address)
        node_name = endpoint.node_name if endpoint else ""
        node = objects.node(node_name)
        shown = server or RealServer(key=key, weight=0)
        yield RealServerStatus(
            address=str(key.address),
            port=key.port,
            node=node_name,
            zone=node.zone if node else "",
            weight=shown.weight,
            active=state.connections.get(key, 0),
            max_connections=shown.upper_threshold,
            standing=_standing(server, endpoint),
        )


def _standing(server: RealServer | None, endpoint: Endpoint | None) -> Standing:
    if server is None:
        return Standing.DRAINING
    is_leaving = endpoint is not None and endpoint.terminating
    return Standing.TERMINATING if is_leaving else Standing.OK
