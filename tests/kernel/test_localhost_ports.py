"""Node ports on localhost, as a program of the node sees them."""

import asyncio
import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ipvsctl.cli.run import Daemon, serve
from ipvsctl.cluster.store import Store
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.config import (
    Compatibility,
    NodePortAddresses,
    ProxyConfig,
)
from ipvsctl.model.net import IPAddress, IPFamily, Protocol, parse_address
from ipvsctl.model.objects import Service, ServicePort, ServiceType, TrafficPolicy
from ipvsctl.model.problem import ObjectRef
from ipvsctl.plan.union.node import sysctl_names
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.controller.cluster import ListSource
from tests.kernel.firewalls import firewall_of_run
from tests.kernel.node import CONFIG, has, has_nodes, has_not, slices
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster, Host
from tests.lab.traffic import Connection, Servers, ask, connect

pytestmark = pytest.mark.kernel

PORT = 30080
LIMIT_S = 120.0
LOCALHOST: dict[IPFamily, IPAddress] = {
    IPFamily.IPV4: parse_address("127.0.0.1"),
    IPFamily.IPV6: parse_address("::1"),
}
ON_LOCALHOST = msgspec.structs.replace(
    CONFIG,
    node_port_addresses=NodePortAddresses(localhost=True),
    min_sync_period_s=0.0,
    firewall=firewall_of_run(),
)
WEB = Service(
    ref=ObjectRef("default", "web"),
    type=ServiceType.NODE_PORT,
    cluster_ips=(parse_address("10.96.0.10"), parse_address("fd00:10:96::10")),
    ports=(ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=PORT),),
)


class Node:
    """The daemon on node-0, with a program of that node that asks.

    Args:
        cluster: whose node it is.
        servers: where endpoints are to be.
    """

    def __init__(self, cluster: Cluster, servers: Servers) -> None:
        self.host = cluster.nodes[0]
        self.pods = cluster.pods
        for name in ("pod-0-0", "pod-1-0", "pod-1-1"):
            for family in IPFamily:
                pod = cluster.pods[name]
                servers.add(pod.netns, pod.address(family), 8080, name=name)
        self.source = ListSource(
            (
                *has_nodes(cluster.nodes),
                has(WEB),
                *self.slices("pod-0-0", "pod-1-0"),
            )
        )

    def slices(self, *names: str) -> list[Any]:
        """The endpoints of WEB."""
        return slices(WEB, [self.pods[name] for name in names], {"http": 8080})

    def tell(self, service: Service, *names: str) -> None:
        """WEB is so, and has these pods."""
        self.source.tell(has(service), *self.slices(*names))

    def connect(self, family: IPFamily, port: int = PORT) -> Connection:
        """Open a connection to localhost.

        Raises:
            OSError: nobody is there.
        """
        return connect(self.host.netns, LOCALHOST[family], port)

    def ask(self, family: IPFamily, port: int = PORT) -> str:
        """Who answers on localhost; "" if nobody does."""
        try:
            return ask(self.host.netns, LOCALHOST[family], port).server
        except ConnectionError:
            return ""

    async def until(
        self, expected: set[str], family: IPFamily, port: int = PORT
    ) -> None:
        """Return when these answer in turn, and nobody else does.

        Raises:
            TimeoutError: it does not come to that.
        """
        async with asyncio.timeout(LIMIT_S):
            while True:
                found = {
                    await asyncio.to_thread(self.ask, family, port) for _ in range(4)
                }
                if found == expected:
                    return
                await asyncio.sleep(0.05)

    def run(
        self,
        socket_path: Path,
        steps: Callable[[], Coroutine[Any, Any, None]],
        config: ProxyConfig = ON_LOCALHOST,
    ) -> None:
        """Run the daemon, and steps beside it."""

        async def both(kernel: LinuxKernel) -> None:
            daemon = Daemon(
                kernel=kernel,
                store=Store(self.host.name),
                config=config,
                source=self.source,
            )
            running = asyncio.ensure_future(steps())
            await serve(daemon, socket_path, lambda: asyncio.wait({running}))
            await running

        with inside(self.host.netns), closing(opened(config)) as kernel:
            asyncio.run(both(kernel))


