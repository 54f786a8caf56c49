"""Ends of UDP flows and SCTP associations: who answers when an endpoint is gone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from ipvsctl.controller.look import see
from ipvsctl.model.net import IPAddress, IPFamily, Protocol, parse_address
from ipvsctl.model.objects import Service, ServicePort, ServiceType
from ipvsctl.model.problem import ObjectRef
from ipvsctl.plan.diff.ops import DeleteStaleFlows
from tests.kernel.node import ProxiedNode, has, has_nodes, proxied, slices
from tests.lab.flows import Flow, udp_flows
from tests.lab.netns import inside
from tests.lab.topology import Cluster, Host
from tests.lab.traffic import Connection, Servers, connect

pytestmark = pytest.mark.kernel

TARGET_PORTS = {"dns": 5353, "diameter": 9999}


def service(name: str, number: int) -> Service:
    """A Service with a UDP and an SCTP port, in both families, and node ports."""
    return Service(
        ref=ObjectRef("default", name),
        type=ServiceType.NODE_PORT,
        cluster_ips=(
            parse_address(f"10.96.0.{number}"),
            parse_address(f"fd00:10:96::{number}"),
        ),
        ports=(
            ServicePort(
                name="dns", protocol=Protocol.UDP, port=53, node_port=30000 + number
            ),
            ServicePort(
                name="diameter",
                protocol=Protocol.SCTP,
                port=3868,
                node_port=30000 + number,
            ),
        ),
    )


DNS = service("dns", 10)
OTHER = service("other", 20)


@pytest.fixture
def node(cluster: Cluster, servers: Servers) -> Iterator[ProxiedNode]:
    """node-0 proxies two Services, each on both of its pods."""
    for pod in local_pods(cluster):
        for address in (pod.ipv4, pod.ipv6):
            servers.add(pod.netns, address, 5353, protocol=Protocol.UDP)
            servers.add(pod.netns, address, 9999, protocol=Protocol.SCTP)
    with proxied(cluster.nodes[0].netns) as made:
        made.take(*has_nodes(cluster.nodes))
        for each in (DNS, OTHER):
            made.take(has(each), *slices(each, local_pods(cluster), TARGET_PORTS))
        made.audit()
        yield made


def local_pods(cluster: Cluster) -> list[Host]:
    """The pods of node-0."""
    return [cluster.pods["pod-0-0"], cluster.pods["pod-0-1"]]


def endpoints(node: ProxiedNode, service: Service, pods: Sequence[Host]) -> None:
    """A Service's endpoints are on these pods from now on."""
    node.take(*slices(service, pods, TARGET_PORTS))


@contextmanager
def patient(node: ProxiedNode) -> Iterator[None]:
    """The kernel keeps flows to a deleted real server, as all did before Linux 5.9.

    Later ones end them a moment later (ip_vs_ctl.c:__ip_vs_del_dest).
    """
    name = "net/ipv4/vs/expire_nodest_conn"
    node.netns.sysctl(name, "0")
    try:
        yield
    finally:
        node.netns.sysctl(name, "1")


def flows(node: ProxiedNode) -> set[Flow]:
    """What another reader than ours finds in the node's table."""
    with inside(node.netns):
        return udp_flows()


def connected_to(
    cluster: Cluster, address: IPAddress, port: int, server: str
) -> Connection:
    """A UDP socket of the outside client whose questions this pod answers."""
    for _ in range(6):
        connection = connect(cluster.client.netns, address, port, protocol=Protocol.UDP)
        if connection.ask().server == server:
            return connection
        with connection:
            pass
    raise AssertionError(f"{server} did not answer in 6 flows")


WAYS = [
    pytest.param(family, way, id=f"{family.label}-{way}")
    for family in IPFamily
    for way in ("cluster IP", "node port")
]


def cluster_ip(family: IPFamily) -> IPAddress:
    """DNS's cluster IP of a family."""
    return next(ip for ip in DNS.cluster_ips if ip.family is family)


def door(cluster: Cluster, family: IPFamily, way: str) -> tuple[IPAddress, int]:
    """Where the client asks DNS."""
    if way == "node port":
        return cluster.nodes[0].address(family), DNS.ports[0].node_port
    return cluster_ip(family), 53


