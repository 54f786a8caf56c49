"""Packets from every kind of client to a Service, through each of its ways in.

A Service is compiled, and its packets are followed through what the node would hold.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from ipvsctl.model.net import (
    IPAddress,
    IPNetwork,
    Protocol,
    parse_address,
    parse_network,
)
from ipvsctl.model.objects import (
    Endpoint,
    NodeContext,
    Service,
    ServicePort,
    ServiceType,
    TrafficPolicy,
)
from ipvsctl.model.state import NodeState
from ipvsctl.plan.trace.outcome import Fate, Step
from ipvsctl.plan.trace.packet import Packet
from ipvsctl.plan.trace.packets import trace
from tests import builders
from tests.clusters import PLAIN, Cluster

CLIENT: Final = parse_address("10.0.0.100")
OUTSIDER: Final = parse_address("10.0.0.175")
NODE: Final = parse_address("10.0.0.10")
POD: Final = parse_address("172.16.0.20")
NEAR: Final = parse_address("172.16.0.10")
FAR: Final = parse_address("172.16.1.10")
CLUSTER_IP: Final = parse_address("10.96.0.10")
EXTERNAL_IP: Final = parse_address("203.0.113.10")
INGRESS_VIP: Final = parse_address("198.51.100.10")
NODE_PORT: Final = 30080

_THIS_NODE: Final = NodeContext(
    name="node-0", node_addresses=(NODE,), host_addresses=(NODE,)
)


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One picture: a way in with a traffic policy.

    Attributes:
        name: of the picture.
        title: what it shows.
        address: that clients ask.
        port: that they ask it at.
        policy: for external traffic.
        source_ranges: of the load balancer; empty lets everybody in.
    """

    name: str
    title: str
    address: IPAddress
    port: int = 80
    policy: TrafficPolicy = TrafficPolicy.CLUSTER
    source_ranges: tuple[IPNetwork, ...] = ()


WAYS: Final = (
    Way(name="cluster-ip", title="cluster IP", address=CLUSTER_IP),
    Way(
        name="node-port",
        title="node port, externalTrafficPolicy Cluster",
        address=NODE,
        port=NODE_PORT,
    ),
    Way(
        name="node-port-local",
        title="node port, externalTrafficPolicy Local",
        address=NODE,
        port=NODE_PORT,
        policy=TrafficPolicy.LOCAL,
    ),
    Way(
        name="external-ip",
        title="external IP, externalTrafficPolicy Cluster",
        address=EXTERNAL_IP,
    ),
    Way(
        name="external-ip-local",
        title="external IP, externalTrafficPolicy Local",
        address=EXTERNAL_IP,
        policy=TrafficPolicy.LOCAL,
    ),
    Way(
        name="ingress-vip",
        title="ingress VIP of a load balancer, externalTrafficPolicy Cluster",
        address=INGRESS_VIP,
    ),
    Way(
        name="ingress-vip-local",
        title="ingress VIP of a load balancer, externalTrafficPolicy Local",
        address=INGRESS_VIP,
        policy=TrafficPolicy.LOCAL,
    ),
)


RANGED: Final = Way(
    name="ingress-vip-ranges",
    title="ingress VIP with loadBalancerSourceRanges",
    address=INGRESS_VIP,
    source_ranges=(parse_network("10.0.0.96/28"),),
)


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """What one client's packets do.

    Attributes:
        title: who asks, and where endpoints are if that matters.
        source: whose address the packets have.
        endpoints: those that the Service has.
    """

    title: str
    source: IPAddress
    endpoints: tuple[IPAddress, ...] = (NEAR, FAR)

    @property
    def client(self) -> str:
        """Whom the packets are from."""
        words = {CLIENT: "the client", NODE: "this node"}
        return words.get(self.source, "the asking pod")

    @property
    def is_host(self) -> bool:
        """The packets are made here and come over no link."""
        return self.source == NODE


_OUTSIDE: Final = Lane(title="outside client", source=CLIENT)
_CLIENTS: Final = (
    _OUTSIDE,
    Lane(title="pod of this node", source=POD),
    Lane(title="this node itself", source=NODE),
)
_HAIRPIN: Final = Lane(
    title="pod that is its own endpoint", source=NEAR, endpoints=(NEAR,)
)
_NONE_HERE: Final = Lane(
    title="outside client, no endpoint on this node", source=CLIENT, endpoints=(FAR,)
)


_RANGES: Final = (
    Lane(title="outside client in a range", source=CLIENT),
    Lane(title="outside client in no range", source=OUTSIDER),
    Lane(title="this node, in no range", source=NODE),
)


def lanes(way: Way) -> tuple[Lane, ...]:
    """Whose packets are drawn."""
    if way.source_ranges:
        return _RANGES
    if way.policy is TrafficPolicy.LOCAL:
        return (*_CLIENTS, _NONE_HERE)
    return (*_CLIENTS, _HAIRPIN) if way.address == CLUSTER_IP else _CLIENTS


def node_state(way: Way, lane: Lane) -> NodeState:
    """What the node should hold for the Service."""
    web = Service(
        ref=builders.ref("web"),
        type=ServiceType.LOAD_BALANCER,
        ports=(
            ServicePort(
                name="http", protocol=Protocol.TCP, port=80, node_port=NODE_PORT
            ),
        ),
        cluster_ips=(CLUSTER_IP,),
        external_ips=(EXTERNAL_IP,),
        ingress_vips=(INGRESS_VIP,),
        external_traffic_policy=way.policy,
        source_ranges=way.source_ranges,
    )
    nodes = {NEAR: "node-0", FAR: "node-1"}
    endpoints = tuple(
        Endpoint(address=address, node_name=nodes[address])
        for address in lane.endpoints
    )
    pods = builders.endpoint_slice("web-1", endpoints=endpoints)
    cluster = Cluster(services=(web,), slices=(pods,))
    return cluster.desired(_THIS_NODE, PLAIN).state()


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of packets for some of the endpoints.

    Attributes:
        steps: from the first hook to the last.
        endpoints: that they reach this way; empty if they reach none.
        fate: what became of them.
        is_masqueraded: the endpoints see this node.
    """

    steps: tuple[Step, ...]
    endpoints: tuple[IPAddress, ...]
    fate: Fate
    is_masqueraded: bool = False


def branches(way: Way, lane: Lane) -> Iterator[Branch]:
    """The packet's ways, one for each endpoint that it may reach."""
    state = node_state(way, lane)
    packet = Packet(
        source=lane.source,
        destination=way.address,
        port=way.port,
        in_interface="" if lane.is_host else "eth0",
    )
    outcome = trace(state, packet, host_addresses={NODE})
    if outcome.fate is not Fate.BALANCED:
        yield Branch(steps=outcome.steps, endpoints=(), fate=outcome.fate)
        return
    for delivery in outcome.deliveries:
        yield Branch(
            steps=(*outcome.steps, *delivery.steps),
            endpoints=(delivery.endpoint.address,),
            fate=delivery.fate,
            is_masqueraded=delivery.masqueraded,
        )
