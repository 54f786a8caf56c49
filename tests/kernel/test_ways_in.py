"""Packets through every way in: who answers, how they are spread, whom they see.

One Service of each external traffic policy, with a port of each protocol, on two pods
of node-0 and one of node-1; node-0 runs the proxy.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from ipvsctl.model.net import IPAddress, IPFamily, Protocol, parse_address
from ipvsctl.model.objects import Service, ServicePort, ServiceType, TrafficPolicy
from ipvsctl.model.problem import ObjectRef
from tests.kernel.node import has, has_nodes, proxied, slices
from tests.lab.topology import Cluster, Host, cluster
from tests.lab.traffic import Answer, Servers, ask

pytestmark = pytest.mark.kernel

TARGET_PORTS = {"tcp": 8080, "udp": 5353, "sctp": 9999}


def addresses(ipv4: str, ipv6: str) -> dict[IPFamily, IPAddress]:
    """One address of each family."""
    return {IPFamily.IPV4: parse_address(ipv4), IPFamily.IPV6: parse_address(ipv6)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A Service's addresses."""

    cluster_ip: dict[IPFamily, IPAddress]
    external_ip: dict[IPFamily, IPAddress]
    ingress_vip: dict[IPFamily, IPAddress]
    node_port: int


SERVED = {
    TrafficPolicy.CLUSTER: Served(
        cluster_ip=addresses("10.96.0.10", "fd00:10:96::10"),
        external_ip=addresses("203.0.113.10", "2001:db8:203::10"),
        ingress_vip=addresses("198.51.100.10", "2001:db8:198::10"),
        node_port=30010,
    ),
    TrafficPolicy.LOCAL: Served(
        cluster_ip=addresses("10.96.0.20", "fd00:10:96::20"),
        external_ip=addresses("203.0.113.20", "2001:db8:203::20"),
        ingress_vip=addresses("198.51.100.20", "2001:db8:198::20"),
        node_port=30020,
    ),
}


def service(policy: TrafficPolicy) -> Service:
    """The Service of that external traffic policy."""
    served = SERVED[policy]
    return Service(
        ref=ObjectRef("default", f"web-{policy.value.lower()}"),
        type=ServiceType.LOAD_BALANCER,
        cluster_ips=tuple(served.cluster_ip.values()),
        external_ips=tuple(served.external_ip.values()),
        ingress_vips=tuple(served.ingress_vip.values()),
        external_traffic_policy=policy,
        ports=tuple(
            ServicePort(
                name=protocol.label,
                protocol=protocol,
                port=80,
                node_port=served.node_port,
            )
            for protocol in Protocol
        ),
    )


@pytest.fixture(scope="module", name="world")
def _world() -> Iterator[Cluster]:
    """A cluster whose node-0 serves both Services."""
    with cluster(pods=(2, 1)) as world, Servers() as servers:
        for pod in world.pods.values():
            for address in (pod.ipv4, pod.ipv6):
                for protocol in Protocol:
                    port = TARGET_PORTS[protocol.label]
                    servers.add(pod.netns, address, port, protocol=protocol)
        with proxied(world.nodes[0].netns) as node:
            node.take(*has_nodes(world.nodes))
            for policy in TrafficPolicy:
                made = service(policy)
                node.take(has(made))
                node.take(*slices(made, tuple(world.pods.values()), TARGET_PORTS))
            node.audit()
            assert node.audit().plan == ()
            yield world


def clients(world: Cluster) -> dict[str, Host]:
    """Who asks: from outside, from the node itself, from a pod of it."""
    return {
        "client": world.client,
        "host": world.nodes[0],
        "pod": world.pods["pod-0-0"],
    }


ALL = {"pod-0-0", "pod-0-1", "pod-1-0"}
LOCAL = {"pod-0-0", "pod-0-1"}
WAYS = ("cluster_ip", "external_ip", "ingress_vip", "node_port")


def ask_often(
    client: Host, address: IPAddress, port: int, protocol: Protocol
) -> list[Answer]:
    """Six requests, each on a connection of its own."""
    return [ask(client.netns, address, port, protocol=protocol) for _ in range(6)]


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("family", IPFamily)
@pytest.mark.parametrize("policy", TrafficPolicy)
@pytest.mark.parametrize("way", WAYS)
def test_way_in(
    world: Cluster,
    way: str,
    policy: TrafficPolicy,
    family: IPFamily,
    protocol: Protocol,
) -> None:
    """Every client gets every endpoint it should, evenly, seen as it should be.

    An outside client keeps its address exactly where only this node's endpoints
    answer; elsewhere the answer must come back through this node.
    """
    served = SERVED[policy]
    if way == "node_port":
        address, port = world.nodes[0].address(family), served.node_port
    else:
        address, port = getattr(served, way)[family], 80
    is_local = policy is TrafficPolicy.LOCAL and way != "cluster_ip"
    expected = LOCAL if is_local else ALL
    own = {str(a) for host in world.nodes[:1] for a in (host.ipv4, host.ipv6)}
    own |= {"172.16.0.1", "fd00:172:16::1"}
    for name, client in clients(world).items():
        answers = ask_often(client, address, port, protocol)
        spread = Counter(answer.server for answer in answers)
        assert set(spread) == expected, name
        assert set(spread.values()) == {6 // len(expected)}, name
        sources = {str(answer.source) for answer in answers}
        if name == "client":
            kept = {str(client.address(family))}
            assert (sources == kept) if is_local else (sources <= own), sources
        if name == "pod" and way == "cluster_ip":
            # A pod keeps its address, but not towards itself.
            others = {str(a.source) for a in answers if a.server != "pod-0-0"}
            assert others == {str(client.address(family))}
