"""Limits and affinity that Services ask for, with packets."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_interface

import msgspec
import pytest

from ipvsctl.model.ipvs import RealServerKey, ServiceFlags, VirtualServerKey
from ipvsctl.model.net import IPAddress, IPFamily, Protocol, parse_address
from ipvsctl.model.objects import Service, ServicePort, ServiceType
from ipvsctl.model.problem import ObjectRef
from ipvsctl.plan.report.full import count_full
from tests.addresses import of
from tests.kernel.node import ProxiedNode, has, has_nodes, proxied, slices
from tests.lab.netns import inside
from tests.lab.topology import Cluster, Host
from tests.lab.traffic import Servers, ask, connect

pytestmark = pytest.mark.kernel

TARGET_PORTS = {"tcp": 8080, "udp": 5353}
CLUSTER_IPS = (parse_address("10.96.0.20"), parse_address("fd00:10:96::20"))
WEB = Service(
    ref=ObjectRef("default", "web"),
    type=ServiceType.NODE_PORT,
    cluster_ips=CLUSTER_IPS,
    external_ips=(parse_address("203.0.113.20"), parse_address("2001:db8:203::20")),
    ports=tuple(
        ServicePort(name=protocol.label, protocol=protocol, port=80, node_port=30020)
        for protocol in (Protocol.TCP, Protocol.UDP)
    ),
)
PODS = ("pod-0-0", "pod-1-0")
_QUIET_S = 0.3


def asking(service: Service = WEB, **annotations: str) -> Service:
    """The Service with annotations of ours."""
    words = tuple(
        (f"ipvsctl.io/{name.replace('_', '-')}", text)
        for name, text in annotations.items()
    )
    return msgspec.structs.replace(service, annotations=words)


@pytest.fixture(name="node")
def _node(cluster: Cluster) -> Iterator[ProxiedNode]:
    """node-0, that knows nothing yet but the nodes and the Service's endpoints."""
    with proxied(cluster.nodes[0].netns) as made:
        made.take(*has_nodes(cluster.nodes))
        pods = [cluster.pods[name] for name in PODS]
        made.take(*slices(WEB, pods, TARGET_PORTS))
        yield made


def serve(cluster: Cluster, servers: Servers) -> None:
    """Have the endpoints answer."""
    for name in PODS:
        pod = cluster.pods[name]
        for address in (pod.ipv4, pod.ipv6):
            for label, port in TARGET_PORTS.items():
                protocol = Protocol[label.upper()]
                servers.add(pod.netns, address, port, protocol=protocol)


def with_service(node: ProxiedNode, service: Service) -> None:
    """Have it imposed, and nothing be left to do."""
    node.take(has(service))
    node.audit()
    assert node.audit().plan == ()


@pytest.mark.parametrize("address", CLUSTER_IPS, ids=str)
def test_full_endpoints_get_no_more(
    cluster: Cluster, servers: Servers, node: ProxiedNode, address: IPAddress
) -> None:
    """Each gets its two; the fifth client is refused, until one of them goes.

    What they have goes on, and a higher limit holds at once.
    """
    serve(cluster, servers)
    with_service(node, asking(max_connections="2"))
    client = cluster.pods["pod-0-1"]
    with ExitStack() as stack:
        held = [
            stack.enter_context(connect(client.netns, address, 80)) for _ in range(4)
        ]
        assert Counter(one.ask().server for one in held) == dict.fromkeys(PODS, 2)
        assert count_full(node.observe()) == 1
        with pytest.raises(ConnectionRefusedError):
            ask(client.netns, address, 80)
        # Another address counts for itself.
        other = next(a for a in WEB.external_ips if a.version == address.version)
        assert ask(client.netns, other, 80).server in PODS
        with_service(node, asking(max_connections="3"))
        assert count_full(node.observe()) == 0
        held.append(stack.enter_context(connect(client.netns, address, 80)))
        assert all(one.ask().server in PODS for one in held)
        with_service(node, WEB)
        held += [
            stack.enter_context(connect(client.netns, address, 80)) for _ in range(4)
        ]
        assert all(one.ask().server in PODS for one in held)


def test_a_drain_ends_when_the_service_says(
    cluster: Cluster, servers: Servers, node: ProxiedNode
) -> None:
    """At once here, although the configuration would wait."""
    serve(cluster, servers)
    with_service(node, asking(drain_timeout="0s"))
    with connect(cluster.pods["pod-0-1"].netns, CLUSTER_IPS[0], 80) as held:
        (other,) = {*PODS} - {held.ask().server}
        node.take(*slices(WEB, [cluster.pods[other]], TARGET_PORTS))
        node.sync()
        assert node.check_drains().plan
        with pytest.raises(OSError, match=r"reset|timed out"):
            held.ask()


