"""Packets through every way in: who answers, how they are spread, whom they see.

One Service of each external traffic policy, with a port of each protocol, on two pods
of node-0 and one of node-1; node-0 runs the proxy.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from ipvsctl.model.config import FirewallKind
from ipvsctl.model.net import IPAddress, IPFamily, Protocol, family_of, parse_address
from ipvsctl.model.objects import Service, ServicePort, ServiceType, TrafficPolicy
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.state import Observed
from ipvsctl.plan.trace.outcome import Fate
from ipvsctl.plan.trace.packet import Packet
from ipvsctl.plan.trace.packets import trace
from tests.kernel.firewalls import BOTH, firewalls_here
from tests.kernel.node import BINDINGS, CONFIG, has, has_nodes, proxied, slices
from tests.lab.topology import Cluster, Host, cluster
from tests.lab.traffic import Answer, Servers, ask

pytestmark = pytest.mark.kernel

TARGET_PORTS = {"tcp": 8080, "udp": 5353, "sctp": 9999}


def addresses(ipv4: str, ipv6: str) -> dict[IPFamily, IPAddress]:
    """One address of each family."""
    return {IPFamily.IPV4: parse_address(ipv4), IPFamily.IPV6: parse_address(ipv6)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A Service's addresses."""

    cluster_ip: dict[IPFamily, IPAddress]
    external_ip: dict[IPFamily, IPAddress]
    ingress_vip: dict[IPFamily, IPAddress]
    node_port: int


SERVED = {
    TrafficPolicy.CLUSTER: Served(
        cluster_ip=addresses("10.96.0.10", "fd00:10:96::10"),
        external_ip=addresses("203.0.113.10", "2001:db8:203::10"),
        ingress_vip=addresses("198.51.100.10", "2001:db8:198::10"),
        node_port=30010,
    ),
    TrafficPolicy.LOCAL: Served(
        cluster_ip=addresses("10.96.0.20", "fd00:10:96::20"),
        external_ip=addresses("203.0.113.20", "2001:db8:203::20"),
        ingress_vip=addresses("198.51.100.20", "2001:db8:198::20"),
        node_port=30020,
    ),
}


def service(policy: TrafficPolicy) -> Service:
    """The Service of that external traffic policy."""
    served = SERVED[policy]
    return Service(
        ref=ObjectRef("default", f"web-{policy.value.lower()}"),
        type=ServiceType.LOAD_BALANCER,
        cluster_ips=tuple(served.cluster_ip.values()),
        external_ips=tuple(served.external_ip.values()),
        ingress_vips=tuple(served.ingress_vip.values()),
        external_traffic_policy=policy,
        ports=tuple(
            ServicePort(
                name=protocol.label,
                protocol=protocol,
                port=80,
                node_port=served.node_port,
            )
            for protocol in Protocol
        ),
    )


class World(NamedTuple):
    """The cluster, the firewall of its nodes, and what node-0's kernel holds."""

    cluster: Cluster
    firewall: FirewallKind
    observed: Observed


FIREWALLS = firewalls_here()


@pytest.fixture(
    scope="module",
    name="world",
    params=[*product(FIREWALLS, BINDINGS)],
    ids="-".join,
)
def _world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Every node serves both Services, with a firewall, by addresses or by routes.

    The second pod of node-1 is a client only.
    """
    firewall, binding = request.param
    config = msgspec.structs.replace(CONFIG, vip_binding=binding, firewall=firewall)
    with cluster(pods=(2, 2)) as world, Servers() as servers, ExitStack() as stack:
        pods = tuple(world.pods[name] for name in sorted(ALL))
        for pod in pods:
            for address in (pod.ipv4, pod.ipv6):
                for protocol in Protocol:
                    port = TARGET_PORTS[protocol.label]
                    servers.add(pod.netns, address, port, protocol=protocol)
        held = []
        for host in world.nodes:
            node = stack.enter_context(proxied(host.netns, host.name, config))
            node.take(*has_nodes(world.nodes))
            for policy in TrafficPolicy:
                made = service(policy)
                node.take(has(made), *slices(made, pods, TARGET_PORTS))
            node.audit()
            assert node.audit().plan == ()
            held.append(node.observe())
        yield World(world, firewall, held[0])


def clients(world: Cluster) -> dict[str, Host]:
    """Who asks: from outside, from node-0 itself, from a pod of it, from node-1's."""
    return {
        "client": world.client,
        "host": world.nodes[0],
        "pod": world.pods["pod-0-0"],
        "other pod": world.pods["pod-1-1"],
    }