@pytest.mark.parametrize(("family", "way"), WAYS)
def test_a_flow_moves_with_its_next_question(
    cluster: Cluster, node: ProxiedNode, family: IPFamily, way: str
) -> None:
    """The client keeps its port, and not one question is lost; other flows stay."""
    address, port = door(cluster, family, way)
    gone, stays = (pod.address(family) for pod in local_pods(cluster))
    with (
        connected_to(cluster, address, port, "pod-0-0") as moving,
        connected_to(cluster, address, port, "pod-0-1") as staying,
        connected_to(cluster, OTHER.cluster_ips[0], 53, "pod-0-0") as other,
        connect(cluster.client.netns, gone, 5353, protocol=Protocol.UDP) as direct,
    ):
        assert direct.ask().server == "pod-0-0"
        before = flows(node)
        stale = {flow for flow in before if flow[2:5] == (address, port, gone)}
        assert moving.source_port in {flow.client_port for flow in stale}
        endpoints(node, DNS, local_pods(cluster)[1:])
        node.sync()
        assert before - flows(node) == stale
        assert moving.ask().server == "pod-0-1"
        assert staying.ask().server == "pod-0-1"
        assert other.ask().server == "pod-0-0"
        assert direct.ask().server == "pod-0-0"
        (moved,) = (f for f in flows(node) if f.client_port == moving.source_port)
        assert moved[2:] == (address, port, stays, 5353)
    assert node.audit().plan == ()


def test_flows_stay_while_there_is_nowhere_to_go(
    cluster: Cluster, node: ProxiedNode
) -> None:
    """Without any endpoint nothing is deleted; the first new one gets the flow."""
    address = DNS.cluster_ips[0]
    with connected_to(cluster, address, 53, "pod-0-0") as moving:
        before = flows(node)
        with patient(node):
            endpoints(node, DNS, [])
            node.sync()
            assert flows(node) == before
        endpoints(node, DNS, local_pods(cluster)[1:])
        node.sync()
        assert moving.ask().server == "pod-0-1"


def test_a_flow_that_was_there_before_its_service(
    cluster: Cluster, servers: Servers
) -> None:
    """A client that asked too early is answered as soon as there is a Service."""
    pod = cluster.pods["pod-0-0"]
    servers.add(pod.netns, pod.ipv4, 5353, protocol=Protocol.UDP)
    host = cluster.nodes[0]
    with (
        proxied(host.netns) as node,
        connect(
            cluster.client.netns,
            host.ipv4,
            DNS.ports[0].node_port,
            protocol=Protocol.UDP,
        ) as early,
    ):
        node.take(*has_nodes(cluster.nodes))
        node.audit()
        with pytest.raises(ConnectionRefusedError):
            early.ask()
        assert {flow.target for flow in flows(node)} == {host.ipv4}
        node.take(has(DNS), *slices(DNS, [pod], TARGET_PORTS))
        node.sync()
        assert early.ask().server == "pod-0-0"


def test_a_death_before_flows_are_deleted_is_mended(
    cluster: Cluster, node: ProxiedNode
) -> None:
    """The next process finds flows that lead nowhere, and nothing else to do."""
    address = DNS.cluster_ips[1]
    with connected_to(cluster, address, 53, "pod-0-0") as moving:
        endpoints(node, DNS, local_pods(cluster)[1:])
        with inside(node.netns):
            plan = see(node.reconciler, node.reconciler.survey()).plan()
        first = next(
            place for place, op in enumerate(plan) if isinstance(op, DeleteStaleFlows)
        )
        with patient(node):
            node.apply(plan[:first])
        with proxied(node.netns) as second:
            second.take(*has_nodes(cluster.nodes))
            second.take(
                has(DNS),
                *slices(DNS, local_pods(cluster)[1:], TARGET_PORTS),
                has(OTHER),
                *slices(OTHER, local_pods(cluster), TARGET_PORTS),
            )
            (op,) = second.audit().plan
            assert isinstance(op, DeleteStaleFlows)
            assert op.virtual_server.address == address
            assert second.audit().plan == ()
        assert moving.ask().server == "pod-0-1"


@pytest.mark.parametrize("family", IPFamily)
def test_sctp_associations_go_elsewhere_at_once(
    cluster: Cluster, node: ProxiedNode, family: IPFamily
) -> None:
    """An endpoint that is gone is deleted although it has an association."""

    def associate() -> Connection:
        return connect(
            cluster.client.netns, cluster_ip(family), 3868, protocol=Protocol.SCTP
        )

    with associate() as first:
        met = first.ask().server
        left = [pod for pod in local_pods(cluster) if pod.name != met]
        endpoints(node, DNS, left)
        node.sync()
        for _ in range(4):
            with associate() as new:
                assert new.ask().server == left[0].name
    assert node.audit().plan == ()
