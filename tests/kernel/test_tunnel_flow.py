"""Direct server return between nodes, with packets: two nodes, both with the proxy.

The client reaches the VIPs through node-0. What node-0 sends to node-1 is in a tunnel,
and node-1 answers the client itself.
"""

import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from ipaddress import ip_network
from typing import Final

import msgspec
import pytest

from ipvsctl.cluster.events import Event, Upserted
from ipvsctl.model.config import ExternalForwarding, ProxyConfig
from ipvsctl.model.ipvs import ForwardingMethod, RealServerKey, VirtualServerKey
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    Protocol,
    family_of,
    parse_address,
)
from ipvsctl.model.objects import Node, Service, ServicePort, ServiceType
from ipvsctl.model.problem import Kind, ObjectRef
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.plan import DiffOptions, diff
from ipvsctl.plan.report.arrivals import arrivals_since, count_arrivals
from tests.builders import set_called
from tests.kernel.node import (
    CONFIG,
    ProxiedNode,
    has,
    offers,
    offers_not,
    proxied,
    slices,
)
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster, Host, cluster
from tests.lab.traffic import Servers, ask, connect

pytestmark = pytest.mark.kernel

PORT: Final = 6080
TARGET_PORTS: Final = {"tcp": 8080, "udp": 5353, "sctp": 9999}
TUNNELS: Final = msgspec.structs.replace(
    CONFIG, tunnel_port=PORT, external_forwarding=ExternalForwarding.TUNNEL
)
WEB: Final = Service(
    ref=ObjectRef("default", "web"),
    type=ServiceType.LOAD_BALANCER,
    cluster_ips=(parse_address("10.96.0.20"), parse_address("fd00:10:96::20")),
    external_ips=(parse_address("203.0.113.20"), parse_address("2001:db8:203::20")),
    ingress_vips=(parse_address("198.51.100.20"), parse_address("2001:db8:198::20")),
    ports=tuple(
        ServicePort(name=protocol.label, protocol=protocol, port=80)
        for protocol in Protocol
    ),
)
VIPS: Final = (*WEB.external_ips, *WEB.ingress_vips)
VIP: Final = WEB.external_ips[0]
KEY: Final = VirtualServerKey(
    family=IPFamily.IPV4, protocol=Protocol.TCP, address=VIP, port=80
)
PODS: Final = ("pod-0-0", "pod-0-1", "pod-1-0", "pod-1-1")


class World:
    """The cluster, with the proxy on each node."""

    def __init__(self, hosts: Cluster, nodes: Sequence[ProxiedNode]) -> None:
        self.hosts = hosts
        self.nodes = nodes
        self.client = hosts.client

    def hear(self, *events: Event, only: int | None = None) -> None:
        """Have the proxies hear of something, and impose it."""
        for number, node in enumerate(self.nodes):
            if only in {None, number}:
                node.take(*events)
                node.sync()

    def endpoints(
        self, *pods: str, service: Service = WEB, only: int | None = None
    ) -> None:
        """The pods that the Service has from now on."""
        hosts = [self.hosts.pods[name] for name in pods]
        self.hear(*slices(service, hosts, TARGET_PORTS), only=only)

    def met(self, client: Host | None = None, times: int = 8) -> Counter[str]:
        """Who answers at the external IP, on connections of their own."""
        netns = (client or self.client).netns
        return Counter(ask(netns, VIP, 80).server for _ in range(times))


def has_node(host: Host) -> Event:
    """A Node object."""
    node = Node(name=host.name, addresses=(host.ipv4, host.ipv6))
    return Upserted(kind=Kind.NODE, ref=ObjectRef("", host.name), values=(node,))


def build(
    stack: ExitStack,
    config: ProxyConfig,
    service: Service = WEB,
    *,
    has_offers: bool = True,
) -> World:
    """Two nodes with two pods each, all of them endpoints of the Service."""
    hosts = stack.enter_context(cluster())
    servers = stack.enter_context(Servers())
    for pod in hosts.pods.values():
        for address in (pod.ipv4, pod.ipv6):
            for protocol in Protocol:
                port = TARGET_PORTS[protocol.label]
                servers.add(pod.netns, address, port, protocol=protocol)
    nodes = [
        stack.enter_context(proxied(host.netns, host.name, config))
        for host in hosts.nodes
    ]
    events = [*map(has_node, hosts.nodes), has(service)]
    if has_offers:
        events += [offers(host, port=PORT) for host in hosts.nodes]
    events += slices(service, [hosts.pods[name] for name in PODS], TARGET_PORTS)
    for node in nodes:
        node.take(*events)
        node.audit()
        assert node.audit().plan == ()
    return World(hosts, nodes)


