"""The daemon in a container of the chart: two capabilities, a read-only /proc/sys.

And the chart's own seccomp profile, with which it does all that it does without.
"""

import errno
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ipvsctl.model.config import FirewallKind
from ipvsctl.model.net import Protocol, parse_address
from tests import builders, seccomp
from tests.kernel.firewalls import firewall_of_run
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster
from tests.lab.traffic import Servers, ask, connect

pytestmark = pytest.mark.kernel

VIP = parse_address("10.96.0.10")
NEEDED = (
    ("net_admin",)
    if firewall_of_run() is FirewallKind.NFTABLES
    else ("net_admin", "net_raw")
)
SYSCTLS = ("net/ipv4/vs/conntrack", "net/ipv4/vs/expire_nodest_conn")

_MOUNTS = """
set -e
mkdir -p "$1/net"
mount --bind /proc/sys/net "$1/net"
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
shift
exec "$@"
"""
"""What a runtime does to a container that is not privileged, and the chart's mount."""


def under(profile: Path | None) -> list[str]:
    """The start of a command that is to run under a seccomp profile, if any."""
    return [sys.executable, "-m", "tests.seccomp", str(profile)] if profile else []


def confined(
    scratch: Path, *capabilities: str, profile: Path | None = None
) -> list[str]:
    """The start of a command that is to run as in a container with these."""
    mounts = ["unshare", "--mount", "sh", "-c", _MOUNTS, "sh", str(scratch / "sys")]
    bounds = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    rights = [
        "setpriv",
        "--no-new-privs",
        "--inh-caps=-all",
        f"--bounding-set={bounds}",
    ]
    return [*mounts, *rights, *under(profile), sys.executable, "-m", "ipvsctl"]


REFUSED = (
    "unshare",
    "setns",
    "mount",
    "pivot_root",
    "ptrace",
    "process_vm_readv",
    "bpf",
    "init_module",
    "finit_module",
    "keyctl",
    "userfaultfd",
    "perf_event_open",
    "io_uring_setup",
)

CLONE_NEWUSER = 0x10000000

_CALLS = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
found = []
for call in json.loads(sys.argv[1]):
    ctypes.set_errno(0)
    libc.syscall(*map(ctypes.c_long, (*call, *[0] * (7 - len(call)))))
    found.append(ctypes.get_errno())
print(json.dumps(found))
"""
"""Makes calls, a number and arguments each; what is not said is 0."""


class Proxy:
    """`ipvsctl run` on manifests of its own."""

    def __init__(
        self, node: Netns, scratch: Path, *, profile: Path | None = None
    ) -> None:
        self._node = node
        self._scratch = scratch
        self._profile = profile
        self._manifests = scratch / "cluster.json"
        self._log = scratch / "log"

    def serve(self, *pods: str, node_port: int = 0) -> None:
        """Make these pods, by address, the Service's endpoints."""
        ports: list[dict[str, Any]] = [
            {"name": protocol.lower(), "protocol": protocol, "port": 80}
            for protocol in ("TCP", "UDP")
        ]
        spec: dict[str, Any] = {}
        if node_port:
            ports[0]["nodePort"] = node_port
            spec["type"] = "NodePort"
        items = [
            builders.raw_node("node-0", "10.0.0.10"),
            builders.raw_service(clusterIP=str(VIP), ports=ports, **spec),
            builders.raw_slice(
                "web-1",
                *map(builders.raw_endpoint, pods),
                ports=[{**port, "port": 8080} for port in ports],
            ),
        ]
        new = self._scratch / "new"
        new.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        new.rename(self._manifests)

    def command(self, *capabilities: str) -> list[str]:
        """`ipvsctl run`, to be started in the node's namespace."""
        return [
            *confined(self._scratch, *capabilities, profile=self._profile),
            *("run", "--manifests", str(self._manifests), "--node-name", "node-0"),
            *("--socket", str(self._scratch / "socket"), "--log-format", "json"),
            *("--min-sync-period", "0s"),
        ]

    @contextmanager
    def running(self, *more: str) -> Iterator[None]:
        """Run it with the capabilities that are needed; it must end well."""
        with inside(self._node), self._log.open("wb") as log:
            process = subprocess.Popen([*self.command(*NEEDED), *more], stderr=log)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0, self._log.read_text()

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of `ipvsctl` that has `--socket`, as in the same container."""
        start = confined(self._scratch, *NEEDED, profile=self._profile)
        with inside(self._node):
            return subprocess.run(
                [*start, *words, "--socket", str(self._scratch / "socket")],
                capture_output=True,
                text=True,
                check=False,
            )

    def wait_for_line(self, **fields: str) -> list[dict[str, Any]]:
        """Wait for the log to have a line with these fields; all of its lines."""
        end = time.monotonic() + 180
        while True:
            text = self._log.read_text()
            whole = text[: text.rfind("\n") + 1]
            lines = [json.loads(line) for line in whole.splitlines()]
            if any(fields.items() <= line.items() for line in lines):
                return lines
            assert time.monotonic() < end, text
            time.sleep(0.02)


@pytest.fixture
def proxy(cluster: Cluster, tmp_path: Path) -> Proxy:
    """A proxy for node-0, whose kubelet has left its hint."""
    node = cluster.nodes[0].netns
    hint = "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n"
    with inside(node):
        for command in ("iptables-restore", "ip6tables-restore"):
            subprocess.run([command, "--noflush"], input=hint, text=True, check=True)
    return Proxy(node, tmp_path)


@pytest.fixture
def filtered(cluster: Cluster, proxy: Proxy, tmp_path: Path) -> Proxy:
    """The proxy under the chart's seccomp profile."""
    del proxy
    return Proxy(cluster.nodes[0].netns, tmp_path, profile=seccomp.PROFILE)


