"""Others on a node whose firewall is nftables: each has tables, and packets pass all.

The pods of the Services are two; the third pod is another agent's, who would like to
have their packets. It must have none of them.
"""

import dataclasses
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from ipvsctl.cli.app import app
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from tests.builders import Raw
from tests.kernel.firewalld import firewalld
from tests.kernel.firewalls import require
from tests.kernel.kube_proxys_node import (
    SERVICES,
    TARGET_PORTS,
    objects,
    ways_into,
)
from tests.kernel.kube_proxys_tables import CLOSED, OWN_WAYS, kube_proxys_tables
from tests.kernel.load import Held, Load, Way
from tests.kernel.node import ProxiedNode
from tests.kernel.test_switch import NFTABLES, serving
from tests.kernel.test_take_over import clients_of
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster, Host, cluster
from tests.lab.traffic import Servers, ask
from tests.reliability.drift import VIP, Drift, served_node, suffer

pytestmark = pytest.mark.kernel

THEIRS: Final = "pod-0-1"
THEIR_PORT: Final = 9090

WAYS: Final = tuple(ways_into(SERVICES[:1]))
TCP: Final = tuple(way for way in WAYS if way.protocol is Protocol.TCP)
CLUSTER_IP: Final = TCP[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """A node that is served.

    Attributes:
        node: its proxy.
        world: without the other agent's pod.
        theirs: that pod.
        found: the cluster's objects.
    """

    node: ProxiedNode
    world: Cluster
    theirs: Host
    found: list[Raw]

    @property
    def netns(self) -> Netns:
        """The node's."""
        return self.node.netns

    @property
    def clients(self) -> Mapping[str, Host]:
        """Who asks."""
        return clients_of(self.world)

    def answering(self, ways: tuple[Way, ...]) -> set[str]:
        """Who answers all clients."""
        return {
            ask(client.netns, way.address, way.port, protocol=way.protocol).server
            for way in ways
            for client in self.clients.values()
        }


@pytest.fixture
def place() -> Iterator[Place]:
    """A node that serves every way in with nftables."""
    require(FirewallKind.NFTABLES)
    with cluster(pods=(2, 1)) as whole, Servers() as servers, ExitStack() as stack:
        theirs = whole.pods[THEIRS]
        pods = {name: pod for name, pod in whole.pods.items() if pod is not theirs}
        world = dataclasses.replace(whole, pods=pods)
        for pod in pods.values():
            for address in (pod.ipv4, pod.ipv6):
                servers.add(pod.netns, address, TARGET_PORTS["http"])
                dns = TARGET_PORTS["dns"]
                servers.add(pod.netns, address, dns, protocol=Protocol.UDP)
        for address in (theirs.ipv4, theirs.ipv6):
            for protocol in (Protocol.TCP, Protocol.UDP):
                servers.add(theirs.netns, address, THEIR_PORT, protocol=protocol)
        found = objects(world, SERVICES)
        netns = world.nodes[0].netns
        node = stack.enter_context(serving(netns, NFTABLES, found))
        node.audit()
        yield Place(node=node, world=world, theirs=theirs, found=found)


class Commands:
    """Commands of ipvsctl on the node, without a daemon."""

    def __init__(self, place: Place, scratch: Path) -> None:
        self._netns = place.netns
        self._manifest = scratch / "cluster.json"
        text = {"apiVersion": "v1", "kind": "List", "items": place.found}
        self._manifest.write_text(json.dumps(text))

    def run(self, *words: str) -> str:
        """What one prints."""
        with inside(self._netns):
            return CliRunner().invoke(app, words).output

    def explain(self) -> str:
        """What is said of the first Service."""
        return self.run(
            *("explain", "default/web", "--manifests", str(self._manifest)),
            *("--node-name", "node-0"),
            *("--cluster-cidr", "172.16.0.0/12", "--cluster-cidr", "fd00:172::/32"),
        )


@pytest.fixture
def commands(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """For the node, whose configuration says nftables."""
    monkeypatch.setenv("IPVSCTL_FIREWALL", FirewallKind.NFTABLES)
    return Commands(place, tmp_path)


def load_ruleset(netns: Netns, text: str) -> None:
    """Load something into nftables."""
    with inside(netns):
        subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def nft(netns: Netns, *command: str) -> str:
    """What nft prints."""
    with inside(netns):
        return subprocess.run(
            ["nft", *command], capture_output=True, text=True, check=True
        ).stdout


def ours(netns: Netns) -> list[str]:
    """Our tables, in lines."""
    found = [nft(netns, "-s", "list", "table", name, "ipvsctl") for name in _FAMILIES]
    return sorted("".join(found).splitlines())


_FAMILIES: Final = {"ip": IPFamily.IPV4, "ip6": IPFamily.IPV6}


def without_accepting(netns: Netns) -> None:
    """Take away what settles that nobody else translates a packet."""
    for name in _FAMILIES:
        listed = nft(netns, "-a", "list", "chain", name, "ipvsctl", "nat-KUBE-SERVICES")
        handles = re.findall(r"dnat to .*# handle (\d+)$", listed, re.MULTILINE)
        assert handles
        for handle in handles:
            rule = ("rule", name, "ipvsctl", "nat-KUBE-SERVICES", "handle", handle)
            nft(netns, "delete", *rule)


def test_firewalld(place: Place, tmp_path: Path) -> None:
    """It starts, reloads and ends under traffic; nothing fails, and ours stays.

    But for datagrams: while it reloads it drops what begins a connection, itself, and
    who asks by TCP asks again (firewalld, nftables.py:build_set_policy_rules).
    """
    before = ours(place.netns)
    with Held() as held:
        held.open(place.clients, WAYS)
        with Load(place.clients, TCP) as load:
            with firewalld(place.netns, tmp_path) as daemon:
                assert daemon.tell("--get-default-zone") == "trusted"
                assert "table inet firewalld" in nft(place.netns, "list", "tables")
                for option in ("--reload", "--reload", "--complete-reload"):
                    assert daemon.tell(option) == "success"
                    load.go_round()
                    assert held.broken() == {}
                assert place.answering(WAYS) == {"pod-0-0", "pod-1-0"}
            load.go_round()
        assert load.failures == {}
        assert held.broken() == {}
    assert ours(place.netns) == before
    assert place.node.audit().plan == ()


def test_kube_proxy_in_its_nftables_mode(place: Place, commands: Commands) -> None:
    """Each serves its own Services; what both have is IPVS's, as we settle it first.

    But for node ports, of which a Service has its own. The tables are named.
    """
    # Before it is translated, a packet needs a way like any other.
    place.netns.add_route(ip_network("10.96.0.0/12"), via=place.world.external.ipv4)
    with Load(place.clients, WAYS) as load:
        load_ruleset(place.netns, kube_proxys_tables(place.theirs, THEIR_PORT))
        load.go_round()
        assert load.failures == {}
        assert place.answering(WAYS) == {"pod-0-0", "pod-1-0"}
        assert place.answering(OWN_WAYS) == {THEIRS}
    assert place.node.audit().plan == ()
    with pytest.raises(ConnectionRefusedError):
        ask(place.world.client.netns, CLOSED, 80)
    assert "table ip kube-proxy" in commands.run("check")
    said = commands.explain()
    assert "kube-proxy's nftables rules are there (table ip kube-proxy" in said
    without_accepting(place.netns)
    assert place.answering((CLUSTER_IP,)) == {THEIRS}


HOST_PORTS: Final = {
    "iptables": """
iptables -t nat -N CNI-HOSTPORT-DNAT
iptables -t nat -A CNI-HOSTPORT-DNAT -p tcp --dport 80 -j DNAT --to {target}
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
iptables -t nat -A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
""",
    "nftables": """
nft add table ip cni_hostport
nft add chain ip cni_hostport hostports
nft add chain ip cni_hostport prerouting {{ type nat hook prerouting priority -100; }}
nft add chain ip cni_hostport output {{ type nat hook output priority -100; }}
nft add rule ip cni_hostport prerouting fib daddr type local jump hostports
nft add rule ip cni_hostport output fib daddr type local jump hostports
nft add rule ip cni_hostport hostports tcp dport 80 dnat to {target}
""",
}
"""What the plugin portmap makes, by its backend; the port is a host port of a pod."""


@pytest.mark.parametrize("backend", HOST_PORTS)
def test_a_host_port_of_the_same_number(place: Place, backend: str) -> None:
    """A Service's address is its own, though it is an address of the node.

    The host port works at the node's address; and without our accepting it would take
    what is the Service's.
    """
    target = f"{place.theirs.ipv4}:{THEIR_PORT}"
    with Load(place.clients, WAYS) as load, inside(place.netns):
        for line in HOST_PORTS[backend].format(target=target).strip().splitlines():
            subprocess.run(line.split(), check=True)
        load.go_round()
        assert load.failures == {}
        assert place.answering(WAYS) == {"pod-0-0", "pod-1-0"}
    host_port = Way("host port", parse_address("10.0.0.10"), 80, Protocol.TCP)
    assert place.answering((host_port,)) == {THEIRS}
    without_accepting(place.netns)
    assert place.answering((CLUSTER_IP,)) == {THEIRS}


AGENT: Final = """
table inet agent {
  chain forward {
    type filter hook forward priority filter; policy drop;
  }
}
"""
"""Of another agent, that lets nothing pass."""

ALLOWED: Final = (
    "ct state established,related accept",
    "meta mark & 0x4000 == 0x4000 accept",
    "ip daddr 172.16.0.0/12 accept",
    "ip6 daddr fd00:172::/32 accept",
)
"""What docs/install.md says such a chain has to accept."""


def test_a_policy_of_drop(place: Place, commands: Commands) -> None:
    """What we accept another's chain drops all the same; `explain` names its table.

    With what docs/install.md says, everything passes.
    """
    load_ruleset(place.netns, AGENT)
    with pytest.raises(TimeoutError):
        ask(place.world.client.netns, CLUSTER_IP.address, 80, timeout_s=2)
    assert "rules of others that are not read: table inet agent" in commands.explain()
    for rule in ALLOWED:
        nft(place.netns, "add", "rule", "inet", "agent", "forward", *rule.split())
    with Load(place.clients, WAYS) as load:
        load.go_round()
        assert load.failures == {}


def test_a_policy_of_drop_of_iptables(place: Place, commands: Commands) -> None:
    """Its rules are read: `explain` says where answers end, and `check` notes it."""
    with inside(place.netns):
        subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
    with pytest.raises(TimeoutError):
        ask(place.world.client.netns, CLUSTER_IP.address, 80, timeout_s=2)
    assert "IPv4 FORWARD policy" in commands.run("check")
    assert re.search(r"dropped in FORWARD: .*policy DROP", commands.explain())


@pytest.mark.parametrize(
    "command", ["nft flush ruleset", "nft delete table ip ipvsctl"]
)
def test_all_rules_flushed(tmp_path: Path, command: str) -> None:
    """Held connections survive; who asks anew may fail until it is mended, in time."""
    require(FirewallKind.NFTABLES)
    kind = FirewallKind.NFTABLES
    with served_node(tmp_path, 5, "1h", firewall=kind) as (node, world), Held() as held:
        clients = {"host": world.nodes[0], "client": world.client}
        held.open(clients, [Way("web", VIP, 80, Protocol.TCP)] * 4)
        outcome = suffer(node, world, Drift(name=command, commands=(command,)))
        print(command, outcome)
        assert held.broken() == {}
        assert outcome.healed_s < 5
