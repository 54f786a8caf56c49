"""A small cluster of network namespaces, all in this process.

      node-0             node-1            client            external
      10.0.0.10          10.0.0.11         10.0.0.100        10.0.0.175
      fd00:10::10        fd00:10::11       fd00:10::100      fd00:10::175
        |  |               |  |              |               192.168.3.175
        |  +--- underlay --|--+--------------+-----------------+
      cbr0               cbr0
      172.16.0.0/24      172.16.1.0/24
      fd00:172:16::/64   fd00:172:17::/64
        |                  |
      pod-0-0 (.10), ... pod-1-0 (.10), ...

Everyone knows the way to both pod networks. The client reaches the VIP networks through
node-0, where the service proxy under test runs. Pods send everything to their node,
their neighbours on cbr0 included: answers between two pods of one node must come back
through the kernel that translated the question.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network

from ipvsctl.model.net import IPAddress, IPFamily, IPNetwork, parse_address
from tests import addresses
from tests.lab.netns import Netns, connect, create

POD_NETWORKS = (
    (ip_network("172.16.0.0/24"), ip_network("fd00:172:16::/64")),
    (ip_network("172.16.1.0/24"), ip_network("fd00:172:17::/64")),
)
"""Per node, one per family."""

VIP_NETWORKS = (
    ip_network("10.96.0.0/12"),
    ip_network("198.51.100.0/24"),
    ip_network("203.0.113.0/24"),
    ip_network("fd00:10:96::/64"),
    ip_network("2001:db8:198::/64"),
    ip_network("2001:db8:203::/64"),
)
"""Cluster IPs, ingress VIPs and external IPs of each family; routed to node-0."""

_EXTERNAL_NETWORKS = (ip_network("192.168.3.0/24"), ip_network("fd00:192:168:3::/64"))
_EXTERNAL_ADDRESSES = ("192.168.3.175", "fd00:192:168:3::175")


DELAY_US = 200
"""Keeps a refusal from arriving during the very system call that asks.

A connecting TCP socket then ignores it, and asks again after a second
(net/ipv6/tcp_ipv6.c:tcp_v6_err).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A namespace with one address of each family."""

    netns: Netns
    ipv4: IPAddress
    ipv6: IPAddress

    @property
    def name(self) -> str:
        """The name in the picture: `node-0`, `pod-1-0`."""
        return self.netns.name

    def address(self, family: IPFamily) -> IPAddress:
        """The host's address of that family."""
        return self.ipv4 if family is IPFamily.IPV4 else self.ipv6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The picture above.

    Attributes:
        pods: by name, `pod-<node>-<number from 0>`.
    """

    nodes: tuple[Host, Host]
    client: Host
    external: Host
    pods: Mapping[str, Host]


@contextmanager
def cluster(
    pods: tuple[int, int] = (2, 2), *, delay_us: int = DELAY_US
) -> Iterator[Cluster]:
    """Build the picture, and take it down at the end of the block.

    Args:
        pods: how many pods each node has.
        delay_us: how long each link holds back a packet; 0 is not at all.
    """
    with ExitStack() as stack:
        underlay = stack.enter_context(create("underlay"))
        underlay.add_bridge("br0")
        nodes = (
            _underlay_host(stack, underlay, "node-0", "10", delay_us),
            _underlay_host(stack, underlay, "node-1", "11", delay_us),
        )
        client = _underlay_host(stack, underlay, "client", "100", delay_us)
        external = _underlay_host(stack, underlay, "external", "175", delay_us)
        for address in _EXTERNAL_ADDRESSES:
            # On lo, so that what the host itself sends comes from its other address.
            external.netns.add_address("lo", ip_interface(address))
        _add_underlay_routes(nodes, client, external)
        found = {}
        for number, node in enumerate(nodes):
            _make_router(node.netns, POD_NETWORKS[number])
            for pod in range(pods[number]):
                host = _pod(stack, node.netns, (number, pod), delay_us)
                found[host.name] = host
        yield Cluster(nodes=nodes, client=client, external=external, pods=found)


def _underlay_host(
    stack: ExitStack, underlay: Netns, name: str, number: str, delay_us: int
) -> Host:
    netns = stack.enter_context(create(name))
    connect(netns, "eth0", underlay, name)
    underlay.enslave(name, "br0")
    ipv4, ipv6 = f"10.0.0.{number}", f"fd00:10::{number}"
    netns.add_address("eth0", ip_interface(f"{ipv4}/24"))
    netns.add_address("eth0", ip_interface(f"{ipv6}/64"))
    return _delayed(netns, parse_address(ipv4), parse_address(ipv6), delay_us)


def _add_underlay_routes(
    nodes: tuple[Host, Host], client: Host, external: Host
) -> None:
    for host in (*nodes, client, external):
        for node, networks in zip(nodes, POD_NETWORKS, strict=True):
            if host is not node:
                _route(host, networks, node)
    for host in (*nodes, client):
        _route(host, _EXTERNAL_NETWORKS, external)
    _route(client, VIP_NETWORKS, nodes[0])


def _route(host: Host, networks: tuple[IPNetwork, ...], gateway: Host) -> None:
    for network in networks:
        via = gateway.ipv4 if network.version == 4 else gateway.ipv6
        host.netns.add_route(network, via=via)


def _make_router(node: Netns, networks: tuple[IPNetwork, ...]) -> None:
    node.sysctl("net/ipv4/ip_forward", "1")
    node.sysctl("net/ipv6/conf/all/forwarding", "1")
    node.add_bridge("cbr0")
    # The way from pod to pod leads in and out of cbr0; a redirect would cut it short.
    node.sysctl("net/ipv4/conf/all/send_redirects", "0")
    node.sysctl("net/ipv4/conf/cbr0/send_redirects", "0")
    for network in networks:
        node.add_address("cbr0", ip_interface((network[1], network.prefixlen)))


def _pod(
    stack: ExitStack, node: Netns, numbers: tuple[int, int], delay_us: int
) -> Host:
    """A pod, by the numbers of its node and of itself."""
    node_number, number = numbers
    netns = stack.enter_context(create(f"pod-{node_number}-{number}"))
    connect(netns, "eth0", node, netns.name)
    node.enslave(netns.name, "cbr0")
    # As network plugins do; with br_netfilter loaded, as the physdev match does, an
    # answer that a pod gave to itself goes straight back to its port
    # (net/bridge/br_netfilter_hooks.c:br_nf_pre_routing_finish).
    node.allow_hairpin(netns.name)
    ipv4_network, ipv6_network = POD_NETWORKS[node_number]
    ipv4 = ipv4_network[10 + number]
    ipv6 = parse_address(f"{ipv6_network[0]}{10 + number}")
    for address, network in ((ipv4, ipv4_network), (ipv6, ipv6_network)):
        netns.add_address("eth0", ip_interface(str(address)))
        netns.add_route(ip_network(network[1]), link="eth0")
        everything = ip_network("0.0.0.0/0" if network.version == 4 else "::/0")
        netns.add_route(everything, via=addresses.of(network[1]), link="eth0")
    return _delayed(netns, addresses.of(ipv4), ipv6, delay_us)


def _delayed(netns: Netns, ipv4: IPAddress, ipv6: IPAddress, delay_us: int) -> Host:
    for link in ("lo", "eth0") if delay_us else ():
        netns.add_delay(link, delay_us)
    return Host(netns=netns, ipv4=ipv4, ipv6=ipv6)
