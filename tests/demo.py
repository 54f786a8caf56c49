"""The demonstration: real packets through a real kernel, from every side.

Runs inside the lab (`nox -s demo`). Builds a node with pods, a second node and an
outside client, runs the daemon on the manifests of `examples/`, and shows what becomes
of the packets. All it prints has been checked; the exit status says whether it held.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ipvsctl.model.net import IPAddress, Protocol, parse_address
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster, cluster
from tests.lab.traffic import Answer, Connection, Servers, ask, connect

EXAMPLES = Path(__file__).parent.parent / "examples"
PODS_OF_WEB = frozenset({"pod-0-0", "pod-0-1", "pod-1-0"})


class DemoError(Exception):
    """Something the demonstration promises is not so."""


def main() -> int:
    """Run the demonstration; 0 if all of it held."""
    begun = time.monotonic()
    try:
        with (
            tempfile.TemporaryDirectory() as scratch,
            cluster(pods=(2, 1)) as world,
            Servers() as servers,
        ):
            manifests = Path(scratch, "manifests")
            shutil.copytree(EXAMPLES, manifests)
            _serve(world, servers)
            node = Node(world.nodes[0].netns, manifests, Path(scratch, "ipvsctl.sock"))
            _title("ipvsctl run on node-0")
            with node.daemon():
                _show_traffic(world)
                _title("ipvsctl status")
                print(node.run("status"))
                _show_drain(world, node)
                _title("ipvsctl diff")
                print(node.run("diff"))
            _show_cleanup(node)
    except DemoError as error:
        print(f"\nnot so: {error}", file=sys.stderr)
        return 1
    print(f"\nAll of it held, in {time.monotonic() - begun:.0f} s.")
    return 0


class Node:
    """Runs the `ipvsctl` command in a node's namespace."""

    def __init__(self, netns: Netns, manifests: Path, sock: Path) -> None:
        self.netns = netns
        self.manifests = manifests
        self._socket = sock

    def run(self, *words: str, status: int = 0) -> str:
        """Run a command; its output.

        Raises:
            DemoError: it ended with another exit status.
        """
        with inside(self.netns):
            done = subprocess.run(
                [*_IPVSCTL, *words, "--socket", str(self._socket)],
                capture_output=True,
                text=True,
                check=False,
                env=_environment(),
            )
        if done.returncode != status:
            raise DemoError(
                f"ipvsctl {' '.join(words)} exited {done.returncode}: "
                f"{done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout.rstrip()

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """The daemon runs during the block, and leaves on SIGTERM."""
        with inside(self.netns):
            process = subprocess.Popen(
                [
                    *_IPVSCTL,
                    *("run", "--manifests", str(self.manifests)),
                    *("--node-name", "node-0", "--socket", str(self._socket)),
                    *("--cluster-cidr", "172.16.0.0/12,fd00:172::/32"),
                ],
                env=_environment(),
            )
        try:
            vip = parse_address("10.96.0.10")
            _wait_for("the first sync", lambda: _answers(self.netns, vip, 80))
            yield
            process.terminate()
            begun = time.monotonic()
            if process.wait(timeout=10):
                raise DemoError(f"the daemon exited {process.returncode}")
            print(f"daemon ended {time.monotonic() - begun:.1f} s after SIGTERM")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


_IPVSCTL = (sys.executable, "-m", "ipvsctl")


def _environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "110"}


