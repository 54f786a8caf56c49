"""One address and port that several want: whose packets, and whose virtual server."""

import subprocess
from dataclasses import dataclass

import msgspec
import pytest

from ipvsctl.model.config import Compatibility
from ipvsctl.model.net import IPAddress, IPFamily, Protocol, parse_address
from ipvsctl.model.objects import Service, ServicePort, ServiceType
from ipvsctl.model.problem import ObjectRef
from ipvsctl.plan.union.foreign import TAKEN
from tests.kernel.node import (
    CONFIG,
    ProxiedNode,
    has,
    has_not,
    proxied,
    slices,
)
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster
from tests.lab.traffic import Servers, ask, connect

pytestmark = pytest.mark.kernel

OURS, THEIRS = "pod-0-0", "pod-0-1"
TARGET_PORTS = {"http": 8080, "https": 8443}


def run(netns: Netns, *command: str) -> list[str]:
    """Lines that an operator's tool prints on the node."""
    with inside(netns):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a foreign virtual server is that a Service will want.

    Attributes:
        address, port: its own.
        other_port: another port of the Service at that address.
    """

    address: IPAddress
    port: int
    other_port: int

    def text(self, port: int) -> str:
        """Address and port as ipvsadm writes them."""
        if self.address.version == 4:
            return f"{self.address}:{port}"
        return f"[{self.address}]:{port}"


WEB = Service(
    ref=ObjectRef("default", "web"),
    type=ServiceType.NODE_PORT,
    cluster_ips=(parse_address("10.96.0.10"), parse_address("fd00:10:96::10")),
    external_ips=(parse_address("203.0.113.10"), parse_address("2001:db8:203::10")),
    ports=(
        ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=30080),
        ServicePort(name="https", protocol=Protocol.TCP, port=443, node_port=30443),
    ),
)

PLACES = {
    "cluster IP": Place(address=WEB.cluster_ips[0], port=80, other_port=443),
    "external IP": Place(address=WEB.external_ips[0], port=80, other_port=443),
    "IPv6 external IP": Place(address=WEB.external_ips[1], port=80, other_port=443),
    "node port": Place(
        address=parse_address("10.0.0.10"), port=30080, other_port=30443
    ),
}


class ForeignServer:
    """A virtual server that somebody made with ipvsadm on node-0."""

    def __init__(self, cluster: Cluster, place: Place) -> None:
        self._netns = cluster.nodes[0].netns
        self._client = cluster.client.netns
        self.place = place
        family = IPFamily.IPV4 if place.address.version == 4 else IPFamily.IPV6
        pod = cluster.pods[THEIRS].address(family)
        self._server = Place(address=pod, port=9090, other_port=0).text(9090)

    def add(self) -> None:
        """Make it, and the address the host's own, as its owner would."""
        where = self.place.text(self.place.port)
        run(self._netns, "ipvsadm", "-A", "-t", where, "-s", "wlc")
        run(self._netns, "ipvsadm", "-a", "-t", where, "-r", self._server, "-m")
        if str(self.place.address) != "10.0.0.10":
            # Without a metric an IPv6 route of ours would replace it.
            local = f"local {self.place.address} dev lo table local metric 1"
            run(self._netns, "ip", "route", "replace", *local.split())

    def delete(self) -> None:
        """Take it away again."""
        where = self.place.text(self.place.port)
        run(self._netns, "ipvsadm", "-D", "-t", where)

    def lines(self) -> list[str]:
        """Its lines of `ipvsadm-save -n`."""
        where = self.place.text(self.place.port)
        saved = run(self._netns, "ipvsadm-save", "-n")
        return [line for line in saved if where in line]

    def answers(self) -> str:
        """Who answers an outside client at its place."""
        return ask(self._client, self.place.address, self.place.port).server


@pytest.fixture
def world(cluster: Cluster, servers: Servers) -> Cluster:
    """One pod is the Service's, the other one somebody else's."""
    for port in TARGET_PORTS.values():
        servers.add(cluster.pods[OURS].netns, cluster.pods[OURS].ipv4, port)
        servers.add(cluster.pods[OURS].netns, cluster.pods[OURS].ipv6, port)
        servers.add(cluster.pods[THEIRS].netns, cluster.pods[THEIRS].ipv4, port)
    servers.add(cluster.pods[THEIRS].netns, cluster.pods[THEIRS].ipv4, 9090)
    servers.add(cluster.pods[THEIRS].netns, cluster.pods[THEIRS].ipv6, 9090)
    return cluster


def taken(node: ProxiedNode) -> list[str]:
    """The problems of `web` with foreign virtual servers."""
    return [str(p) for p in node.reconciler.problems() if p.reason == TAKEN]