@pytest.fixture
def pods(cluster: Cluster, servers: Servers) -> tuple[str, str]:
    """Addresses of node-0's pods, which answer on TCP and UDP."""
    hosts = cluster.pods["pod-0-0"], cluster.pods["pod-0-1"]
    for host in hosts:
        for protocol in (Protocol.TCP, Protocol.UDP):
            servers.add(host.netns, host.ipv4, 8080, protocol=protocol)
    return str(hosts[0].ipv4), str(hosts[1].ipv4)


def test_two_capabilities_do_everything(
    cluster: Cluster, proxy: Proxy, pods: tuple[str, str], tmp_path: Path
) -> None:
    """Link, addresses, routes, sets, rules, IPVS, sysctls and conntrack.

    No op fails, packets pass, and a UDP flow leaves an endpoint that is gone. Modules
    are loaded by the kernel itself.
    """
    node = cluster.nodes[0].netns
    proxy.serve(pods[0])
    for name in SYSCTLS:
        node.sysctl(name, "0")
    with proxy.running("-v", "--proc-sys", str(tmp_path / "sys")):
        proxy.wait_for_line(event="audit")
        assert ask(cluster.client.netns, VIP, 80).server == "pod-0-0"
        with connect(cluster.client.netns, VIP, 80, protocol=Protocol.UDP) as flow:
            assert flow.ask().server == "pod-0-0"
            proxy.serve(pods[1])
            lines = proxy.wait_for_line(op="delete stale flows udp 10.96.0.10:80")
            assert flow.ask().server == "pod-0-1"
    assert {line["failed"] for line in lines if "failed" in line} == {0}
    with inside(node):
        values = [Path("/proc/sys", name).read_text().strip() for name in SYSCTLS]
    assert values == ["1", "1"]


def test_they_do_for_an_end_of_tunnels(
    cluster: Cluster, proxy: Proxy, pods: tuple[str, str], tmp_path: Path
) -> None:
    """Its link and its port; `cleanup` takes both away.

    `fou` alone the kernel does not load by itself.
    """
    node = cluster.nodes[0].netns
    subprocess.run(["modprobe", "-q", "fou"], check=False)
    proxy.serve(pods[0])
    flags = ("--proc-sys", str(tmp_path / "sys"), "--tunnel-port", "6080")
    with proxy.running("-v", *flags):
        lines = proxy.wait_for_line(event="audit")
    assert {line["failed"] for line in lines if "failed" in line} == {0}
    with inside(node):
        subprocess.run(["ip", "link", "show", "ipvsctl-tunl4"], check=True)
    assert proxy.run("cleanup").returncode == 0
    with inside(node):
        gone = subprocess.run(["ip", "link", "show", "ipvsctl-tunl4"], check=False)
    assert gone.returncode != 0


def test_a_read_only_proc_sys_is_named(
    cluster: Cluster, proxy: Proxy, pods: tuple[str, str]
) -> None:
    """Each sysctl that could not be set is a problem; packets pass all the same."""
    proxy.serve(pods[0])
    with proxy.running():
        proxy.wait_for_line(event="problem")
        assert ask(cluster.client.netns, VIP, 80).server == "pod-0-0"
        lines = proxy.wait_for_line(field=f"sysctl {SYSCTLS[0]}")
    named = [line for line in lines if line["event"] == "problem"]
    assert {line["reason"] for line in named} == {
        "cannot be set: EROFS (read-only here; see --proc-sys)"
    }
    assert not [line for line in lines if line["event"] == "op failed"]


@pytest.mark.parametrize("missing", NEEDED)
def test_a_missing_capability_is_named(
    cluster: Cluster, proxy: Proxy, pods: tuple[str, str], missing: str
) -> None:
    """`run` ends at once, and says which."""
    proxy.serve(pods[0])
    rest = [name for name in NEEDED if name != missing]
    with inside(cluster.nodes[0].netns):
        done = subprocess.run(
            proxy.command(*rest), capture_output=True, text=True, check=False
        )
    what = f"CAP_{missing.upper()} missing; run it as root"
    said = f"ipvsctl: error: open the kernel: {what}\n"
    assert (done.returncode, done.stderr) == (2, said)