ALL = {"pod-0-0", "pod-0-1", "pod-1-0"}
LOCAL = {"pod-0-0", "pod-0-1"}
NODE_ADDRESSES = (
    *("10.0.0.10", "172.16.0.1", "fd00:10::10", "fd00:172:16::1"),
    *("10.0.0.11", "172.16.1.1", "fd00:10::11", "fd00:172:17::1"),
)
WAYS = ("cluster_ip", "external_ip", "ingress_vip", "node_port")


class Seen(NamedTuple):
    """What became of a client's requests, in words.

    Attributes:
        endpoints: `all three`, or `this node's two`.
        source: as whom the endpoints saw the client, another endpoint than itself.
    """

    endpoints: str
    source: str


def expected(way: str, policy: TrafficPolicy, client: str) -> Seen:
    """What must become of them.

    An outside client keeps its address exactly where only this node's endpoints
    answer; elsewhere the answer must come back through this node. Pods keep theirs
    towards cluster IPs and wherever policy Local does; external addresses of policy
    Local are like cluster IPs to them and to the host, but not node ports.
    """
    is_local = policy is TrafficPolicy.LOCAL and way != "cluster_ip"
    is_near = is_local and (client == "client" or way == "node_port")
    if client == "host":
        source = "the node"
    elif client == "client":
        source = "itself" if is_local else "the node"
    else:
        source = "itself" if is_local or way == "cluster_ip" else "the node"
    return Seen("this node's two" if is_near else "all three", source)


def ask_often(
    client: Host, address: IPAddress, port: int, protocol: Protocol
) -> list[Answer]:
    """Six requests, each on a connection of its own."""
    return [ask(client.netns, address, port, protocol=protocol) for _ in range(6)]


def seen(client: Host, answers: list[Answer], family: IPFamily) -> Seen:
    """What became of a client's requests."""
    spread = Counter(answer.server for answer in answers)
    assert len(set(spread.values())) == 1, f"uneven: {spread}"
    endpoints = {frozenset(ALL): "all three", frozenset(LOCAL): "this node's two"}
    # A pod that meets itself must be masqueraded, or its answer would not come back.
    sources = {str(a.source) for a in answers if a.server != client.name}
    names = {
        str(client.address(family)): "itself",
        **dict.fromkeys(NODE_ADDRESSES, "the node"),
    }
    (source,) = {names.get(found, found) for found in sources}
    return Seen(endpoints[frozenset(spread)], source)


def traced(
    world: World, client: Host, address: IPAddress, port: int, protocol: Protocol
) -> Seen:
    """What the tracer says, of what node-0's kernel holds."""
    family = family_of(address)
    is_host = client.name == world.cluster.nodes[0].name
    outcome = trace(
        world.observed.state,
        Packet(
            source=client.address(family),
            destination=address,
            protocol=protocol,
            port=port,
            in_interface="" if is_host else "some-link",
        ),
        host_addresses=world.observed.host_addresses,
    )
    assert outcome.fate is Fate.BALANCED, outcome.path
    names = {pod.address(family): pod.name for pod in world.cluster.pods.values()}
    ways = {names[way.endpoint.address]: way.masqueraded for way in outcome.deliveries}
    if client.name in ways:
        assert ways[client.name], "it would not come back"
    endpoints = {frozenset(ALL): "all three", frozenset(LOCAL): "this node's two"}
    (masqueraded,) = {ways[name] for name in ways if name != client.name}
    source = "the node" if masqueraded or is_host else "itself"
    return Seen(endpoints[frozenset(ways)], source)


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("family", IPFamily)
@pytest.mark.parametrize("policy", TrafficPolicy)
@pytest.mark.parametrize("way", WAYS)
def test_way_in(
    world: World,
    way: str,
    policy: TrafficPolicy,
    family: IPFamily,
    protocol: Protocol,
) -> None:
    """Every client gets every endpoint it should, evenly, seen as it should be.

    And the tracer has said so, of the packets that pass this node first.
    """
    served = SERVED[policy]
    if way == "node_port":
        address, port = world.cluster.nodes[0].address(family), served.node_port
    else:
        address, port = getattr(served, way)[family], 80
    asking = clients(world.cluster)
    found = {
        name: seen(client, ask_often(client, address, port, protocol), family)
        for name, client in asking.items()
    }
    assert found == {name: expected(way, policy, name) for name in found}
    for name in ("client", "host", "pod"):
        said = traced(world, asking[name], address, port, protocol)
        assert said == found[name], name
    for name, became in found.items():
        SEEN[world.firewall][way, policy, name] = became


