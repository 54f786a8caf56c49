"""A node's life on a real kernel: connections, foreign owners, deaths and restarts."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ipvsctl.cluster.events import Event, Upserted
from ipvsctl.cluster.manifests.manifest import Manifests, changes
from ipvsctl.controller.look import see
from ipvsctl.model.config import Compatibility, FirewallKind, ProxyConfig
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    IPv4Address,
    Protocol,
    parse_address,
    parse_network,
)
from ipvsctl.model.objects import (
    Endpoint,
    EndpointSlice,
    Service,
    ServicePort,
    SlicePort,
)
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.crowd import CROWD
from ipvsctl.plan.diff.plan import DiffOptions, diff
from ipvsctl.sources.manifests import load_manifests
from ipvsctl.wire.ipset.save_text import render_ipset
from ipvsctl.wire.iptables.ruleset import render_save
from ipvsctl.wire.ipvs.save_text import render_ipvsadm
from ipvsctl.wire.nftables.rule_text import render_table
from ipvsctl.wire.route.show_text import render_addresses
from tests.addresses import later
from tests.kernel.firewalls import about_iptables, require
from tests.kernel.node import CONFIG, ProxiedNode, has, has_nodes, proxied, slices
from tests.lab.netns import Netns, create, inside
from tests.lab.topology import Cluster
from tests.lab.traffic import Connection, Servers, ask, connect

pytestmark = pytest.mark.kernel

SCENARIOS = Path(__file__).parent.parent / "golden" / "scenarios"
VIP = parse_address("10.96.0.10")
PORTS = {"http": 8080, "dns": 5353}
WEB = Service(
    ref=ObjectRef("default", "web"),
    cluster_ips=(VIP,),
    ports=(
        ServicePort(name="http", protocol=Protocol.TCP, port=80),
        ServicePort(name="dns", protocol=Protocol.UDP, port=53),
    ),
)
KEY = VirtualServerKey(
    family=IPFamily.IPV4, protocol=Protocol.TCP, address=VIP, port=80
)


@pytest.fixture
def node(cluster: Cluster, servers: Servers) -> Iterator[ProxiedNode]:
    """node-0 proxies `web`, on both of its pods."""
    for pod in cluster.pods.values():
        servers.add(pod.netns, pod.ipv4, 8080)
        servers.add(pod.netns, pod.ipv4, 5353, protocol=Protocol.UDP)
    with proxied(cluster.nodes[0].netns) as made:
        made.take(*has_nodes(cluster.nodes), has(WEB), *web_on(cluster, 0, 1))
        made.audit()
        yield made


def web_on(cluster: Cluster, *numbers: int) -> list[Event]:
    """`web` has these pods of node-0."""
    pods = [cluster.pods[f"pod-0-{number}"] for number in numbers]
    return slices(WEB, pods, PORTS)


def weights(node: ProxiedNode) -> dict[str, int]:
    """Real servers of the TCP virtual server."""
    held = node.observe().state.real_servers[KEY]
    return {str(server.key.address): server.weight for server in held.values()}


def run(netns: Netns, *command: str) -> list[str]:
    """Lines that an operator's tool prints on the node."""
    with inside(netns):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def connected_to(cluster: Cluster, pod: str) -> Connection:
    """A connection of the outside client that has met this pod."""
    for _ in range(6):
        connection = connect(cluster.client.netns, VIP, 80)
        if connection.ask().server == pod:
            return connection
        with connection:
            pass
    raise AssertionError(f"{pod} did not answer in 6 connections")


def test_a_connection_outlives_its_endpoint(
    cluster: Cluster, node: ProxiedNode
) -> None:
    """It drains, new connections go elsewhere, and its weight comes back in place."""
    gone, stays = "172.16.0.11", "172.16.0.10"
    with connected_to(cluster, "pod-0-1") as held:
        node.take(*web_on(cluster, 0))
        node.sync()
        assert weights(node) == {stays: 1, gone: 0}
        assert held.ask().server == "pod-0-1"
        new = {ask(cluster.client.netns, VIP, 80).server for _ in range(4)}
        assert new == {"pod-0-0"}
        assert node.check_drains().plan == ()
        with proxied(node.netns) as restarted:
            restarted.take(*has_nodes(cluster.nodes), has(WEB), *web_on(cluster, 0))
            assert restarted.audit().plan == (), "a restart goes on with the drain"
        assert held.ask().server == "pod-0-1"
        node.take(*web_on(cluster, 0, 1))
        node.sync()
        assert weights(node) == {stays: 1, gone: 1}
        assert held.ask().server == "pod-0-1", "no reset on return"