@pytest.fixture(scope="module", name="world")
def _world() -> Iterator[World]:
    """One for tests that change nothing."""
    with ExitStack() as stack:
        yield build(stack, TUNNELS)


@pytest.fixture(name="own")
def _own() -> Iterator[World]:
    """One for a test of its own."""
    with ExitStack() as stack:
        yield build(stack, TUNNELS)


def run(netns: Netns, *commands: str) -> str:
    """What commands say on a host."""
    said = ""
    with inside(netns):
        for command in commands:
            done = subprocess.run(
                command.split(), check=True, capture_output=True, text=True
            )
            said += done.stdout
    return said


def real_servers(world: World, number: int = 0) -> set[tuple[str, str, int]]:
    """Those of the external IP on a node: address, way and weight."""
    held = world.nodes[number].observe().state.real_servers[KEY].values()
    return {(str(s.key), s.forwarding.name, s.weight) for s in held}


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("vip", VIPS, ids=str)
def test_outside_clients_meet_all_endpoints_as_themselves(
    world: World, vip: IPAddress, protocol: Protocol
) -> None:
    """Each endpoint sees the client's address, and each has its share."""
    answers = [ask(world.client.netns, vip, 80, protocol=protocol) for _ in range(16)]
    assert Counter(a.server for a in answers) == dict.fromkeys(PODS, 4)
    assert {a.source for a in answers} == {world.client.address(family_of(vip))}


def test_a_node_is_one_real_server_of_its_endpoints_weight(world: World) -> None:
    """And there is nothing else to read, nor to repair."""
    assert real_servers(world) == {
        ("172.16.0.10:8080", "MASQUERADE", 1),
        ("172.16.0.11:8080", "MASQUERADE", 1),
        ("10.0.0.11:80", "TUNNEL", 2),
    }
    server = world.nodes[0].observe().state.virtual_servers[KEY]
    assert server.scheduler == "wrr"
    for node in world.nodes:
        assert node.audit().plan == ()


def test_answers_do_not_pass_the_first_node(world: World) -> None:
    """Counted on its link: a large download of node-1's pod leaves no trace there."""
    before = _sent(world.hosts.nodes[0])
    downloads = 0
    for _ in range(4):
        if _transfer(world, upload=0, download=1 << 20) == "pod-1-0":
            downloads += 1
    assert downloads == 4
    assert _sent(world.hosts.nodes[0]) - before < (1 << 19)


def test_large_uploads_and_downloads(world: World) -> None:
    """Longer than what fits a packet, and one that goes through the tunnel does."""
    size = 3 << 20
    assert _transfer(world, upload=size, download=size) == "pod-1-0"


@pytest.mark.parametrize("family", IPFamily)
def test_inside_clients_are_as_ever(world: World, family: IPFamily) -> None:
    """Pods keep their address, the node has its own; nothing is tunnelled for them."""
    vip = next(a for a in WEB.external_ips if family_of(a) is family)
    for name in ("pod-0-0", "pod-1-0"):
        client = world.hosts.pods[name]
        answers = [ask(client.netns, vip, 80) for _ in range(8)]
        assert {a.server for a in answers} == set(PODS)
    for node in world.hosts.nodes:
        answers = [ask(node.netns, vip, 80) for _ in range(8)]
        assert {a.server for a in answers} == set(PODS)
        own = run(node.netns, "ip -o addr show dev eth0", "ip -o addr show dev cbr0")
        assert all(f" {a.source}/" in own for a in answers)


@pytest.mark.parametrize("family", IPFamily)
def test_strangers_cannot_use_the_tunnel(own: World, family: IPFamily) -> None:
    """A host that is no Node sends in vain; a Node gets through."""
    node = own.hosts.nodes[1]
    vip = next(a for a in WEB.external_ips if family_of(a) is family)
    for sender, is_heard in ((own.hosts.external, False), (own.hosts.nodes[0], True)):
        before = _arrived(own, family)
        _send_wrapped(sender, node, own.client, vip)
        assert (_arrived(own, family) > before) == is_heard