def test_one_that_comes_grows(
    cluster: Cluster, servers: Servers, node: ProxiedNode
) -> None:
    """In the kernel, step by step; it gets a share that grows with its weight."""
    serve(cluster, servers)
    first, second = (cluster.pods[name] for name in PODS)
    node.take(*slices(WEB, [first], TARGET_PORTS))
    with_service(node, asking(slow_start="4s"))
    node.take(*slices(WEB, [first, second], TARGET_PORTS))
    node.sync()
    key = VirtualServerKey(
        family=IPFamily.IPV4, protocol=Protocol.TCP, address=CLUSTER_IPS[0], port=80
    )

    def weights() -> list[int]:
        held = node.observe().state.real_servers[key]
        return [held[RealServerKey(p.ipv4, 8080)].weight for p in (first, second)]

    client = cluster.pods["pod-0-1"].netns
    assert weights() == [10, 1]
    met = Counter(ask(client, CLUSTER_IPS[0], 80).server for _ in range(11))
    assert met == {first.name: 10, second.name: 1}
    seen: list[int] = []
    until = time.monotonic() + 30
    while not seen or (seen[-1] < 10 and time.monotonic() < until):
        node.check_drains()
        seen.append(weights()[1])
        time.sleep(0.3)
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert weights() == [10, 10]
    assert node.audit().plan == ()


WAYS = ("cluster IP", "external IP", "node port")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", IPFamily)
def test_datagrams_are_scheduled_one_by_one(
    cluster: Cluster, node: ProxiedNode, family: IPFamily, way: str
) -> None:
    """From one socket, to all endpoints in turn; without it they stick to one.

    From a pod, from the host and from outside (not to a cluster IP).
    """
    place = {
        "cluster IP": (CLUSTER_IPS, 80),
        "external IP": (WEB.external_ips, 80),
        "node port": ((cluster.nodes[0].ipv4, cluster.nodes[0].ipv6), 30020),
    }
    addresses, port = place[way]
    (address,) = (a for a in addresses if (a.version == 4) is (family is IPFamily.IPV4))
    clients = [cluster.pods["pod-0-1"], cluster.nodes[0]]
    if way != "cluster IP":
        clients.append(cluster.client)
    with ExitStack() as stack:
        heard = {
            name: stack.enter_context(_listening(cluster.pods[name], family))
            for name in PODS
        }
        for service, shares in ((WEB, [0, 8]), (asking(one_packet="true"), [4, 4])):
            with_service(node, service)
            for client in clients:
                with connect(
                    client.netns, address, port, protocol=Protocol.UDP
                ) as connection:
                    for _ in range(8):
                        connection.send()
                counts = {name: _count(sock) for name, sock in heard.items()}
                assert sorted(counts.values()) == shares, (client.name, counts)


def test_nobody_is_answered_through_it(
    cluster: Cluster, servers: Servers, node: ProxiedNode
) -> None:
    """IPVS forgets the datagram, so that no answer is translated back: as documented.

    Once it is taken away, clients are answered again.
    """
    serve(cluster, servers)
    client = cluster.pods["pod-0-1"].netns
    with_service(node, asking(one_packet="true"))
    key = VirtualServerKey(
        family=IPFamily.IPV4,
        protocol=Protocol.UDP,
        address=CLUSTER_IPS[0],
        port=80,
    )
    held = node.observe().state.virtual_servers[key]
    assert held.flags is ServiceFlags.ONEPACKET
    with pytest.raises(TimeoutError):
        ask(client, CLUSTER_IPS[0], 80, protocol=Protocol.UDP, timeout_s=_QUIET_S)
    assert ask(client, CLUSTER_IPS[0], 80).server in PODS
    with_service(node, WEB)
    assert ask(client, CLUSTER_IPS[0], 80, protocol=Protocol.UDP).server in PODS


@pytest.mark.parametrize("family", IPFamily)
def test_clients_of_a_network_keep_one_endpoint(
    cluster: Cluster, servers: Servers, node: ProxiedNode, family: IPFamily
) -> None:
    """By default each address has its own; with a netmask they have one."""
    serve(cluster, servers)
    client = cluster.client.netns
    networks = {
        IPFamily.IPV4: [f"10.0.0.{n}/32" for n in range(200, 206)],
        IPFamily.IPV6: [f"fd00:10::2{n}/128" for n in range(6)],
    }
    sources = [ip_interface(text) for text in networks[family]]
    for source in sources:
        client.add_address("eth0", source)
    (vip,) = (
        a for a in WEB.external_ips if (a.version == 4) is (family is IPFamily.IPV4)
    )
    sticky = msgspec.structs.replace(WEB, affinity_timeout_s=600)
    with_service(node, sticky)

    def met() -> set[str]:
        return {ask(client, vip, 80, source=of(s.ip)).server for s in sources}

    assert met() == {*PODS}
    # Templates of single addresses hold until they time out.
    node.take(has(asking(sticky, persistence_netmask="24,64")))
    node.audit()
    assert node.audit().plan == ()
    for source in sources:
        client.ip.addr(
            "del",
            index=client.index("eth0"),
            address=str(source.ip),
            prefixlen=source.network.prefixlen,
        )
    more = [s + 20 for s in sources]
    for source in more:
        client.add_address("eth0", source)
    assert len({ask(client, vip, 80, source=of(s.ip)).server for s in more}) == 1


def _listening(pod: Host, family: IPFamily) -> socket.socket:
    with inside(pod.netns):
        sock = socket.socket(
            socket.AF_INET if family is IPFamily.IPV4 else socket.AF_INET6,
            socket.SOCK_DGRAM,
        )
    sock.bind((str(pod.address(family)), TARGET_PORTS["udp"]))
    sock.settimeout(_QUIET_S)
    return sock


def _count(sock: socket.socket) -> int:
    """How many datagrams have come."""
    found = 0
    while True:
        try:
            sock.recv(4096)
        except TimeoutError:
            return found
        found += 1