def opened(config: ProxyConfig) -> LinuxKernel:
    """The kernel of the caller's namespace."""
    return LinuxKernel.open(
        vip_link=config.vip_link, sysctl_names=sysctl_names(), firewall=config.firewall
    )


@pytest.fixture
def node(cluster: Cluster, servers: Servers) -> Node:
    """A node whose Service has an endpoint on it and one on the other node."""
    return Node(cluster, servers)


@pytest.mark.parametrize("family", IPFamily)
def test_everybody_is_reached(node: Node, tmp_path: Path, family: IPFamily) -> None:
    """Endpoints here and on another node; they see this node's address."""

    async def steps() -> None:
        await node.until({"pod-0-0", "pod-1-0"}, family)
        for _ in range(4):
            answer = await asyncio.to_thread(
                ask, node.host.netns, LOCALHOST[family], PORT
            )
            if answer.server == "pod-1-0":
                assert answer.source == node.host.address(family)
            assert not answer.source.is_loopback

    node.run(tmp_path / "ipvsctl.sock", steps)


@pytest.mark.parametrize("family", IPFamily)
def test_whom_a_policy_gives(node: Node, tmp_path: Path, family: IPFamily) -> None:
    """Local is this node's, or else the cluster's; affinity is one of them."""
    local = msgspec.structs.replace(WEB, external_traffic_policy=TrafficPolicy.LOCAL)
    sticky = msgspec.structs.replace(WEB, affinity_timeout_s=600)

    async def steps() -> None:
        node.tell(local, "pod-0-0", "pod-1-0")
        await node.until({"pod-0-0"}, family)
        node.tell(local, "pod-1-0", "pod-1-1")
        await node.until({"pod-1-0", "pod-1-1"}, family)
        node.tell(sticky, "pod-0-0", "pod-1-0", "pod-1-1")
        async with asyncio.timeout(LIMIT_S):
            while True:
                found = {await asyncio.to_thread(node.ask, family) for _ in range(9)}
                if len(found) == 1 and "" not in found:
                    return

    node.run(tmp_path / "ipvsctl.sock", steps)


def test_what_becomes_of_connections(node: Node, tmp_path: Path) -> None:
    """They outlive their endpoint's place in the Service, and not the Service."""
    family = IPFamily.IPV4
    moved = msgspec.structs.replace(
        WEB, ports=(msgspec.structs.replace(WEB.ports[0], node_port=PORT + 1),)
    )

    async def steps() -> None:
        node.tell(WEB, "pod-1-0")
        await node.until({"pod-1-0"}, family)
        with node.connect(family) as old:
            assert (await asyncio.to_thread(old.ask)).server == "pod-1-0"
            node.tell(WEB, "pod-0-0")
            await node.until({"pod-0-0"}, family)
            assert (await asyncio.to_thread(old.ask)).server == "pod-1-0"
            node.tell(WEB)
            await node.until({""}, family)
            assert (await asyncio.to_thread(old.ask)).server == "pod-1-0"
            node.tell(moved, "pod-0-0")
            await node.until({"pod-0-0"}, family, PORT + 1)
            await node.until({""}, family)
            with pytest.raises(ConnectionError):
                await asyncio.to_thread(old.ask)
        node.source.tell(has_not(WEB))
        await node.until({""}, family, PORT + 1)

    node.run(tmp_path / "ipvsctl.sock", steps)


def test_a_port_that_is_in_use(node: Node, tmp_path: Path) -> None:
    """It is the host's while it has it; the Service's other ways in work."""
    with inside(node.host.netns):
        taken = socket.create_server(("127.0.0.1", PORT))

    async def steps() -> None:
        await node.until({"pod-0-0", "pod-1-0"}, IPFamily.IPV6)
        answer = await asyncio.to_thread(ask, node.host.netns, WEB.cluster_ips[0], 80)
        assert answer.server
        taken.close()
        await node.until({"pod-0-0", "pod-1-0"}, IPFamily.IPV4)

    config = msgspec.structs.replace(ON_LOCALHOST, sync_period_s=1.0)
    node.run(tmp_path / "ipvsctl.sock", steps, config)