def test_an_arrival_is_not_tunnelled_again(own: World) -> None:
    """A node without endpoints drops what the other one still sends it, and counts."""
    counted = count_arrivals(own.nodes[1].observe())[IPFamily.IPV4]
    assert own.met() == dict.fromkeys(PODS, 2)
    end_s = time.monotonic() + 20
    while True:
        now = count_arrivals(own.nodes[1].observe())[IPFamily.IPV4]
        received, balanced = arrivals_since(counted, now)
        # Since Linux 6.3 counters are added up every two seconds.
        if received == balanced > 0:
            break
        assert time.monotonic() < end_s, (received, balanced)
        time.sleep(0.1)
    own.endpoints("pod-0-0", only=1)
    counted = count_arrivals(own.nodes[1].observe())[IPFamily.IPV4]
    before = _sent(own.hosts.nodes[1])
    for _ in range(4):
        try:
            answer = ask(own.client.netns, VIP, 80, timeout_s=0.4)
        except TimeoutError:
            continue
        assert answer.server.startswith("pod-0")
    assert _sent(own.hosts.nodes[1]) - before < 2000
    now = count_arrivals(own.nodes[1].observe())[IPFamily.IPV4]
    received, balanced = arrivals_since(counted, now)
    assert (received > 0, balanced) == (True, 0)
    own.endpoints("pod-0-0", only=0)
    assert own.met() == {"pod-0-0": 8}
    own.endpoints(*PODS)
    assert own.met() == dict.fromkeys(PODS, 2)


def test_strict_reverse_path_filter(own: World) -> None:
    """It is loose on the tunnel's link alone."""
    for host in own.hosts.nodes:
        strict = "sysctl -qw net.ipv4.conf.all.rp_filter=1"
        run(host.netns, strict, "sysctl -qw net.ipv4.conf.eth0.rp_filter=1")
    assert own.met() == dict.fromkeys(PODS, 2)
    assert all(node.audit().plan == () for node in own.nodes)


def test_one_node_that_cannot_has_all_masqueraded(own: World) -> None:
    """Nothing is lost when a Node says that it can no more, and when it can again."""
    with connect(own.client.netns, VIP, 80) as held:
        first = held.ask().server
        own.hear(offers_not(own.hosts.nodes[1]), only=0)
        own.nodes[0].audit()
        assert held.ask().server == first
        assert {way for _, way, weight in real_servers(own) if weight} == {"MASQUERADE"}
        answers = [ask(own.client.netns, VIP, 80) for _ in range(8)]
        assert {a.server for a in answers} == set(PODS)
        own.hear(offers(own.hosts.nodes[1], port=PORT), only=0)
        own.nodes[0].audit()
        assert held.ask().server == first
    assert own.met().keys() == set(PODS)


def test_one_node_after_the_other() -> None:
    """Node-0 begins, then node-1, and back: every connection in the meantime is served.

    Each step is heard of by one node first and by the other later, in either order.
    """
    with ExitStack() as stack:
        world = build(stack, TUNNELS, has_offers=False)
        ways = set[str]()
        first, second = world.hosts.nodes
        receiving = [
            offers(host, port=PORT, is_sending=False) for host in (first, second)
        ]
        sending = [offers(host, port=PORT) for host in (first, second)]
        none = [offers_not(host) for host in (second, first)]
        with ExitStack() as connections:
            held = [
                connections.enter_context(connect(world.client.netns, VIP, 80))
                for _ in range(4)
            ]
            met = [connection.ask().server for connection in held]
            for number, event in enumerate([*receiving, *sending, *none]):
                for node in (number % 2, 1 - number % 2):
                    world.hear(event, only=node)
                    assert world.met(times=8).keys() == set(PODS)
                    ways |= {way for _, way, weight in real_servers(world) if weight}
                    world.nodes[node].audit()
                    assert [connection.ask().server for connection in held] == met
        assert ways == {"MASQUERADE", "TUNNEL"}


def test_a_node_that_masquerades_serves_what_arrives(own: World) -> None:
    """It heard of something that the sender has not: both are right for the client."""
    own.hear(offers_not(own.hosts.nodes[0]), only=1)
    own.nodes[1].audit()
    assert own.met().total() == 8


def test_an_endpoint_goes_to_the_other_node(own: World) -> None:
    """A connection through the tunnel ends with its endpoint, and no other does."""
    with ExitStack() as stack:
        held = [
            stack.enter_context(connect(own.client.netns, VIP, 80)) for _ in range(4)
        ]
        first = [connection.ask().server for connection in held]
        own.endpoints("pod-0-0", "pod-0-1", "pod-1-0")
        assert own.met().keys() == {"pod-0-0", "pod-0-1", "pod-1-0"}
        again = [connection.ask().server for connection in held]
        assert again == first
    assert real_servers(own) == {
        ("172.16.0.10:8080", "MASQUERADE", 1),
        ("172.16.0.11:8080", "MASQUERADE", 1),
        ("10.0.0.11:80", "TUNNEL", 1),
    }


