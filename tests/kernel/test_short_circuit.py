"""Two sets of endpoints behind one address, with packets.

Services of external traffic policy Local on a node with an endpoint of its own
(node-0, in `test_ways_in`) and without one (here: all endpoints are on node-1).
"""

import subprocess
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

import msgspec
import pytest

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.objects import Service, ServicePort, ServiceType, TrafficPolicy
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.sets import SetEntry
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.plan import DiffOptions, diff
from tests.builders import set_called
from tests.kernel.load import Load, Way
from tests.kernel.node import CONFIG, ProxiedNode, has, has_nodes, proxied, slices
from tests.lab.netns import inside
from tests.lab.topology import Cluster, Host, cluster
from tests.lab.traffic import Servers, ask, connect

pytestmark = pytest.mark.kernel

TARGET_PORTS = {"tcp": 8080, "udp": 5353, "sctp": 9999}
VIPS = {
    "external_ip": ("203.0.113.20", "2001:db8:203::20"),
    "ingress_vip": ("198.51.100.20", "2001:db8:198::20"),
}
WEB = Service(
    ref=ObjectRef("default", "web"),
    type=ServiceType.LOAD_BALANCER,
    cluster_ips=(parse_address("10.96.0.20"), parse_address("fd00:10:96::20")),
    external_ips=tuple(map(parse_address, VIPS["external_ip"])),
    ingress_vips=tuple(map(parse_address, VIPS["ingress_vip"])),
    external_traffic_policy=TrafficPolicy.LOCAL,
    ports=tuple(
        ServicePort(name=protocol.label, protocol=protocol, port=80, node_port=30020)
        for protocol in Protocol
    ),
)
VIP = WEB.external_ips[0]
KEY = VirtualServerKey(
    family=IPFamily.IPV4, protocol=Protocol.TCP, address=VIP, port=80
)
TCP_ONLY = msgspec.structs.replace(
    WEB, ports=WEB.ports[:1], cluster_ips=WEB.cluster_ips
)


def serve(world: Cluster, servers: Servers) -> None:
    """Have every pod answer on every target port."""
    for pod in world.pods.values():
        for address in (pod.ipv4, pod.ipv6):
            for protocol in Protocol:
                port = TARGET_PORTS[protocol.label]
                servers.add(pod.netns, address, port, protocol=protocol)


def knows(node: ProxiedNode, world: Cluster, service: Service, *pods: str) -> None:
    """Hear of the nodes, and of a Service with these pods."""
    node.take(*has_nodes(world.nodes), has(service))
    node.take(*slices(service, [world.pods[name] for name in pods], TARGET_PORTS))


@pytest.fixture(scope="module", name="world")
def _world() -> Iterator[Cluster]:
    """A cluster whose node-0 has no endpoint of the Service."""
    with cluster(pods=(1, 2)) as world, Servers() as servers:
        serve(world, servers)
        with proxied(world.nodes[0].netns) as node:
            knows(node, world, WEB, "pod-1-0", "pod-1-1")
            node.audit()
            assert node.audit().plan == ()
            yield world


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("family", IPFamily)
@pytest.mark.parametrize("way", [*VIPS, "node_port"])
def test_without_a_local_endpoint(
    world: Cluster, way: str, family: IPFamily, protocol: Protocol
) -> None:
    """The host and its pods reach the other node's endpoints; outside is dropped.

    A refusal would reach the client at once; what is dropped it tries again.
    """
    if way == "node_port":
        address, port = world.nodes[0].address(family), 30020
    else:
        vips = map(parse_address, VIPS[way])
        (address,) = (a for a in vips if (a.version == 4) is (family is IPFamily.IPV4))
        port = 80
    for client in (world.nodes[0], world.pods["pod-0-0"]):
        answers = [
            ask(client.netns, address, port, protocol=protocol) for _ in range(4)
        ]
        assert {a.server for a in answers} == {"pod-1-0", "pod-1-1"}, client.name
        kept = {client.address(family)}
        assert {a.source for a in answers} <= kept | {world.nodes[0].address(family)}
    with pytest.raises(TimeoutError):
        ask(world.client.netns, address, port, protocol=protocol, timeout_s=0.5)


@pytest.fixture(name="node")
def _node(cluster: Cluster, servers: Servers) -> Iterator[ProxiedNode]:
    """node-0 proxies the Service's TCP port, with an endpoint on each node."""
    serve(cluster, servers)
    with proxied(cluster.nodes[0].netns) as made:
        knows(made, cluster, TCP_ONLY, "pod-0-0", "pod-1-0")
        made.audit()
        yield made


def met(client: Host, times: int = 4) -> set[str]:
    """Who answers at the external IP, on connections of their own."""
    return {ask(client.netns, VIP, 80).server for _ in range(times)}


def marks(node: ProxiedNode) -> dict[str, int]:
    """The mark of each external address and port, as the kernel has it."""
    entries = node.observe().state.entries[set_called("KUBE-SHORT-CIRCUIT")]
    return {str(entry.identity): entry.mark for entry in entries}