def test_a_connection_outlives_its_endpoint_in_a_crowd(
    cluster: Cluster, node: ProxiedNode
) -> None:
    """Which is changed portion by portion, and read by nobody but audits."""
    others = [later(IPv4Address("172.31.0.0"), n) for n in range(1, 2 * CROWD)]

    def crowd(*served: IPAddress) -> None:
        node.take(
            has(
                EndpointSlice(
                    ref=ObjectRef("default", f"web-{IPFamily.IPV4}"),
                    service=WEB.ref,
                    family=IPFamily.IPV4,
                    ports=(SlicePort(name="http", protocol=Protocol.TCP, port=8080),),
                    endpoints=tuple(Endpoint(address=address) for address in served),
                )
            )
        )
        while True:
            node.sync()
            if not node.reconciler.has_parts:
                return

    name = "pod-0-0"
    kept = cluster.pods[name].ipv4
    with connected_to(cluster, name) as connection:
        crowd(kept, *others)
        node.audit()
        assert weights(node) == dict.fromkeys(map(str, (kept, *others)), 1)
        crowd(*others[1:])
        drained = {str(kept): 0, str(others[0]): 0}
        served = dict.fromkeys(map(str, others[1:]), 1)
        assert weights(node) == drained | served
        assert connection.ask().server == name
        node.audit()
        assert weights(node) == {str(kept): 0} | served, "nobody was connected there"
        crowd(kept)
        assert connection.ask().server == name
        assert ask(cluster.client.netns, VIP, 80).server == name
    node.audit()
    assert weights(node) == {str(kept): 1}


def test_a_drain_is_bounded(cluster: Cluster, node: ProxiedNode) -> None:
    """A connection that does not end by itself is cut when its time is over."""
    with connected_to(cluster, "pod-0-1") as held:
        config = msgspec.structs.replace(CONFIG, drain_timeout_s=0)
        with proxied(node.netns, config=config) as hasty:
            hasty.take(*has_nodes(cluster.nodes), has(WEB), *web_on(cluster, 0))
            hasty.audit()
            assert weights(hasty) == {"172.16.0.10": 1, "172.16.0.11": 0}
            assert held.ask().server == "pod-0-1"
            hasty.check_drains()
            assert weights(hasty) == {"172.16.0.10": 1}
            with pytest.raises(OSError):  # noqa: PT011 - reset or lost, both end it
                held.ask()


def test_a_terminating_endpoint_serves_as_the_last_resort(
    cluster: Cluster, node: ProxiedNode
) -> None:
    """It gets new connections exactly while no ready endpoint is there."""

    def leaving(number: int, event: Event) -> Event:
        assert isinstance(event, Upserted)
        (piece,) = event.values
        assert isinstance(piece, EndpointSlice)
        endpoints = tuple(
            msgspec.structs.replace(e, ready=False, serving=True, terminating=True)
            if e.address == cluster.pods[f"pod-0-{number}"].ipv4
            else e
            for e in piece.endpoints
        )
        changed = msgspec.structs.replace(piece, endpoints=endpoints)
        return msgspec.structs.replace(event, values=(changed,))

    def answering() -> set[str]:
        return {ask(cluster.client.netns, VIP, 80).server for _ in range(4)}

    both = web_on(cluster, 0, 1)
    node.take(*(leaving(1, event) for event in both))
    node.sync()
    assert answering() == {"pod-0-0"}
    node.take(*(leaving(0, leaving(1, event)) for event in both))
    node.sync()
    assert answering() == {"pod-0-0", "pod-0-1"}


