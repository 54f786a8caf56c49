"""Limits and parts with packets: what a Service may have, and what the others keep."""

from collections.abc import Iterator

import msgspec
import pytest

from ipvsctl.cluster.events import Deleted
from ipvsctl.model.limits import Limits
from ipvsctl.model.marks import MarkRange
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.objects import Service, ServicePort, ServiceType, TrafficPolicy
from ipvsctl.model.problem import Kind, ObjectRef
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.model.steps import finish
from tests.kernel.node import CONFIG, ProxiedNode, has, has_nodes, proxied, slices
from tests.lab.netns import inside
from tests.lab.topology import Cluster, Host, cluster
from tests.lab.traffic import Servers, ask

pytestmark = pytest.mark.kernel

FIRST, SECOND = "203.0.113.20", "203.0.113.21"
DROPPED = set_key(SetRole.NO_LOCAL_ENDPOINTS, IPFamily.IPV4)
TCP = {"http": 8080}


def local(name: str, place: int, *vips: str) -> Service:
    """A Service with external IPs of policy Local."""
    return Service(
        ref=ObjectRef("default", name),
        type=ServiceType.CLUSTER_IP,
        cluster_ips=(parse_address(f"10.96.0.{place}"),),
        external_ips=tuple(map(parse_address, vips)),
        external_traffic_policy=TrafficPolicy.LOCAL,
        ports=(ServicePort(name="http", protocol=Protocol.TCP, port=80),),
    )


@pytest.fixture(scope="module", name="world")
def _world() -> Iterator[Cluster]:
    """Endpoints are on node-1, and the proxy is on node-0."""
    with cluster(pods=(1, 1)) as world, Servers() as servers:
        pod = world.pods["pod-1-0"]
        servers.add(pod.netns, pod.ipv4, 8080, protocol=Protocol.TCP)
        yield world


def knows(node: ProxiedNode, world: Cluster, *services: Service) -> None:
    """Hear of the nodes, and of Services with the pod of node-1."""
    node.take(*has_nodes(world.nodes))
    for service in services:
        node.take(has(service), *slices(service, [world.pods["pod-1-0"]], TCP))


def met(client: Host, address: str) -> str:
    """Who answers."""
    return ask(client.netns, parse_address(address), 80).server


def is_dropped(client: Host, address: str) -> bool:
    """Whether nobody answers, and nobody refuses."""
    try:
        ask(client.netns, parse_address(address), 80, timeout_s=0.5)
    except TimeoutError:
        return True
    return False


def dropped(node: ProxiedNode) -> set[str]:
    """The addresses at which clients from outside are dropped."""
    return {str(entry.address) for entry in node.observe().state.entries[DROPPED]}


def test_an_address_without_a_mark_has_the_clusters_endpoints(world: Cluster) -> None:
    """Clients inside are served at both; when the mark is free, the next one has it."""
    config = msgspec.structs.replace(CONFIG, mark_range=MarkRange(0x20000, 0xFFFFFFFF))
    pod = world.pods["pod-0-0"]
    with proxied(world.nodes[0].netns, config=config) as node:
        first, second = local("first", 20, FIRST), local("second", 21, SECOND)
        knows(node, world, first, second)
        node.audit()
        assert node.audit().plan == ()
        assert dropped(node) == {FIRST}
        for client in (world.nodes[0], pod):
            assert [met(client, vip) for vip in (FIRST, SECOND)] == ["pod-1-0"] * 2
        assert is_dropped(world.client, FIRST)
        node.take(Deleted(kind=Kind.SERVICE, ref=first.ref))
        node.sync()
        node.sync()
        assert dropped(node) == {SECOND}
        assert met(pod, SECOND) == "pod-1-0"
        assert is_dropped(world.client, SECOND)
        assert node.audit().plan == ()


def test_an_address_above_the_limit_has_them_too(world: Cluster) -> None:
    """One Service's share is used up, another one's is not."""
    config = msgspec.structs.replace(CONFIG, limits=Limits(service_marks=1))
    pod = world.pods["pod-0-0"]
    with proxied(world.nodes[0].netns, config=config) as node:
        greedy = local("greedy", 20, FIRST, SECOND)
        modest = local("modest", 21, "203.0.113.22")
        knows(node, world, greedy, modest)
        node.audit()
        assert dropped(node) == {FIRST, "203.0.113.22"}
        for vip in (FIRST, SECOND, "203.0.113.22"):
            assert met(pod, vip) == "pod-1-0"


def test_a_large_service_is_imposed_part_by_part(world: Cluster) -> None:
    """Each part is a plan that the kernel takes; after the last nothing is to do."""
    ports = tuple(
        ServicePort(name=f"p{port}", protocol=Protocol.TCP, port=port)
        for port in range(80, 480)
    )
    large = msgspec.structs.replace(local("large", 20, FIRST, SECOND), ports=ports)
    targets = {port.name: 8080 for port in ports}
    with proxied(world.nodes[0].netns) as node:
        knows(node, world, local("other", 21, "203.0.113.22"))
        node.audit()
        node.take(has(large), *slices(large, [world.pods["pod-1-0"]], targets))
        assert _in_parts(node) > 10
        assert met(world.pods["pod-0-0"], FIRST) == "pod-1-0"
        assert len(node.observe().state.virtual_servers) == 400 * 5 + 3
        assert node.audit().plan == ()
        node.take(Deleted(kind=Kind.SERVICE, ref=large.ref))
        assert _in_parts(node) > 5
        assert met(world.pods["pod-0-0"], "203.0.113.22") == "pod-1-0"
        assert len(node.observe().state.virtual_servers) == 3
        assert node.audit().plan == ()


def _in_parts(node: ProxiedNode) -> int:
    """Impose what is dirty part by part; how many there were."""
    parts = 0
    while True:
        with inside(node.netns):
            report = node.reconciler.sync(
                node.reconciler.prepare_some(node.reconciler.take())
            )
        assert [str(failed) for failed in report.report.failed] == []
        parts += 1
        if node.reconciler.has_large:
            finish(node.reconciler.compile_large())
        elif not node.reconciler.has_parts:
            return parts