@pytest.mark.parametrize("name", PLACES)
def test_a_foreign_virtual_server_answers_all_the_time(
    world: Cluster, name: str
) -> None:
    """Before, during and after the Service's life; the rest of it is served."""
    place = PLACES[name]
    foreign = ForeignServer(world, place)
    foreign.add()
    before = foreign.lines()
    client = world.client.netns
    node_0 = world.nodes[0].netns
    pods = slices(WEB, [world.pods[OURS]], TARGET_PORTS)
    with connect(client, place.address, place.port) as held:
        assert held.ask().server == THEIRS
        with proxied(node_0) as node:
            node.audit()
            assert foreign.answers() == THEIRS
            node.take(has(WEB), *pods)
            node.sync()
            assert foreign.answers() == THEIRS
            assert ask(client, place.address, place.other_port).server == OURS
            for other in PLACES.values():
                if other.address != place.address:
                    assert ask(client, other.address, other.port).server == OURS
            assert len(taken(node)) == 1
            assert node.audit().plan == ()
        with proxied(node_0) as node:
            node.take(has(WEB), *pods)
            assert node.audit().plan == (), "the next process sees it alike"
            assert len(taken(node)) == 1
            assert foreign.answers() == THEIRS
            node.take(has_not(WEB))
            node.sync()
            assert taken(node) == []
            assert foreign.answers() == THEIRS
            assert node.audit().plan == ()
        assert held.ask().server == THEIRS
    assert foreign.lines() == before


@pytest.mark.parametrize("name", PLACES)
def test_what_a_sync_meets(world: Cluster, name: str) -> None:
    """One that came after the last audit keeps its clients and its place, too."""
    place = PLACES[name]
    foreign = ForeignServer(world, place)
    client = world.client.netns
    with proxied(world.nodes[0].netns) as node:
        node.audit()
        foreign.add()
        before = foreign.lines()
        node.take(has(WEB), *slices(WEB, [world.pods[OURS]], TARGET_PORTS))
        with inside(node.netns):
            report = node.reconciler.sync(node.reconciler.prepare()).report
        assert [failed.reason for failed in report.failed] == [
            "another one is there already"
        ]
        assert ask(client, place.address, place.other_port).server == OURS
        assert foreign.lines() == before
        node.audit()
        assert foreign.answers() == THEIRS
        assert foreign.lines() == before
        assert len(taken(node)) == 1
        foreign.delete()
        node.audit()
        assert foreign.answers() == OURS
        assert taken(node) == []
        assert node.audit().plan == ()


def test_flushed_sets_cost_no_service(world: Cluster) -> None:
    """What a process before this one made is recognised, beside a foreign one."""
    foreign = ForeignServer(world, PLACES["external IP"])
    foreign.add()
    before = foreign.lines()
    node_0 = world.nodes[0].netns
    pods = slices(WEB, [world.pods[OURS]], TARGET_PORTS)
    with proxied(node_0) as node:
        node.take(has(WEB), *pods)
        node.audit()
    run(node_0, "ipset", "flush")
    with proxied(node_0) as node:
        node.take(has(WEB), *pods)
        node.audit()
        assert node.audit().plan == ()
        assert [problem.split(": ")[2] for problem in taken(node)] == [
            "tcp 203.0.113.10:80"
        ]
    assert foreign.lines() == before
    assert foreign.answers() == THEIRS
    for name in ("cluster IP", "node port"):
        place = PLACES[name]
        assert ask(world.client.netns, place.address, place.port).server == OURS


def test_a_cluster_ip_is_its_services_whoever_listed_it_first(world: Cluster) -> None:
    """An older Service with the address among its external IPs gets none of it."""
    address = parse_address("10.96.0.77")
    squatter = Service(
        ref=ObjectRef("evil", "squatter"),
        created="2026-01-01T00:00:00Z",
        cluster_ips=(parse_address("10.96.0.66"),),
        external_ips=(address,),
        ports=(ServicePort(name="http", protocol=Protocol.TCP, port=80),),
    )
    victim = Service(
        ref=ObjectRef("default", "victim"),
        created="2026-02-02T00:00:00Z",
        cluster_ips=(address,),
        ports=squatter.ports,
    )
    client = world.client.netns
    with proxied(world.nodes[0].netns) as node:
        node.take(has(squatter), *slices(squatter, [world.pods[THEIRS]], TARGET_PORTS))
        node.audit()
        assert ask(client, address, 80).server == THEIRS
        node.take(has(victim), *slices(victim, [world.pods[OURS]], TARGET_PORTS))
        node.sync()
        assert {ask(client, address, 80).server for _ in range(4)} == {OURS}
        assert [str(p) for p in node.reconciler.problems()] == [
            (
                "Service evil/squatter: spec.externalIPs: tcp 10.96.0.77:80: "
                "already taken by Service default/victim"
            )
        ]
        assert node.audit().plan == ()
        node.take(has_not(victim))
        node.sync()
        assert ask(client, address, 80).server == THEIRS
        assert node.audit().plan == ()


def test_a_node_port_is_its_services_too(world: Cluster) -> None:
    """Where external IPs on the node's address are served, with kube-proxy's ways."""
    config = msgspec.structs.replace(CONFIG, compatibility=Compatibility.KUBE_PROXY)
    address = world.nodes[0].ipv4
    squatter = Service(
        ref=ObjectRef("evil", "squatter"),
        created="2026-01-01T00:00:00Z",
        cluster_ips=(parse_address("10.96.0.66"),),
        external_ips=(address,),
        ports=(ServicePort(name="http", protocol=Protocol.TCP, port=30080),),
    )
    client = world.client.netns
    with proxied(world.nodes[0].netns, config=config) as node:
        node.take(has(squatter), *slices(squatter, [world.pods[THEIRS]], TARGET_PORTS))
        node.audit()
        assert ask(client, address, 30080).server == THEIRS
        node.take(has(WEB), *slices(WEB, [world.pods[OURS]], TARGET_PORTS))
        node.sync()
        assert {ask(client, address, 30080).server for _ in range(4)} == {OURS}
        assert node.audit().plan == ()
