"""Which endpoints each traffic policy may use on this node."""

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from ipvsctl.model.ipvs import RealServer, RealServerKey
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.model.objects import (
    Endpoint,
    EndpointSlice,
    NodeContext,
    Service,
    ServicePort,
)

FEW_PORTS: Final = 8
"""A Service with so many ports at most has its slices looked through for each."""


class PortEndpoint(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """An endpoint of one port.

    Attributes:
        endpoint: the address and its conditions.
        server: what stands for it, with the number that its port has there, in which
            slices may differ, and the weight of its slice.
        rank: its place in this node's own order.
        is_local: the endpoint is on this node.
    """

    endpoint: Endpoint
    server: RealServer
    rank: int
    is_local: bool

    @property
    def port(self) -> int:
        """The number to send packets to."""
        return self.server.key.port


class UsableEndpoints(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """The endpoints that each traffic policy may use, in this node's own order.

    Attributes:
        cluster: for policy Cluster.
        local: for policy Local, all on this node.
    """

    cluster: tuple[PortEndpoint, ...]
    local: tuple[PortEndpoint, ...]


class _Port(NamedTuple):
    """A port to look for in slices, on behalf of a node."""

    family: IPFamily
    name: str
    protocol: Protocol
    node_name: str


_Found = dict[RealServerKey, PortEndpoint]
"""Endpoints of one port by address and port."""

_rank = attrgetter("rank")


class KnownSlices:
    """What was found in slices, as long as the same slices are looked through.

    Slices are values: in one and the same slice there is the same. A Service with ten
    thousand endpoints has a hundred slices, and mostly one of them is new.
    """

    def __init__(self) -> None:
        self._before: dict[tuple[int, _Port], tuple[EndpointSlice, _Found]] = {}
        self._now: dict[tuple[int, _Port], tuple[EndpointSlice, _Found]] = {}

    def begin(self) -> None:
        """The slices of a Service are looked through anew."""
        self._before, self._now = self._now, {}

    def find(self, piece: EndpointSlice, port: _Port) -> _Found:
        """What a slice has of a port."""
        key = (id(piece), port)
        known = self._now.get(key) or self._before.get(key)
        if known is None:
            known = piece, _find(piece, port)
        # With the slice, so that no other one gets its number.
        self._now[key] = known
        return known[1]


def port_endpoints(
    slices: Iterable[EndpointSlice],
    *,
    family: IPFamily,
    port_name: str,
    protocol: Protocol,
    node_name: str,
    known: KnownSlices | None = None,
) -> tuple[PortEndpoint, ...]:
    """All endpoints of one Service port in one family, unique by address and port.

    Of several entries with one address and port one counts, see `replaces`.

    Args:
        slices: the one that changed last comes last.
        family: of the endpoints; slices of the other are passed over.
        port_name: of the Service port.
        protocol: of the Service port.
        node_name: whose endpoints are local, and whose order they have; "" is nobody's.
        known: what was found in slices before.

    Returns:
        Ready or not, in this node's own order. With `rr` every virtual server starts at
        the first real server; were that the same on all nodes, a new Service's first
        requests from everywhere would meet one pod.
    Source: Kubernetes docs "EndpointSlices" (duplicate endpoints); kube-proxy
        pkg/proxy/endpointslicecache.go.
    """
    port = _Port(family, port_name, protocol, node_name)
    find = _find if known is None else known.find
    parts = [find(piece, port) for piece in slices if piece.family is family]
    found: _Found = {}
    for part in parts:
        found.update(part)
    if len(found) < sum(map(len, parts)):
        found = {}
        for part in parts:
            _put(found, part.values())
    # Each part is in order already, which makes this fast.
    return tuple(sorted(found.values(), key=_rank))


def _find(piece: EndpointSlice, port: _Port) -> _Found:
    found: _Found = {}
    seed = crc32(port.node_name.encode())
    for one in piece.ports:
        if one.name != port.name or one.protocol is not port.protocol:
            continue
        packed_port = one.port.to_bytes(2, "big")
        for endpoint in piece.endpoints:
            address = endpoint.address
            key = RealServerKey(address, one.port)
            if key in found and not replaces(endpoint):
                continue
            found[key] = PortEndpoint(
                endpoint=endpoint,
                server=RealServer(key=key, weight=piece.weight),
                rank=crc32(address + packed_port, seed),
                is_local=endpoint.node_name == port.node_name != "",
            )
    return {one.server.key: one for one in sorted(found.values(), key=_rank)}


def _put(found: _Found, more: Iterable[PortEndpoint]) -> None:
    for one in more:
        key = one.server.key
        if key not in found or replaces(one.endpoint):
            found[key] = one


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
    here = tuple([e for e in endpoints if e.is_local])
    ready = _ready(endpoints)
    return UsableEndpoints(
        cluster=_near(ready, node) or _leaving(endpoints),
        local=_ready(here) or _leaving(here),
    )


def _ready(endpoints: tuple[PortEndpoint, ...]) -> tuple[PortEndpoint, ...]:
    return tuple([e for e in endpoints if e.endpoint.ready])


def _leaving(endpoints: tuple[PortEndpoint, ...]) -> tuple[PortEndpoint, ...]:
    found = (e for e in endpoints if e.endpoint.serving and e.endpoint.terminating)
    return tuple(found)


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
    if len(service.ports) <= FEW_PORTS:
        return lambda _: slices
    found: dict[tuple[str, Protocol], list[EndpointSlice]] = {}
    for piece in slices:
        for port in piece.ports:
            alone = msgspec.structs.replace(piece, ports=(port,))
            found.setdefault((port.name, port.protocol), []).append(alone)
    return lambda port: tuple(found.get((port.name, port.protocol), ()))