def test_connections_outlive_the_last_endpoint_of_a_node(own: World) -> None:
    """They drain on both nodes, and new ones go elsewhere."""
    own.endpoints("pod-1-0")
    with connect(own.client.netns, VIP, 80) as held:
        assert held.ask().server == "pod-1-0"
        own.endpoints("pod-0-0")
        for node in own.nodes:
            node.audit()
        assert own.met() == {"pod-0-0": 8}
        assert held.ask().server == "pod-1-0"
        assert ("10.0.0.11:80", "TUNNEL", 0) in real_servers(own)


def test_the_service_is_tunnelled_no_more(own: World) -> None:
    """Connections go on, and the arrivals' virtual server goes with the last one."""
    plain = msgspec.structs.replace(
        WEB, annotations=(("ipvsctl.io/external-forwarding", "masquerade"),)
    )
    with ExitStack() as stack:
        held = [
            stack.enter_context(connect(own.client.netns, VIP, 80)) for _ in range(4)
        ]
        first = [connection.ask().server for connection in held]
        own.hear(has(plain))
        for node in own.nodes:
            node.audit()
            node.audit()
        assert [connection.ask().server for connection in held] == first
        assert own.met().keys() == set(PODS)
        arrivals = set_called("KUBE-TUNNEL-ARRIVAL")
        left = own.nodes[1].observe().state.entries[arrivals]
        assert [str(entry.identity) for entry in left] == [f"{VIP},tcp:80"]


def test_the_next_process_goes_on(own: World) -> None:
    """It finds everything as it should be, and marks stay as they are."""
    with connect(own.client.netns, VIP, 80) as held:
        first = held.ask().server
        with ExitStack() as stack:
            for number, host in enumerate(own.hosts.nodes):
                after = stack.enter_context(proxied(host.netns, host.name, TUNNELS))
                events = [*map(has_node, own.hosts.nodes), has(WEB)]
                events += [offers(each, port=PORT) for each in own.hosts.nodes]
                pods = [own.hosts.pods[name] for name in PODS]
                after.take(*events, *slices(WEB, pods, TARGET_PORTS))
                assert after.audit().plan == (), number
        assert held.ask().server == first


def test_session_affinity() -> None:
    """A client stays with its node and with its endpoint there."""
    sticky = msgspec.structs.replace(WEB, affinity_timeout_s=600)
    with ExitStack() as stack:
        world = build(stack, TUNNELS, sticky)
        assert len(world.met()) == 1


@pytest.mark.parametrize(
    ("network", "is_in"), [("10.0.0.96/28", True), ("10.0.0.175/32", False)]
)
def test_source_ranges(network: str, *, is_in: bool) -> None:
    """They hold on the node that is asked first."""
    ranged = msgspec.structs.replace(WEB, source_ranges=(ip_network(network),))
    vip = WEB.ingress_vips[0]
    with ExitStack() as stack:
        world = build(stack, TUNNELS, ranged)
        if is_in:
            met = {ask(world.client.netns, vip, 80).server for _ in range(8)}
            assert met == set(PODS)
        else:
            with pytest.raises(TimeoutError):
                ask(world.client.netns, vip, 80, timeout_s=0.5)


def test_cleanup_leaves_nothing(own: World) -> None:
    """No link, no port, no set, no rule."""
    for node in own.nodes:
        options = DiffOptions(vip_link="kube-ipvs0")
        node.apply(diff(node.observe(), NodeState(), options))
        left = node.observe().state
        assert (left.tunnel_ends, left.chains, left.sets) == (
            {},
            {family: {} for family in left.chains},
            {},
        )
        assert left.virtual_servers == {}
        assert run(node.netns, "ip fou show") == ""


def test_a_node_without_the_setting_has_nothing_of_it() -> None:
    """Although its Node says so, and Services ask for it."""
    asking = msgspec.structs.replace(
        WEB, annotations=(("ipvsctl.io/external-forwarding", "tunnel"),)
    )
    with ExitStack() as stack:
        world = build(stack, CONFIG, asking)
        state = world.nodes[0].observe().state
        assert state.tunnel_ends == {}
        assert not any("tunnel" in key.role for key in state.sets)
        ways = {s.forwarding for s in state.real_servers[KEY].values()}
        assert ways == {ForwardingMethod.MASQUERADE}
        assert (
            RealServerKey(parse_address("172.16.1.10"), 8080)
            in (state.real_servers[KEY])
        )


