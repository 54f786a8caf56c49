"""VIPs as addresses and by routes: whom endpoints see, and going from one to the other.

node-0 runs the proxy; its pods are asked by the host, by a pod and from outside.
"""

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from ipaddress import ip_interface
from itertools import permutations
from typing import Self

import msgspec
import pytest

from ipvsctl.cluster.events import Deleted, Event
from ipvsctl.controller.look import see
from ipvsctl.kernel.iptables_firewall import IptablesFirewall
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.config import Compatibility, ProxyConfig, VipBinding
from ipvsctl.model.net import IPAddress, IPFamily, Protocol, parse_address
from ipvsctl.model.objects import Service, ServicePort, ServiceType, TrafficPolicy
from ipvsctl.model.problem import Kind, ObjectRef
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import (
    AddRoute,
    BindAddress,
    DeleteRoute,
    EnsureVipLink,
    UnbindAddress,
    UpdateRoute,
)
from ipvsctl.plan.diff.plan import DiffOptions, diff
from ipvsctl.plan.union import vip_binding
from ipvsctl.plan.union.vip_binding import VipChoice
from ipvsctl.wire.route.show_text import render_routes
from tests.addresses import later
from tests.kernel.node import (
    BINDINGS,
    CONFIG,
    ProxiedNode,
    has,
    has_nodes,
    proxied,
    slices,
)
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster, Host
from tests.lab.traffic import Connection, Servers, ask, connect

pytestmark = pytest.mark.kernel

PORTS = {"http": 8080, "dns": 5353}
PROTOCOLS = (Protocol.TCP, Protocol.UDP)
VIPS = {
    "cluster IP": ("10.96.0.10", "fd00:10:96::10"),
    "external IP": ("203.0.113.10", "2001:db8:203::10"),
    "ingress VIP": ("198.51.100.10", "2001:db8:198::10"),
}
WEB = Service(
    ref=ObjectRef("default", "web"),
    type=ServiceType.LOAD_BALANCER,
    cluster_ips=tuple(map(parse_address, VIPS["cluster IP"])),
    external_ips=tuple(map(parse_address, VIPS["external IP"])),
    ingress_vips=tuple(map(parse_address, VIPS["ingress VIP"])),
    ports=(
        ServicePort(name="http", protocol=Protocol.TCP, port=80),
        ServicePort(name="dns", protocol=Protocol.UDP, port=80),
    ),
)
MANY = Service(
    ref=ObjectRef("default", "many"),
    cluster_ips=(parse_address("10.97.0.1"), parse_address("fd00:10:96::97")),
    external_ips=tuple(
        later(parse_address(base), number)
        for base in ("203.0.113.100", "2001:db8:203::100")
        for number in range(150)
    ),
    ports=(ServicePort(name="http", protocol=Protocol.TCP, port=80),),
)
"""Makes a switch take long enough to look at."""

WAYS: dict[str, ProxyConfig] = {
    "addresses": CONFIG,
    "routes": msgspec.structs.replace(CONFIG, vip_binding=VipBinding.ROUTE),
    "as kube-proxy": msgspec.structs.replace(
        CONFIG, compatibility=Compatibility.KUBE_PROXY
    ),
}


def has_not(service: Service) -> Event:
    """A Service is gone."""
    return Deleted(kind=Kind.SERVICE, ref=service.ref)


def vip(name: str, family: IPFamily) -> IPAddress:
    """A VIP of `web`."""
    return parse_address(VIPS[name][family is IPFamily.IPV6])


@contextmanager
def serving(
    cluster: Cluster, config: ProxyConfig, *services: Service
) -> Iterator[ProxiedNode]:
    """A process of the proxy that knows `web`, and these Services, on two pods."""
    pods = [cluster.pods["pod-0-1"], cluster.pods["pod-1-0"]]
    with proxied(cluster.nodes[0].netns, config=config) as node:
        node.take(*has_nodes(cluster.nodes))
        for service in (WEB, *services):
            node.take(has(service), *slices(service, pods, PORTS))
        yield node


@pytest.fixture
def world(cluster: Cluster, servers: Servers) -> Cluster:
    """A cluster whose pods serve."""
    for pod in cluster.pods.values():
        for address in (pod.ipv4, pod.ipv6):
            servers.add(pod.netns, address, 8080)
            servers.add(pod.netns, address, 5353, protocol=Protocol.UDP)
    return cluster


def sources(world: Cluster, way: str, family: IPFamily) -> set[str]:
    """Where the host's connections seem to come from, as the pods see it."""
    return {
        str(ask(world.nodes[0].netns, vip(way, family), 80, protocol=protocol).source)
        for protocol in PROTOCOLS
        for _ in range(2)
    }


@pytest.mark.parametrize("binding", BINDINGS)
def test_endpoints_see_the_node(world: Cluster, binding: VipBinding) -> None:
    """The host asks a VIP from the node's address, whether masqueraded or not."""
    host = world.nodes[0]
    own = {str(host.ipv4), str(host.ipv6), "172.16.0.1", "fd00:172:16::1"}
    # Without pod networks a cluster IP is not masqueraded for anybody.
    for basis in (CONFIG, ProxyConfig()):
        config = msgspec.structs.replace(basis, vip_binding=binding)
        with serving(world, config) as node:
            node.audit()
            assert node.audit().plan == ()
        for family in IPFamily:
            for way in VIPS:
                assert sources(world, way, family) <= own, (way, config)
            if not config.cluster_cidrs:
                seen = sources(world, "cluster IP", family)
                assert seen == {str(host.address(family))}