def got(port: int, path: str) -> str:
    """What is served at a port of the node itself, which must be well."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == HTTPStatus.OK
        return response.read().decode()


def test_its_own_seccomp_profile_lets_it_do_everything(
    cluster: Cluster, filtered: Proxy, pods: tuple[str, str], tmp_path: Path
) -> None:
    """Start, changes, repairs, probes and metrics, `status`, SIGTERM and `cleanup`."""
    node = cluster.nodes[0].netns
    filtered.serve(pods[0])
    with filtered.running("--proc-sys", str(tmp_path / "sys")):
        filtered.wait_for_line(event="audit")
        assert ask(cluster.client.netns, VIP, 80).server == "pod-0-0"
        filtered.serve(pods[1])
        filtered.wait_for_line(event="sync")
        with inside(node):
            subprocess.run(["ipvsadm", "-C"], check=True)
            subprocess.run(["ip", "link", "delete", "kube-ipvs0"], check=True)
        lines = filtered.wait_for_line(event="repaired what others changed")
        with inside(node):
            for probe in ("healthz", "livez", "readyz"):
                assert got(10256, f"/{probe}")
            metrics = got(10249, "/metrics")
        assert ask(cluster.client.netns, VIP, 80).server == "pod-0-1"
        status = filtered.run("status")
    assert {line["failed"] for line in lines if "failed" in line} == {0}
    # What the daemon does when it is refused inotify, or netlink's notices, works too.
    instead = {"manifests cannot be watched", "drift is found by audits alone"}
    assert not instead & {line["event"] for line in lines}
    assert "ipvsctl_part_read_timestamp_seconds" in metrics
    assert (status.returncode, status.stderr) == (0, "")
    assert "kernel equal\n" in status.stdout
    cleanup = filtered.run("cleanup")
    assert (cleanup.returncode, cleanup.stderr) == (0, "")
    with inside(node):
        table = Path("/proc/thread-self/net/ip_vs").read_text()
    assert "0A60000A" not in table


def test_node_ports_on_localhost_need_no_more(
    cluster: Cluster, filtered: Proxy, pods: tuple[str, str], tmp_path: Path
) -> None:
    """The same capabilities and calls do for listening, relaying and closing."""
    node = cluster.nodes[0].netns
    config = tmp_path / "config.yaml"
    config.write_text(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n"
        "kind: KubeProxyConfiguration\n"
        "nodePortAddresses: [localhost]\n"
    )
    filtered.serve(pods[0], node_port=30080)
    localhost = parse_address("127.0.0.1")
    options = ("--config", str(config), "--proc-sys", str(tmp_path / "sys"))
    with filtered.running(*options):
        filtered.wait_for_line(event="relay of node ports on localhost")
        filtered.wait_for_line(event="audit")
        assert ask(node, localhost, 30080).server == "pod-0-0"
        filtered.serve(pods[1], node_port=30080)
        lines = filtered.wait_for_line(event="sync")
        assert ask(node, localhost, 30080).server == "pod-0-1"
        filtered.serve(node_port=30080)
        end_s = time.monotonic() + 60
        while True:
            try:
                ask(node, localhost, 30080)
            except ConnectionError:
                break
            assert time.monotonic() < end_s
    assert not [line for line in lines if line["event"] == "problem"]


def errors_of(profile: Path | None, *calls: tuple[str, int]) -> list[int]:
    """The errno of each call, made by root with all capabilities.

    Args:
        profile: under which they are made.
        calls: name and first argument; all others are 0.
    """
    numbers = [(seccomp.number_of(name), argument) for name, argument in calls]
    command = [*under(profile), sys.executable, "-c", _CALLS, json.dumps(numbers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[int] = json.loads(done.stdout)
    return found


def test_its_seccomp_profile_refuses_what_it_never_does() -> None:
    """Even to root with all capabilities, whom the kernel alone does not refuse.

    No way of libc to a new namespace is left either, and of the kinds of socket
    only four.
    """
    calls = [(name, 0) for name in REFUSED]
    assert errno.EPERM not in errors_of(None, *calls)
    families = (socket.AF_PACKET, socket.AF_ALG, socket.AF_VSOCK)
    more = [("clone", CLONE_NEWUSER), *(("socket", one) for one in families)]
    *refused, threads = errors_of(seccomp.PROFILE, *calls, *more, ("clone3", 0))
    assert set(refused) == {errno.EPERM}
    assert threads == errno.ENOSYS


def test_a_profile_that_lacks_a_call_is_noticed(
    cluster: Cluster, proxy: Proxy, pods: tuple[str, str], tmp_path: Path
) -> None:
    """`run` ends at once, and says in which place it was refused something."""
    del proxy
    less = tmp_path / "less.json"
    less.write_bytes(msgspec.json.encode(seccomp.read().without("recvfrom")))
    lacking = Proxy(cluster.nodes[0].netns, tmp_path, profile=less)
    lacking.serve(pods[0])
    with inside(cluster.nodes[0].netns):
        done = subprocess.run(
            lacking.command(*NEEDED), capture_output=True, text=True, check=False
        )
    (said,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert said.startswith("ipvsctl: error: ")
    assert "socket: EPERM (not permitted" in said