def _sent(host: Host) -> int:
    """Bytes that have left on a host's link."""
    with inside(host.netns):
        done = subprocess.run(
            ["ip", "-s", "-j", "link", "show", "eth0"],
            check=True,
            capture_output=True,
        )
    (found,) = msgspec.json.decode(done.stdout)
    return int(found["stats64"]["tx"]["bytes"])


def _arrived(world: World, family: IPFamily) -> int:
    """UDP flows that the tunnel of node-1 has let in."""
    observed = world.nodes[1].observe()
    arrivals = set_key(SetRole.TUNNEL_ARRIVAL, family)
    (key,) = (
        VirtualServerKey(family=family, fwmark=entry.mark)
        for entry in observed.state.entries[arrivals]
        if entry.protocol is Protocol.UDP and entry.address in WEB.external_ips
    )
    return sum(stats.inactive for stats in observed.connections[key].values())


def _send_wrapped(sender: Host, node: Host, client: Host, vip: IPAddress) -> None:
    """Send a datagram of a client to a VIP, wrapped for a node."""
    script = f"""
import socket, sys
from struct import pack
source, vip = {str(client.address(family_of(vip)))!r}, {str(vip)!r}
is_v4 = "." in vip
af = socket.AF_INET if is_v4 else socket.AF_INET6
src, dst = (socket.inet_pton(af, a) for a in (source, vip))
body = b"hello"
def checksum(data):
    data += b"\\0" * (len(data) % 2)
    total = sum(data[i] << 8 | data[i + 1] for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
length = 8 + len(body)
pseudo = src + dst + (pack("!BBH", 0, 17, length) if is_v4 else pack("!II", length, 17))
udp = pack("!HHHH", 5000, 80, length, 0) + body
udp = udp[:6] + pack("!H", checksum(pseudo + udp) or 0xffff) + udp[8:]
if is_v4:
    head = pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 1, 0, 64, 17, 0, src, dst)
    head = head[:10] + pack("!H", checksum(head)) + head[12:]
else:
    head = pack("!IHBB16s16s", 6 << 28, length, 17, 64, src, dst)
gue = pack("!BBH", 0, 4 if is_v4 else 41, 0)
with socket.socket(af, socket.SOCK_DGRAM) as sock:
    sock.sendto(gue + head + udp, ({str(node.address(family_of(vip)))!r}, {PORT}))
"""
    with inside(sender.netns):
        subprocess.run(["python3", "-c", script], check=True)


def _transfer(world: World, *, upload: int, download: int) -> str:
    """Send and receive so many bytes to and from pod-1-0, through the external IP.

    Returns:
        The pod's name.
    """
    pod = world.hosts.pods["pod-1-0"]
    only = msgspec.structs.replace(
        WEB,
        ref=ObjectRef("default", "bulk"),
        cluster_ips=(parse_address("10.96.0.99"),),
        external_ips=(parse_address("203.0.113.99"),),
        ingress_vips=(),
        ports=WEB.ports[:1],
    )
    ports = {"tcp": 7777}
    world.hear(has(only), *slices(only, [pod], ports))
    with inside(pod.netns):
        server = socket.create_server((str(pod.ipv4), 7777))

    def serve() -> None:
        with server, server.accept()[0] as connection:
            left = upload
            while left:
                left -= len(connection.recv(1 << 16))
            connection.sendall(bytes(download))

    thread = threading.Thread(target=serve)
    thread.start()
    with inside(world.client.netns):
        client = socket.create_connection(("203.0.113.99", 80), timeout=20)
    with client:
        client.sendall(bytes(upload))
        left = download
        while left:
            got = len(client.recv(1 << 16))
            assert got, "the connection has ended"
            left -= got
    thread.join()
    return pod.name


def test_a_node_dies(own: World) -> None:
    """Its connections hang; when its endpoints are gone, new ones go elsewhere."""
    with ExitStack() as stack:
        held = [
            stack.enter_context(connect(own.client.netns, VIP, 80)) for _ in range(4)
        ]
        there = [c for c in held if c.ask().server.startswith("pod-1")]
        here = [c for c in held if c not in there]
        run(own.hosts.nodes[1].netns, "ip link set eth0 down")
        own.endpoints("pod-0-0", "pod-0-1", only=0)
        assert own.met() == {"pod-0-0": 4, "pod-0-1": 4}
        assert all(c.ask().server.startswith("pod-0") for c in here)
        assert len(there) == 2