def test_endpoints_see_the_vip_as_with_kube_proxy(world: Cluster) -> None:
    """The host asks a VIP from the VIP, which kube-proxy masquerades but for Local."""
    local = msgspec.structs.replace(WEB, external_traffic_policy=TrafficPolicy.LOCAL)
    with serving(world, WAYS["as kube-proxy"]) as node:
        node.take(has(local), *slices(WEB, [world.pods["pod-0-1"]], PORTS))
        node.audit()
    for family, bridge in zip(IPFamily, ("172.16.0.1", "fd00:172:16::1"), strict=True):
        assert sources(world, "cluster IP", family) == {bridge}
        for way in ("external IP", "ingress VIP"):
            assert sources(world, way, family) == {str(vip(way, family))}


@pytest.mark.parametrize("binding", BINDINGS)
def test_what_is_not_served_is_refused(world: Cluster, binding: VipBinding) -> None:
    """A VIP's other ports are closed, although the host itself listens on them."""
    host = world.nodes[0]
    config = msgspec.structs.replace(CONFIG, vip_binding=binding)
    with Servers() as own, serving(world, config) as node:
        own.add(host.netns, parse_address("::"), 8443)
        node.audit()
        for family in IPFamily:
            assert (
                ask(world.client.netns, host.address(family), 8443).server == "node-0"
            )
            for way in VIPS:
                with pytest.raises(ConnectionRefusedError):
                    ask(world.client.netns, vip(way, family), 8443)


class Asker:
    """Asks one VIP in every way, on a connection that is held and on new ones."""

    def __init__(self, host: Host, address: IPAddress) -> None:
        self.host = host
        self.address = address
        self._held: Connection = connect(host.netns, address, 80)

    def __enter__(self) -> Self:
        """The connection is held until the end of the block."""
        self._held.__enter__()
        self._server = self._held.ask().server
        return self

    def __exit__(self, *reason: object) -> None:
        self._held.__exit__(None, None, None)

    def ask(self) -> None:
        """Ask; no packet may be lost, and none be sent a second time."""
        assert self._held.ask().server == self._server
        for protocol in PROTOCOLS:
            with connect(
                self.host.netns, self.address, 80, protocol=protocol
            ) as connection:
                connection.ask()
                if protocol is Protocol.TCP:
                    assert connection.sent_again() == 0


@contextmanager
def askers(world: Cluster) -> Iterator[list[Asker]]:
    """The outside client, the host and a pod, for each family."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(Asker(host, vip("cluster IP", family)))
            for host in (world.client, world.nodes[0], world.pods["pod-0-0"])
            for family in IPFamily
        ]


VIP_OPS = BindAddress | UnbindAddress | AddRoute | UpdateRoute | DeleteRoute


@pytest.mark.parametrize(("before", "after"), [*permutations(WAYS, 2)])
def test_every_step_of_a_switch_serves(world: Cluster, before: str, after: str) -> None:
    """After any op about VIPs every client gets its answer, on old and new flows."""
    with serving(world, WAYS[before]) as node:
        node.audit()
    with serving(world, WAYS[after]) as node, askers(world) as clients:
        with inside(node.netns):
            plan = see(node.reconciler, node.reconciler.survey()).plan()
        assert any(isinstance(op, VIP_OPS) for op in plan)
        for op in plan:
            assert not node.apply((op,)).failed
            if isinstance(op, VIP_OPS):
                for client in clients:
                    client.ask()
        assert node.audit().plan == ()
        state = node.observe().state
    by_route = WAYS[after].vip_binding is VipBinding.ROUTE
    assert len(state.addresses) == (0 if by_route else 6)
    assert len(state.routes) == (0 if after == "as kube-proxy" else 6)
    assert not state.stand_ins


def test_auto_goes_from_one_way_to_the_other(
    world: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start with more or fewer VIPs than before: clients notice nothing of it.

    `web` has 6 VIPs, and `many` 302 more.
    """
    for limit, number in (
        ("ADDRESSES_BELOW", 100),
        ("MANY_FOR_ADDRESSES", 200),
        ("ROUTES_ABOVE", 300),
    ):
        monkeypatch.setattr(vip_binding, limit, number)
    config = msgspec.structs.replace(CONFIG, vip_binding=VipBinding.AUTO)
    few = msgspec.structs.replace(MANY, external_ips=MANY.external_ips[:100])
    with serving(world, config) as node:
        node.audit()
    with askers(world) as clients:
        for served, choice in (
            ((), VipChoice(VipBinding.ADDRESS, 6)),
            ((MANY,), VipChoice(VipBinding.ROUTE, 308)),
            ((few,), VipChoice(VipBinding.ROUTE, 108)),
            ((), VipChoice(VipBinding.ADDRESS, 6)),
            ((few,), VipChoice(VipBinding.ADDRESS, 108)),
        ):
            with serving(world, config, *served) as node:
                node.audit()
                assert node.reconciler.vip_choice == choice
                assert node.audit().plan == ()
                state = node.observe().state
            for client in clients:
                client.ask()
            by_route = choice.binding is VipBinding.ROUTE
            assert len(state.addresses) == (0 if by_route else choice.wanted)
            assert len(state.routes) == choice.wanted
            assert not state.stand_ins