def test_the_local_endpoint_comes_and_goes(cluster: Cluster, node: ProxiedNode) -> None:
    """Outside clients have it while it is there; a connection outlives it."""
    pod = cluster.pods["pod-0-1"]
    assert met(cluster.client) == {"pod-0-0"}
    with connect(cluster.client.netns, VIP, 80) as held:
        assert held.ask().server == "pod-0-0"
        knows(node, cluster, TCP_ONLY, "pod-1-0")
        node.sync()
        assert held.ask().server == "pod-0-0", "drops only what is new"
        with pytest.raises(TimeoutError):
            ask(cluster.client.netns, VIP, 80, timeout_s=0.5)
        assert met(pod) == {"pod-1-0"}
    knows(node, cluster, TCP_ONLY, "pod-0-0", "pod-1-0")
    node.sync()
    assert met(cluster.client) == {"pod-0-0"}
    assert met(pod) == {"pod-0-0", "pod-1-0"}
    assert node.audit().plan == ()


def test_inside_connections_drain(cluster: Cluster, node: ProxiedNode) -> None:
    """An endpoint that goes keeps the connections of pods to the external address."""
    with connect(cluster.pods["pod-0-1"].netns, VIP, 80) as held:
        server = held.ask().server
        other = ({"pod-0-0", "pod-1-0"} - {server}).pop()
        knows(node, cluster, TCP_ONLY, other)
        node.sync()
        assert held.ask().server == server
        assert met(cluster.pods["pod-0-1"]) == {other}
        assert node.check_drains().plan == ()
        assert held.ask().server == server


def counted(node: ProxiedNode, key: VirtualServerKey) -> int:
    """Connections of a virtual server; those that have ended stay for two minutes."""
    stats = node.observe().connections[key].values()
    return sum(one.active + one.inactive for one in stats)


CLUSTER_POLICY = msgspec.structs.replace(
    TCP_ONLY, external_traffic_policy=TrafficPolicy.CLUSTER
)
OFF = msgspec.structs.replace(CONFIG, short_circuit=False)
CLOSING = set_called("KUBE-SHORT-CIRCUIT-CLOSING")
_RESET_S = 15.0
"""IPVS forgets a connection 10 s after RST (ip_vs_proto_tcp.c:tcp_timeouts)."""


def test_a_policy_that_changes_cuts_no_inside_connection(
    cluster: Cluster, node: ProxiedNode
) -> None:
    """To Cluster and back under load; what inside clients had stays while it is used.

    New connections are everybody's at once, and the next process carries on.
    """
    pod, ways = cluster.pods["pod-0-1"], [Way("vip", VIP, 80, Protocol.TCP)]
    inside_key = VirtualServerKey(
        family=IPFamily.IPV4, fwmark=marks(node)[f"{VIP},tcp:80"]
    )
    with (
        connect(pod.netns, VIP, 80) as held,
        Load({"pod": pod, "host": cluster.nodes[0]}, ways) as load,
    ):
        server = held.ask().server
        for service in (CLUSTER_POLICY, TCP_ONLY) * 4 + (CLUSTER_POLICY,):
            node.take(has(service))
            node.sync()
            assert held.ask().server == server
            # Those of the other addresses have no connections.
            node.audit()
            assert node.audit().plan == ()
            assert held.ask().server == server
        assert not marks(node)
        before = counted(node, inside_key)
        load.go_round()
        assert counted(node, inside_key) <= before
        with proxied(node.netns) as restarted:
            knows(restarted, cluster, CLUSTER_POLICY, "pod-0-0", "pod-1-0")
            assert restarted.audit().plan == ()
        assert held.ask().server == server
    assert load.failures == {}


def closing(node: ProxiedNode) -> AbstractSet[SetEntry]:
    """The short circuits that end with their connections."""
    return node.observe().state.entries.get(CLOSING, frozenset())


def test_what_closes_goes_with_its_last_connection(
    cluster: Cluster, node: ProxiedNode
) -> None:
    """Of a process that had short circuits, by one that has none."""
    with (
        connect(cluster.pods["pod-0-1"].netns, VIP, 80) as held,
        proxied(node.netns, config=OFF) as other,
    ):
        server = held.ask().server
        knows(other, cluster, TCP_ONLY, "pod-0-0", "pod-1-0")
        for _ in range(3):
            other.audit()
            assert held.ask().server == server
        assert not marks(other)
        assert len(closing(other)) == 1
        held.reset()
        until = time.monotonic() + _RESET_S
        while closing(other) and time.monotonic() < until:
            time.sleep(0.5)
            other.audit()
        assert not closing(other)
        state = other.observe().state
        assert not [key for key in state.virtual_servers if key.fwmark]