def _serve(world: Cluster, servers: Servers) -> None:
    for pod in world.pods.values():
        for address in (pod.ipv4, pod.ipv6):
            servers.add(pod.netns, address, 8080)
        for protocol in (Protocol.UDP, Protocol.TCP):
            servers.add(pod.netns, pod.ipv4, 5353, protocol=protocol)
    outside = parse_address("192.168.3.175")
    servers.add(world.external.netns, outside, 8091)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A way in, and what must come of it.

    Attributes:
        servers: who answers.
        inside: who answers pods and the host, if others than outside clients.
        keeps_source: an outside client is seen as itself.
    """

    way: str
    vip: str
    port: int = 80
    protocol: Protocol = Protocol.TCP
    servers: frozenset[str] = PODS_OF_WEB
    inside: frozenset[str] | None = None
    keeps_source: bool = False


ROWS = (
    Row(way="cluster IP", vip="10.96.0.10"),
    Row(way="cluster IP, IPv6", vip="fd00:10:96::10"),
    Row(way="external IP", vip="203.0.113.50"),
    Row(way="node port", vip="10.0.0.10", port=30080),
    Row(way="node port, IPv6", vip="fd00:10::10", port=30080),
    Row(
        way="load-balancer VIP, Local",
        vip="198.51.100.7",
        port=443,
        servers=frozenset({"pod-0-1"}),
        inside=frozenset({"pod-0-1", "pod-1-0"}),
        keeps_source=True,
    ),
    Row(
        way="node port, Local",
        vip="10.0.0.10",
        port=30443,
        servers=frozenset({"pod-0-1"}),
        keeps_source=True,
    ),
    Row(
        way="DNS over UDP",
        vip="10.96.0.53",
        port=53,
        protocol=Protocol.UDP,
        servers=frozenset({"pod-0-0", "pod-1-0"}),
    ),
    Row(way="no selector", vip="10.96.0.130", servers=frozenset({"external"})),
)


def _show_traffic(world: Cluster) -> None:
    _title("requests from a pod, the host and outside")
    node, pod, client = world.nodes[0], world.pods["pod-0-0"], world.client
    nodes = {str(node.ipv4), str(node.ipv6), "172.16.0.1", "fd00:172:16::1"}
    clients = {"client": client, "host": node, "pod": pod}
    for row in ROWS:
        for name, host in clients.items():
            answers = _ask_often(host.netns, row.vip, row.port, row.protocol)
            sources = {str(answer.source) for answer in answers}
            is_outside = name == "client"
            expected = row.servers if is_outside else row.inside or row.servers
            _expect_servers(f"{row.way} from {name}", answers, expected)
            wanted = {str(host.ipv4)} if row.keeps_source else nodes
            if is_outside and not sources <= wanted:
                raise DemoError(f"{row.way} from {name}: seen as {sources}")
            _row(row.way, f"{row.vip}:{row.port}", name, answers)
    sticky = _ask_often(client.netns, "10.96.0.30", 80, Protocol.TCP)
    if len({answer.server for answer in sticky}) != 1:
        raise DemoError("session affinity: a client met several pods")
    _row("session affinity", "10.96.0.30:80", "client", sticky)
    try:
        ask(client.netns, parse_address("10.96.0.10"), 81)
    except ConnectionRefusedError:
        print(f"{'a port nobody serves':26} {'10.96.0.10:81':22} client refused")
    else:
        raise DemoError("a port of a VIP that no Service has answers")


def _show_drain(world: Cluster, node: Node) -> None:
    _title("a pod leaves while a client is connected to it")
    client, vip = world.client.netns, parse_address("10.96.0.10")
    with _connected_to(client, vip, "pod-0-1") as held:
        print("connected to pod-0-1; its endpoint is taken out of the slice")
        manifest = node.manifests / "web.yaml"
        text = manifest.read_text()
        gone = "  - addresses: [172.16.0.11]\n    nodeName: node-0\n    zone: zone-a\n"
        if gone not in text:
            raise DemoError("the example has no such endpoint")
        manifest.write_text(text.replace(gone, ""))
        _wait_for("the drain", lambda: "draining" in node.run("status", "web"))
        print(node.run("status", "web"))
        for _ in range(5):
            if held.ask().server != "pod-0-1":
                raise DemoError("the connection moved")
        fresh = _ask_often(client, str(vip), 80, Protocol.TCP)
        _expect_servers("new connections", fresh, PODS_OF_WEB - {"pod-0-1"})
        print("the old connection still answers; new ones go elsewhere:")
        _row("cluster IP", "10.96.0.10:80", "client", fresh)


def _connected_to(client: Netns, vip: IPAddress, server: str) -> Connection:
    """A connection that has met this server."""
    for _ in range(12):
        connection = connect(client, vip, 80)
        if connection.ask().server == server:
            return connection
        with connection:
            pass
    raise DemoError(f"{server} did not answer once in 12 connections")


def _show_cleanup(node: Node) -> None:
    _title("ipvsctl cleanup")
    print(node.run("cleanup").splitlines()[-1])
    with inside(node.netns):
        for command, what in (
            (["ipvsadm-save", "-n"], "virtual servers"),
            (["ipset", "list", "-n"], "sets"),
        ):
            left = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, check=True
            ).stdout.strip()
            if left:
                raise DemoError(f"{what} are left: {left}")
        for tool in ("iptables-save", "ip6tables-save"):
            left = subprocess.run(
                [tool], stdout=subprocess.PIPE, text=True, check=True
            ).stdout
            if "KUBE-" in left:
                raise DemoError(f"rules are left: {left}")
        links = subprocess.run(
            ["ip", "-o", "link"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        if "kube-ipvs0" in links:
            raise DemoError("the VIP link is left")
    print("ipvsadm, ipset, iptables and ip agree: nothing is left")


def _ask_often(
    netns: Netns, vip: str, port: int, protocol: Protocol, times: int = 12
) -> list[Answer]:
    address = parse_address(vip)
    try:
        return [ask(netns, address, port, protocol=protocol) for _ in range(times)]
    except OSError as error:
        raise DemoError(f"{vip}:{port} from {netns.name}: {error}") from error


def _expect_servers(
    what: str, answers: list[Answer], expected: AbstractSet[str]
) -> None:
    servers = {answer.server for answer in answers}
    if servers != expected:
        raise DemoError(f"{what}: {servers} answered instead of {expected}")


def _answers(netns: Netns, vip: IPAddress, port: int) -> bool:
    try:
        ask(netns, vip, port, timeout_s=0.5)
    except OSError:
        return False
    return True


def _wait_for(what: str, holds: Callable[[], bool], limit_s: float = 30) -> None:
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > limit_s:
            raise DemoError(f"{what} did not come within {limit_s:.0f} s")
        time.sleep(0.1)


def _row(way: str, target: str, client: str, answers: list[Answer]) -> None:
    spread = Counter(answer.server for answer in answers)
    shown = ", ".join(f"{name} {count}" for name, count in sorted(spread.items()))
    sources = ", ".join(sorted({str(answer.source) for answer in answers}))
    print(f"{way:26} {target:22} {client:6} {shown}  (seen as {sources})")


def _title(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n# {text}")


if __name__ == "__main__":
    raise SystemExit(main())