def test_udp_moves_at_once(cluster: Cluster, node: ProxiedNode) -> None:
    """A UDP endpoint that is gone is deleted, and the next question goes elsewhere."""
    with connect(cluster.client.netns, VIP, 53, protocol=Protocol.UDP) as held:
        first = held.ask().server
        number = int(first[-1])
        node.take(*web_on(cluster, 1 - number))
        node.sync()
        key = VirtualServerKey(
            family=IPFamily.IPV4, protocol=Protocol.UDP, address=VIP, port=53
        )
        assert len(node.observe().state.real_servers[key]) == 1
    answers = {
        ask(cluster.client.netns, VIP, 53, protocol=Protocol.UDP).server
        for _ in range(4)
    }
    assert answers == {f"pod-0-{1 - number}"}


def test_session_affinity(cluster: Cluster, node: ProxiedNode) -> None:
    """Each client stays with the pod it met; another client has its own."""
    sticky = Service(
        ref=ObjectRef("default", "sticky"),
        cluster_ips=(IPv4Address("10.96.0.50"),),
        affinity_timeout_s=600,
        ports=(ServicePort(name="http", protocol=Protocol.TCP, port=80),),
    )
    pods = [pod for pod in cluster.pods.values() if pod.name.startswith("pod-0")]
    node.take(has(sticky), *slices(sticky, pods, PORTS))
    node.sync()
    met = {
        client.name: {
            ask(client.netns, sticky.cluster_ips[0], 80).server for _ in range(5)
        }
        for client in (cluster.client, cluster.nodes[0])
    }
    assert [len(servers) for servers in met.values()] == [1, 1]
    assert met["client"] != met["node-0"], "rr gives the second client the next pod"
    # Its pod leaves while a connection is held: affinity must not hold the client back.
    (left,) = met["client"]
    others = [pod for pod in pods if pod.name != left]
    with connect(cluster.client.netns, sticky.cluster_ips[0], 80) as held:
        assert held.ask().server == left
        node.take(*slices(sticky, others, PORTS))
        node.sync()
        assert held.ask().server == left
        moved = {
            ask(cluster.client.netns, sticky.cluster_ips[0], 80).server
            for _ in range(3)
        }
        assert moved == {pod.name for pod in others}


FOREIGN = [
    "-A -t 10.103.97.12:6443 -s rr",
    "-a -t 10.103.97.12:6443 -r 10.0.0.11:6443 -m -w 1",
    "-A -f 7 -s wlc",
    "-a -f 7 -r 10.0.0.11:0 -g -w 5",
]


def test_foreign_things_stay(cluster: Cluster, node: ProxiedNode) -> None:
    """Virtual servers, sets, rules and addresses of others survive even a clean-up."""
    netns = node.netns
    for line in FOREIGN:
        run(netns, "ipvsadm", *line.split())
    run(netns, "ipset", "create", "cali40masq", "hash:net")
    run(netns, "iptables", "-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP")
    node.audit()
    plan = diff(node.observe(), NodeState(), DiffOptions(vip_link="kube-ipvs0"))
    assert not node.apply(plan).failed
    assert sorted(run(netns, "ipvsadm-save", "-n")) == sorted(FOREIGN)
    assert run(netns, "ipset", "list", "-n") == ["cali40masq"]
    assert "-A INPUT -s 192.0.2.1/32 -j DROP" in run(netns, "iptables-save")
    left = [*run(netns, "iptables-save"), *run(netns, "ip6tables-save")]
    assert [line for line in left if "KUBE" in line] == []
    assert [line for line in run(netns, "ip", "-o", "link") if "kube" in line] == []
    assert str(cluster.nodes[0].ipv4) in " ".join(run(netns, "ip", "-o", "addr"))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.9, 0.97])