SEEN: dict[FirewallKind, dict[tuple[str, TrafficPolicy, str], Seen]] = {
    firewall: {} for firewall in FIREWALLS
}
"""What the tests above saw; the same for every family, protocol and VIP binding."""

PAGE = Path(__file__).parents[2] / "docs" / "ways-in.md"


INTRODUCTION = """\
Two pods of this node and one of another node are the endpoints of a Service. The table
says, for each way in and external traffic policy, which of them answer, and as whom
they see the client: an outside client, the node itself, a pod of the node, and a pod of
another node. That one asks through its own node, but for the node port, which is this
node's. It is the same for TCP, UDP and SCTP, for IPv4 and IPv6, and for VIPs that are
addresses or routes (`vipBinding`).

`nox -s kernel` sends these requests through a real kernel and fails if this page is not
what came of them; `nox -s kernel-6.12` does so with each firewall. Rows that are of
both are so because both were seen.
"""
_HEAD = """\
| way in | policy | outside client | node | its pod | another node's pod | firewall |
|---|---|---|---|---|---|---|
"""
_BOTH = "both"


def page() -> str:
    """What the tests above saw, as a page for users."""
    lines = []
    for way in WAYS:
        for policy in TrafficPolicy:
            by_firewall = {str(kind): row(kind, way, policy) for kind in FIREWALLS}
            if len(by_firewall) > 1 and len({*by_firewall.values()}) == 1:
                by_firewall = {_BOTH: row(FIREWALLS[0], way, policy)}
            lines += [f"{text} {kind} |" for kind, text in by_firewall.items()]
    table = "\n".join(lines)
    return f"# Who answers whom\n\n{INTRODUCTION}\n{_HEAD}{table}\n"


def row(firewall: FirewallKind, way: str, policy: TrafficPolicy) -> str:
    """What was seen with a firewall, as a row that has no end yet."""
    names = ("client", "host", "pod", "other pod")
    cells = [SEEN[firewall][way, policy, name] for name in names]
    shown = " | ".join(f"{c.endpoints}, as {c.source}" for c in cells)
    label = way.replace("_", " ").replace("ip", "IP").replace("vIP", "VIP")
    return f"| {label} | {policy} | {shown} |"


def rows_of(firewall: FirewallKind, text: str) -> list[str]:
    """What a page says of a firewall."""
    ends = tuple(f" {kind} |" for kind in (firewall, _BOTH))
    return [line.rsplit(" ", 2)[0] for line in text.splitlines() if line.endswith(ends)]


def test_the_page_is_what_was_seen() -> None:
    """docs/ways-in.md is the table of the tests above.

    `IPVSCTL_WRITE_PAGES=1 nox -s kernel-6.12 -- tests/kernel/test_ways_in.py` writes
    it, with both firewalls; a kernel that has one sees that it is right about that one.
    """
    if any(len(seen) < len(WAYS) * len(TrafficPolicy) * 4 for seen in SEEN.values()):
        pytest.fail("run the whole file: the page needs every way in")
    if "IPVSCTL_WRITE_PAGES" in os.environ:
        PAGE.write_text(page())
    text = PAGE.read_text()
    for firewall in FIREWALLS:
        assert rows_of(firewall, text) == rows_of(firewall, page())
    if FIREWALLS == BOTH:
        assert text == page()
