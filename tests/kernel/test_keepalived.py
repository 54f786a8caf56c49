"""A Service wants the place of a virtual server that a real keepalived keeps."""

from contextlib import ExitStack
from ipaddress import ip_interface
from pathlib import Path

import pytest

from ipvsctl.model.net import Protocol, parse_address
from ipvsctl.model.objects import Service, ServicePort
from ipvsctl.model.problem import ObjectRef
from ipvsctl.plan.union.foreign import TAKEN
from tests.kernel.keepalived import Balanced, keepalived, wait_for
from tests.kernel.node import ProxiedNode, has, has_not, proxied, slices
from tests.lab.topology import Cluster
from tests.lab.traffic import Servers, ask

pytestmark = pytest.mark.kernel

VIP = parse_address("198.51.100.20")
THEIRS = Balanced(vip=str(VIP), port=80, server="172.16.0.11", server_port=9090)
EMPTY = THEIRS.lines()[:1]
"""Without its real server."""

WEB = Service(
    ref=ObjectRef("default", "web"),
    cluster_ips=(parse_address("10.96.0.10"),),
    external_ips=(VIP,),
    ports=(
        ServicePort(name="http", protocol=Protocol.TCP, port=80),
        ServicePort(name="https", protocol=Protocol.TCP, port=443),
    ),
)
TARGET_PORTS = {"http": 8080, "https": 8443}


@pytest.fixture
def world(cluster: Cluster, servers: Servers) -> Cluster:
    """The Service has one pod, keepalived another one; the VIP is on the node."""
    ours = cluster.pods["pod-0-0"]
    for port in TARGET_PORTS.values():
        servers.add(ours.netns, ours.ipv4, port)
    cluster.nodes[0].netns.add_address("lo", ip_interface(f"{VIP}/32"))
    return cluster


def serve_theirs(world: Cluster, servers: Servers) -> None:
    """Have keepalived's pod accept connections."""
    pod = world.pods["pod-0-1"]
    servers.add(pod.netns, pod.ipv4, THEIRS.server_port)


def is_taken(node: ProxiedNode) -> bool:
    """Whether the Service is told that somebody else has its place."""
    return [p.reason for p in node.reconciler.problems()] == [TAKEN]


def test_keepalived_keeps_its_place(
    world: Cluster, servers: Servers, tmp_path: Path
) -> None:
    """Its clients and its real server are its own; the rest of the VIP is served."""
    serve_theirs(world, servers)
    netns, client = world.nodes[0].netns, world.client.netns
    pods = slices(WEB, [world.pods["pod-0-0"]], TARGET_PORTS)
    with proxied(netns) as node:
        with keepalived(netns, THEIRS, tmp_path):
            node.audit()
            node.take(has(WEB), *pods)
            node.sync()
            assert is_taken(node)
            assert THEIRS.seen(netns) == THEIRS.lines()
            assert ask(client, VIP, 80).server == "pod-0-1"
            assert ask(client, VIP, 443).server == "pod-0-0"
            assert node.audit().plan == ()
            assert THEIRS.seen(netns) == THEIRS.lines()
            node.take(has_not(WEB))
            node.sync()
            assert node.audit().plan == ()
            assert ask(client, VIP, 80).server == "pod-0-1"
            node.take(has(WEB), *pods)
            node.sync()
            assert is_taken(node)
        # It has taken everything of its own along.
        assert THEIRS.seen(netns) == []
        node.audit()
        assert not node.reconciler.problems()
        assert ask(client, VIP, 80).server == "pod-0-0"
        assert node.audit().plan == ()


def test_its_checks_decide_about_its_real_server(
    world: Cluster, servers: Servers, tmp_path: Path
) -> None:
    """A real server that it took out is not put back, nor the Service's put in."""
    netns = world.nodes[0].netns
    with ExitStack() as stack:
        with Servers() as first:
            serve_theirs(world, first)
            stack.enter_context(keepalived(netns, THEIRS, tmp_path))
            node = stack.enter_context(proxied(netns))
            node.take(has(WEB), *slices(WEB, [world.pods["pod-0-0"]], TARGET_PORTS))
            node.audit()
        wait_for(netns, THEIRS, EMPTY)
        assert node.audit().plan == ()
        assert THEIRS.seen(netns) == EMPTY
        serve_theirs(world, servers)
        wait_for(netns, THEIRS, THEIRS.lines())
        assert node.audit().plan == ()
        assert is_taken(node)