def test_a_death_half_way_is_mended(netns: Netns, share: float) -> None:
    """From cluster to cluster, killed on the way: the next process finishes the job."""
    run(netns, "ipvsadm", *FOREIGN[0].split())
    config = ProxyConfig(
        cluster_cidrs=(parse_network("172.16.0.0/12"),),
        compatibility=Compatibility.KUBE_PROXY,
    )
    with proxied(netns, config=config) as first:
        first.take(*changes(Manifests(), scenario("02-nodeport")))
        first.audit()
    with proxied(netns, config=config) as second:
        second.take(*changes(Manifests(), scenario("16-whole-node")))
        with inside(netns):
            plan = see(second.reconciler, second.reconciler.survey()).plan()
        assert len(plan) > 150
        assert not second.apply(plan[: int(len(plan) * share)]).failed
    with proxied(netns, config=config) as third:
        third.take(*changes(Manifests(), scenario("08-dual-stack")))
        third.audit()
        assert third.audit().plan == ()
        kept = {str(key) for key in third.observe().state.virtual_servers}
    assert kept == {
        "tcp 10.96.0.1:443",
        "tcp 10.96.0.80:80",
        "tcp [fd00:10:96::80]:80",
        "tcp 10.103.97.12:6443",
    }


def scenario(name: str) -> Manifests:
    """One of the golden clusters."""
    return load_manifests([SCENARIOS / name / "cluster.yaml"])


def test_operators_tools_read_what_render_prints(netns: Netns) -> None:
    """Ipvsadm and ip print what `render` says, line by line."""
    with proxied(netns) as node:
        node.take(*changes(Manifests(), scenario("16-whole-node")))
        node.audit()
        state = node.reconciler.desired.state()
        assert sorted(run(netns, "ipvsadm-save", "-n")) == render_ipvsadm(state)
        bound = [
            f"{words[2]} {words[3]}"
            for words in map(
                str.split, run(netns, "ip", "-o", "addr", "show", "kube-ipvs0")
            )
            if not words[3].startswith("fe80")
        ]
        assert sorted(bound) == render_addresses(state)


@about_iptables
def test_ipset_and_iptables_read_what_render_prints(netns: Netns) -> None:
    """They print what `render` says, line by line."""
    with proxied(netns) as node:
        node.take(*changes(Manifests(), scenario("16-whole-node")))
        node.audit()
        state = node.reconciler.desired.state()
        saved = run(netns, "ipset", "save")
        assert sorted(line for line in saved if line[:3] == "add") == [
            line for line in render_ipset(state) if line[:3] == "add"
        ]
        for family, tool in (
            (IPFamily.IPV4, "iptables-save"),
            (IPFamily.IPV6, "ip6tables-save"),
        ):
            rules = [line for line in run(netns, tool) if line.startswith("-A")]
            assert sorted(rules) == sorted(
                line
                for line in render_save(state.chains[family])
                if line.startswith("-A")
            )


def nft_tables(netns: Netns) -> list[str]:
    """Our tables as nft lists them, in an order of chains, sets and entries."""
    found = []
    for family in ("ip", "ip6"):
        text = "\n".join(run(netns, "nft", "list", "table", family, "ipvsctl"))
        first, *parts = text.split("\n\t}")
        blocks = []
        for part in (first.partition("{\n")[2], *parts):
            # How entries are put into lines depends on their order.
            head, _, entries = part.partition("elements = {")
            blocks.append(f"{head.strip()} {sorted(entries.strip(' }').split(','))}")
        found += sorted(re.sub(r"\s+", " ", block) for block in blocks)
    return found


def test_nft_loads_what_render_prints(netns: Netns) -> None:
    """It makes the tables that we make, in an empty kernel and in the place of ours."""
    require(FirewallKind.NFTABLES)
    config = msgspec.structs.replace(CONFIG, firewall=FirewallKind.NFTABLES)
    with proxied(netns, config=config) as node, create("other") as other:
        node.take(*changes(Manifests(), scenario("16-whole-node")))
        node.audit()
        state = node.reconciler.desired.state()
        text = "".join(
            f"{line}\n"
            for family in IPFamily
            for line in render_table(
                family, state.chains[family], state.sets, state.entries
            )
        )
        made = nft_tables(netns)
        assert len(made) > 80
        for place in (other, netns):
            with inside(place):
                subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
            assert nft_tables(place) == made
        assert node.audit().plan == ()