def test_the_end_of_the_daemon(node: Node, tmp_path: Path) -> None:
    """Connections are reset, and nobody listens."""
    family = IPFamily.IPV4
    held: list[Connection] = []

    async def steps() -> None:
        await node.until({"pod-0-0", "pod-1-0"}, family)
        held.append(node.connect(family))
        await asyncio.to_thread(held[0].ask)

    node.run(tmp_path / "ipvsctl.sock", steps)
    with held[0], pytest.raises(ConnectionResetError):
        held[0].ask()
    assert node.ask(family) == ""


@pytest.mark.parametrize(
    "config",
    [
        msgspec.structs.replace(
            ON_LOCALHOST, node_port_addresses=NodePortAddresses(primary=True)
        ),
        msgspec.structs.replace(ON_LOCALHOST, compatibility=Compatibility.KUBE_PROXY),
    ],
    ids=("not asked for", "compatibility"),
)
def test_nothing_of_it_unless_asked_for(
    node: Node, tmp_path: Path, config: ProxyConfig
) -> None:
    """No listener, no thread; node ports are where they were."""
    if config.is_kube_proxy and config.firewall is not config.wanted_firewall:
        pytest.skip("this kernel has nftables alone")

    async def steps() -> None:
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    where = node.host.ipv4
                    await asyncio.to_thread(ask, node.host.netns, where, PORT)
                except ConnectionError:
                    continue
                break
        for family in IPFamily:
            assert await asyncio.to_thread(node.ask, family) == ""
        assert "relay" not in {thread.name for thread in threading.enumerate()}

    node.run(tmp_path / "ipvsctl.sock", steps, config)