def test_a_pod_reaches_itself(cluster: Cluster, node: ProxiedNode) -> None:
    """Through the external address, on whichever side of the mark."""
    assert met(cluster.pods["pod-0-0"]) == {"pod-0-0", "pod-1-0"}
    knows(node, cluster, TCP_ONLY, "pod-0-0")
    node.sync()
    assert met(cluster.pods["pod-0-0"]) == {"pod-0-0"}


@pytest.mark.parametrize("port", [80, 8080])
def test_affinity_inside(cluster: Cluster, node: ProxiedNode, port: int) -> None:
    """A client stays with one endpoint, whatever port that has."""
    sticky = msgspec.structs.replace(
        TCP_ONLY,
        affinity_timeout_s=600,
        ports=(ServicePort(name="tcp", protocol=Protocol.TCP, port=port),),
    )
    node.take(has(sticky))
    node.sync()
    clients = (cluster.nodes[0], cluster.pods["pod-0-0"], cluster.pods["pod-0-1"])
    for client in clients:
        servers = {ask(client.netns, VIP, port).server for _ in range(4)}
        assert len(servers) == 1
        assert servers <= {"pod-0-0", "pod-1-0"}
    assert ask(cluster.client.netns, VIP, port).server == "pod-0-0"


def test_marks_outlive_the_process(cluster: Cluster, node: ProxiedNode) -> None:
    """The next one, hearing of another Service first, changes nothing."""
    before = marks(node)
    earlier = msgspec.structs.replace(
        TCP_ONLY,
        ref=ObjectRef("default", "a"),
        cluster_ips=(parse_address("10.96.0.19"),),
        external_ips=(parse_address("203.0.113.19"),),
        ingress_vips=(),
        ports=(ServicePort(name="tcp", protocol=Protocol.TCP, port=80),),
    )
    with proxied(node.netns) as restarted:
        knows(restarted, cluster, earlier, "pod-0-0")
        knows(restarted, cluster, TCP_ONLY, "pod-0-0", "pod-1-0")
        plan = restarted.audit().plan
        assert not [op for op in map(str, plan) if "delete" in op]
        after = marks(restarted)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1
    assert met(cluster.pods["pod-0-1"]) == {"pod-0-0", "pod-1-0"}


def test_foreign_fwmarks_stay(node: ProxiedNode) -> None:
    """One that is next in our range is passed over by a sync and an audit."""
    mark = CONFIG.marks.mark(len(marks(node)))
    foreign = [
        f"-A -f {mark} -s wlc",
        f"-a -f {mark} -r 10.0.0.11:0 -g -w 5",
    ]
    with inside(node.netns):
        for line in foreign:
            subprocess.run(["ipvsadm", *line.split()], check=True)
    more = msgspec.structs.replace(
        TCP_ONLY, external_ips=(*TCP_ONLY.external_ips, parse_address("203.0.113.21"))
    )
    node.take(has(more))
    with inside(node.netns):
        report = node.reconciler.sync(node.reconciler.prepare())
        assert [str(op.op) for op in report.report.failed] == [
            f"add virtual server fwmark {mark:#x} rr"
        ]
    node.audit()
    assert node.audit().plan == ()
    assert marks(node)["203.0.113.21,tcp:80"] == CONFIG.marks.mark(len(marks(node)))
    with inside(node.netns):
        plan = diff(node.observe(), NodeState(), DiffOptions(vip_link="kube-ipvs0"))
        assert not node.apply(plan).failed
        saved = subprocess.run(
            ["ipvsadm-save", "-n"], capture_output=True, text=True, check=True
        )
    assert sorted(saved.stdout.splitlines()) == foreign


def test_a_mark_without_its_virtual_server_does_no_harm(
    cluster: Cluster, node: ProxiedNode
) -> None:
    """IPVS then goes by the address, so an entry may come first and go last."""
    mark = marks(node)["203.0.113.20,tcp:80"]
    with inside(node.netns):
        subprocess.run(["ipvsadm", "-D", "-f", str(mark)], check=True)
    assert met(cluster.pods["pod-0-1"]) == {"pod-0-0"}
    node.audit()
    assert met(cluster.pods["pod-0-1"]) == {"pod-0-0", "pod-1-0"}


@pytest.mark.parametrize("settings", [{"short_circuit": False}, {"cluster_cidrs": ()}])
def test_where_pods_are_like_others_they_are_not_lost(
    cluster: Cluster, servers: Servers, settings: dict[str, object]
) -> None:
    """Without the short circuit, and without a way to tell pods, kube-proxy's way."""
    config: ProxyConfig = msgspec.structs.replace(CONFIG, **settings)
    serve(cluster, servers)
    with proxied(cluster.nodes[0].netns, config=config) as node:
        knows(node, cluster, TCP_ONLY, "pod-1-0")
        node.audit()
        assert met(cluster.pods["pod-0-0"]) == {"pod-1-0"}
        knows(node, cluster, TCP_ONLY, "pod-0-0", "pod-1-0")
        node.sync()
        assert met(cluster.pods["pod-0-0"]) == {"pod-0-0"}