class Stream:
    """Asks again and again, each asker in a thread of its own."""

    def __init__(self, clients: list[Asker]) -> None:
        self.asked: Counter[str] = Counter()
        self.failed: list[str] = []
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(client,)) for client in clients
        ]

    def __enter__(self) -> Self:
        """Start to ask."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: Asker) -> None:
        name = f"{client.host.name} {client.address}"
        while not self._stopping.is_set():
            try:
                client.ask()
            except (OSError, AssertionError) as error:
                self.failed.append(f"{name}: {error!r}")
                return
            self.asked[name] += 1

    def until_all(self, count: int) -> None:
        """Wait until everybody has asked that often again."""
        goal = {client: self.asked[client] + count for client in [*self.asked]}
        deadline = time.monotonic() + 180
        while any(self.asked[name] < goal[name] for name in goal) and not self.failed:
            assert time.monotonic() < deadline
            self._stopping.wait(0.01)


def test_a_stream_of_questions_notices_no_switch(world: Cluster) -> None:
    """Clients that never stop asking lose nothing while 300 VIPs change their way."""
    with serving(world, WAYS["addresses"], MANY) as node:
        node.audit()
    with askers(world) as clients, Stream(clients) as stream:
        while len(stream.asked) < len(clients) and not stream.failed:
            stream.until_all(1)
        for way in ("routes", "addresses"):
            before = stream.asked.copy()
            with serving(world, WAYS[way], MANY) as node:
                assert len(node.audit().plan) > 300
            during = stream.asked - before
            assert len(during) == len(clients), "everybody asked meanwhile"
            stream.until_all(3)
            assert stream.failed == []
            with serving(world, WAYS[way], MANY) as node:
                assert node.audit().plan == ()
            assert stream.failed == []


def run(netns: Netns, *command: str) -> list[str]:
    """Lines that an operator's tool prints on the node."""
    with inside(netns):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_what_operators_see(world: Cluster) -> None:
    """In route mode the link has no address, and the marked routes `render` prints."""
    netns = world.nodes[0].netns
    with serving(world, WAYS["routes"]) as node:
        node.audit()
        state = node.reconciler.desired.state()
    bound = run(netns, "ip", "-o", "addr", "show", "kube-ipvs0")
    assert [line for line in bound if "fe80" not in line] == []
    seen = [
        line.strip()
        for family in ("-4", "-6")
        for line in run(netns, "ip", family, "route", "show", "table", "local")
        if "proto 66" in line
    ]
    assert sorted(seen) == render_routes(state, "kube-ipvs0")


def test_routes_of_others_stay(world: Cluster) -> None:
    """Another maker's route on the link, and one on another link, are not ours."""
    netns = world.nodes[0].netns
    with serving(world, WAYS["routes"], MANY) as node:
        node.audit()
        for address, link, maker in (
            ("10.99.0.1", "kube-ipvs0", "static"),
            ("10.99.0.2", "eth0", "66"),
        ):
            route = f"local {address} dev {link} table local proto {maker}"
            run(netns, "ip", "route", "add", *route.split())
        assert node.audit().plan == ()
        node.take(has_not(MANY))
        node.sync()
        assert node.audit().plan == ()
        assert len(node.observe().state.routes) == 6
        local = run(netns, "ip", "route", "show", "table", "local")
        assert {"10.99.0.1", "10.99.0.2"} <= {line.split()[1] for line in local}
        plan = diff(node.observe(), NodeState(), DiffOptions(vip_link="kube-ipvs0"))
        assert not node.apply(plan).failed
    for family in ("-4", "-6"):
        local = run(netns, "ip", family, "route", "show", "table", "local")
        ours = [line.split()[1] for line in local if "proto 66" in line]
        assert ours == (["10.99.0.2"] if family == "-4" else [])


def test_a_new_ipv6_address_does_not_hide_its_route(netns: Netns) -> None:
    """The kernel adds its own route late; ours comes in its place all the same."""
    source = parse_address("fd00:10::10")
    netns.add_dummy("eth0")
    netns.add_address("eth0", ip_interface("fd00:10::10/64"))
    netns.link_up("eth0")
    linux = LinuxKernel(
        vip_link="kube-ipvs0", sysctl_names=(), firewall=IptablesFirewall({})
    )
    with closing(linux) as kernel:
        kernel.apply((EnsureVipLink("kube-ipvs0"),))
        for number in range(30):
            address = later(parse_address("fd00:96::10"), number)
            plan = (BindAddress(address), AddRoute(address, source))
            assert not kernel.apply(plan).failed
        assert set(kernel.observe().state.routes.values()) == {source}