CONFIG_FILE = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
nodePortAddresses: [127.0.0.0/8]
"""


class Process:
    """`ipvsctl run` in a namespace whose node port leads to a server beside it."""

    def __init__(self, netns: Netns, scratch: Path) -> None:
        self.netns = netns
        self._cluster = (
            *("--config", str(scratch / "config.yaml")),
            *("--manifests", str(scratch / "cluster.json")),
            *("--node-name", "node-0"),
        )
        self._socket = ("--socket", str(scratch / "ipvsctl.sock"))
        self._scratch = scratch
        (scratch / "config.yaml").write_text(CONFIG_FILE)
        self.write("172.16.0.5")

    def write(self, *pods: str) -> None:
        """Have these endpoints."""
        web = raw_service(type="NodePort")
        web["spec"]["ports"][0]["nodePort"] = PORT
        items = [web, raw_slice("web-a", *map(raw_endpoint, pods)), raw_node()]
        document = {"apiVersion": "v1", "kind": "List", "items": items}
        new = self._scratch / "new"
        new.write_bytes(msgspec.json.encode(document))
        new.rename(self._scratch / "cluster.json")

    def virtual_server_has(self, pod: str) -> bool:
        """Whether the kernel has an endpoint for the cluster IP."""
        with inside(self.netns):
            shown = subprocess.run(
                ["ipvsadm", "-Ln", "-t", "10.96.0.10:80"],
                capture_output=True,
                text=True,
                check=False,
            )
        return pod in shown.stdout

    @contextmanager
    def running(self) -> "Iterator[subprocess.Popen[bytes]]":
        """Run it during the block."""
        with inside(self.netns):
            started = subprocess.Popen(
                [sys.executable, "-m", "ipvsctl", "run", *self._cluster, *self._socket],
                stderr=subprocess.DEVNULL,
            )
        try:
            yield started
        finally:
            started.kill()
            started.wait()

    def said(self, *words: str) -> str:
        """What a command prints that asks the daemon."""
        return self._said(*words, *self._socket)

    def rendered(self) -> str:
        """What the kernel is to hold."""
        return self._said("render", "-o", "ipvsadm", *self._cluster)

    def _said(self, *words: str) -> str:
        with inside(self.netns):
            done = subprocess.run(
                [sys.executable, "-m", "ipvsctl", *words],
                capture_output=True,
                text=True,
                check=False,
            )
        return done.stdout

    def ask(self) -> str:
        """Who answers on localhost; "" if nobody does."""
        try:
            return ask(self.netns, LOCALHOST[IPFamily.IPV4], PORT).server
        except ConnectionError:
            return ""


def _until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < end_s, "it did not come to hold"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_one_process_after_another(
    cluster: Cluster, servers: Servers, tmp_path: Path, number: signal.Signals
) -> None:
    """However one ends, its connections are reset, and the next one serves."""
    host: Host = cluster.nodes[0]
    address = parse_address("172.16.0.5")
    with inside(host.netns):
        subprocess.run(
            ["ip", "address", "add", "172.16.0.5/32", "dev", "cbr0"], check=True
        )
    servers.add(host.netns, address, 8080, name="pod")
    process = Process(host.netns, tmp_path)
    with process.running() as first:
        _until(lambda: process.ask() == "pod")
        with connect(host.netns, LOCALHOST[IPFamily.IPV4], PORT) as held:
            assert held.ask().server == "pod"
            shown = process.said("status")
            assert "node port on localhost" in shown
            assert "tcp 127.0.0.1:30080" in shown
            explained = process.said("explain", "127.0.0.1:30080")
            assert "the daemon listens, and relays to 1 endpoint; 1 conn" in explained
            rendered = process.rendered()
            assert "10.96.0.10:80" in rendered
            assert "127.0.0.1" not in rendered
            first.send_signal(number)
            first.wait()
            with pytest.raises(ConnectionResetError):
                held.ask()
    assert process.ask() == ""
    with process.running():
        _until(lambda: process.ask() == "pod")


def test_a_busy_relay_keeps_nobody_waiting(cluster: Cluster, tmp_path: Path) -> None:
    """Probes are answered and changes imposed while it relays all that it can."""
    host: Host = cluster.nodes[0]
    with inside(host.netns):
        subprocess.run(
            ["ip", "address", "add", "172.16.0.5/32", "dev", "cbr0"], check=True
        )
        sink = socket.create_server(("172.16.0.5", 8080))
    process = Process(host.netns, tmp_path)
    is_over = threading.Event()

    def take() -> None:
        taken, _ = sink.accept()
        buffer = bytearray(1 << 20)
        with taken, suppress(ConnectionError):
            while taken.recv_into(buffer):
                pass

    def send(client: socket.socket) -> None:
        with suppress(ConnectionError):
            while not is_over.is_set():
                client.sendall(bytes(1 << 18))

    def is_listening() -> bool:
        with inside(host.netns):
            return "0100007F:7580" in Path("/proc/thread-self/net/tcp").read_text()

    with sink, process.running():
        _until(is_listening)
        with inside(host.netns):
            client = socket.create_connection(("127.0.0.1", PORT))
        threads = [
            threading.Thread(target=take),
            threading.Thread(target=send, args=(client,)),
        ]
        for thread in threads:
            thread.start()
        try:
            answers = []
            for number in range(20):
                answers.append(_livez(host.netns))
                if number == 10:
                    process.write("172.16.0.5", "172.16.0.6")
            assert set(answers) == {200}
            _until(lambda: process.virtual_server_has("172.16.0.6"))
        finally:
            is_over.set()
            client.close()
            for thread in threads:
                thread.join()


def _livez(netns: Netns) -> int:
    with inside(netns):
        connection = http.client.HTTPConnection("127.0.0.1", 10256, timeout=30)
        connection.connect()
    with closing(connection):
        connection.request("GET", "/livez")
        return connection.getresponse().status
