"""Which endpoints each traffic policy may use on this node."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.model.objects import (
    Endpoint,
    EndpointSlice,
    NodeContext,
    Service,
    ServicePort,
)

_FEW_PORTS: Final = 8
"""A Service with so many ports at most has its slices looked through for each."""


class PortEndpoint(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """An endpoint with the number its port has there.

    Attributes:
        endpoint: the address and its conditions.
        port: the number to send packets to; slices may differ in it.
        weight: of the slice it is in.
        is_local: the endpoint is on this node.
    """

    endpoint: Endpoint
    port: int
    weight: int = 1
    is_local: bool


class UsableEndpoints(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """The endpoints that each traffic policy may use, sorted by address and port.

    Attributes:
        cluster: for policy Cluster.
        local: for policy Local, all on this node.
    """

    cluster: tuple[PortEndpoint, ...]
    local: tuple[PortEndpoint, ...]


def port_endpoints(
    slices: Iterable[EndpointSlice],
    *,
    family: IPFamily,
    port_name: str,
    protocol: Protocol,
    node_name: str,
) -> tuple[PortEndpoint, ...]:
    """All endpoints of one Service port in one family, unique by address and port.

    Of several entries with one address and port one counts, see `replaces`.

    Args:
        slices: the one that changed last comes last.
        family: of the endpoints; slices of the other are passed over.
        port_name: of the Service port.
        protocol: of the Service port.
        node_name: whose endpoints are local; "" is nobody's.

    Returns:
        Sorted by address, then port; ready or not.
    Source: Kubernetes docs "EndpointSlices" (duplicate endpoints); kube-proxy
        pkg/proxy/endpointslicecache.go.
    """
    found: dict[tuple[int, int], PortEndpoint] = {}
    for endpoint_slice in slices:
        if endpoint_slice.family is not family:
            continue
        for port in endpoint_slice.ports:
            if port.name != port_name or port.protocol is not protocol:
                continue
            number, weight = port.port, endpoint_slice.weight
            for endpoint in endpoint_slice.endpoints:
                candidate = PortEndpoint(
                    endpoint=endpoint,
                    port=number,
                    weight=weight,
                    is_local=endpoint.node_name == node_name and node_name != "",
                )
                identity = (int(endpoint.address), number)
                if identity not in found or replaces(endpoint):
                    found[identity] = candidate
    return tuple(found[identity] for identity in sorted(found))


def replaces(endpoint: Endpoint) -> bool:
    """Whether an entry counts although an earlier one has its address.

    A pod's address is given to another pod while the old one still terminates
    (k/k#135266). Wherever the two are, and ready or not, packets to the address reach
    the new one. Two that both live are one pod that moves between slices, and the
    newer slice knows better; of two that both terminate the first one counts.
    """
    return not endpoint.terminating


def usable_endpoints(
    endpoints: tuple[PortEndpoint, ...], node: NodeContext
) -> UsableEndpoints:
    """Choose the endpoints each traffic policy may use on this node.

    Ready ones; for policy Cluster only those hinted for this node or zone, if every
    ready one has such hints. Where that leaves none, separately per policy, those
    that are terminating but still serve.

    Args:
        endpoints: of one Service port and one family.
        node: this node.
    Source: Kubernetes docs "Topology Aware Routing"; kube-proxy pkg/proxy/topology.go.
    """
    ready = tuple(e for e in endpoints if e.endpoint.ready)
    leaving = tuple(
        e for e in endpoints if e.endpoint.serving and e.endpoint.terminating
    )
    return UsableEndpoints(
        cluster=_near(ready, node) or leaving,
        local=tuple(e for e in ready if e.is_local)
        or tuple(e for e in leaving if e.is_local),
    )


def _near(
    ready: tuple[PortEndpoint, ...], node: NodeContext
) -> tuple[PortEndpoint, ...]:
    """The ready endpoints hinted for this node, else for its zone, else all.

    Hints hold only if every ready endpoint has them: a partly hinted Service is in
    the middle of a change, and would send all traffic to a few.
    """
    if all(e.endpoint.hint_nodes for e in ready):
        here = tuple(e for e in ready if node.name in e.endpoint.hint_nodes)
        if here:
            return here
    if all(e.endpoint.hint_zones for e in ready):
        here = tuple(e for e in ready if node.zone in e.endpoint.hint_zones)
        if here:
            return here
    return ready


def slices_by_port(
    service: Service, slices: tuple[EndpointSlice, ...]
) -> Callable[[ServicePort], tuple[EndpointSlice, ...]]:
    """Sort the slices of a Service by its ports, if it has many.

    Else every port of a Service would be looked for in every port of every slice.

    Returns:
        Gives the slices of a port: each with that port alone, or all as they are.
    """
    if len(service.ports) <= _FEW_PORTS:
        return lambda _: slices
    found: dict[tuple[str, Protocol], list[EndpointSlice]] = {}
    for piece in slices:
        for port in piece.ports:
            alone = msgspec.structs.replace(piece, ports=(port,))
            found.setdefault((port.name, port.protocol), []).append(alone)
    return lambda port: tuple(found.get((port.name, port.protocol), ()))
