"""The rules that the tracer compares a packet with are those that the kernel does.

By every way in, with each firewall: the first packet of a connection, a later one, and
an answer to it.
"""

from collections.abc import Iterator
from itertools import product

import msgspec
import pytest

from ipvsctl.model.config import FirewallKind
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.model.objects import TrafficPolicy
from ipvsctl.model.state import Observed
from ipvsctl.plan.trace.outcome import Fate
from ipvsctl.plan.trace.packet import Packet
from ipvsctl.plan.trace.packets import trace
from tests.kernel.firewalls import firewalls_here
from tests.kernel.node import CONFIG, has, has_nodes, proxied, slices
from tests.kernel.test_ways_in import SERVED, TARGET_PORTS, WAYS, service
from tests.lab.netns import Netns
from tests.lab.rule_counts import Read, count_iptables, count_nftables
from tests.lab.single_packets import Counts, Place, count_packets
from tests.lab.topology import Cluster, Host, cluster

pytestmark = pytest.mark.kernel

TOOLS = {IPFamily.IPV4: "iptables", IPFamily.IPV6: "ip6tables"}
TABLES = {IPFamily.IPV4: "ip ipvsctl", IPFamily.IPV6: "ip6 ipvsctl"}


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A node that serves, and counts.

    Attributes:
        cluster: the node is its first one.
        observed: what its kernel held before there was anything that counts.
        reads: the comparisons up to now, of each family.
    """

    cluster: Cluster
    observed: Observed
    reads: dict[IPFamily, Read]


@pytest.fixture(scope="module", name="node", params=firewalls_here(), ids=str)
def _node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """Both Services of `test_ways_in`, on one pod of the node."""
    config = msgspec.structs.replace(CONFIG, firewall=request.param)
    with cluster(pods=(2, 0)) as world:
        host, pod = world.nodes[0], world.pods["pod-0-0"]
        with proxied(host.netns, host.name, config) as proxy:
            proxy.take(*has_nodes(world.nodes))
            for policy in TrafficPolicy:
                made = service(policy)
                proxy.take(has(made), *slices(made, [pod], TARGET_PORTS))
            proxy.audit()
            observed = proxy.observe()
        reads = {
            family: counter(request.param, host.netns, family) for family in IPFamily
        }
        yield Node(cluster=world, observed=observed, reads=reads)


def counter(firewall: FirewallKind, netns: Netns, family: IPFamily) -> Read:
    """Begin to count."""
    if firewall is FirewallKind.NFTABLES:
        return count_nftables(netns, TABLES[family])
    return count_iptables(netns, TOOLS[family])


def traced(node: Node, client: Host, asked: Place) -> Counts:
    """What the tracer says."""
    pod = node.cluster.pods["pod-0-0"]
    source = client.address(asked.family)
    is_host = client.name == node.cluster.nodes[0].name
    question = Packet(
        source=source,
        destination=asked.address,
        protocol=Protocol.TCP,
        port=asked.tcp,
        in_interface="" if is_host else "some-link",
        from_bridge_port=client.name in node.cluster.pods,
    )
    later = msgspec.structs.replace(
        question, protocol=Protocol.UDP, port=asked.udp, ctstate="ESTABLISHED"
    )
    answer = Packet(
        source=pod.address(asked.family),
        destination=source,
        protocol=Protocol.UDP,
        in_interface="some-link",
        ctstate="ESTABLISHED",
    )
    return Counts(*(compared(node, packet) for packet in (question, later, answer)))


def compared(node: Node, packet: Packet) -> int:
    """With how many rules, before IPVS and after it."""
    outcome = trace(
        node.observed.state, packet, host_addresses=node.observed.host_addresses
    )
    if packet.in_interface and packet.ctstate == "NEW":
        assert outcome.fate is Fate.BALANCED, outcome.path
    return outcome.compared + sum(way.compared for way in outcome.deliveries)


# Both families have the same rules, so one of them is asked a part alone.
ASKED = (
    *product((IPFamily.IPV4,), WAYS, TrafficPolicy),
    *product((IPFamily.IPV6,), ("cluster_ip", "node_port"), (TrafficPolicy.CLUSTER,)),
)


@pytest.mark.parametrize(("family", "way", "policy"), ASKED)
@pytest.mark.parametrize("client", ["client", "pod-0-1", "node-0"])
def test_the_kernel_compares_as_many(
    node: Node, client: str, family: IPFamily, way: str, policy: TrafficPolicy
) -> None:
    """One more rule before an end, or one less, and it would be another number."""
    hosts = {
        "client": node.cluster.client,
        "node-0": node.cluster.nodes[0],
        **node.cluster.pods,
    }
    served, pod = SERVED[policy], node.cluster.pods["pod-0-0"]
    if way == "node_port":
        address = node.cluster.nodes[0].address(family)
        asked = Place(address, served.node_port, served.node_port)
    else:
        asked = Place(getattr(served, way)[family], 80, 80)
    endpoint = Place(pod.address(family), TARGET_PORTS["tcp"], TARGET_PORTS["udp"])
    seen = count_packets(
        node.reads[family], hosts[client].netns, asked, pod.netns, endpoint
    )
    assert seen == traced(node, hosts[client], asked)
    assert 0 < seen.later < seen.first
