"""The same small cluster several times, its first node with or without a proxy."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

import msgspec

from ipvsctl.kernel.nftables_firewall import NftablesFirewall
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.errors import KernelError
from ipvsctl.model.net import IPFamily, parse_address
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.kernel.kube_proxys_node import events, feed, install, run
from tests.kernel.node import CONFIG, proxied
from tests.lab.netns import Netns
from tests.lab.rule_counts import Read, count_iptables, count_nftables
from tests.lab.single_packets import Place
from tests.lab.topology import Cluster, cluster
from tests.peer.kube_proxy_endpoints import Raw

NO_PROXY: Final = "no proxy"
TRACKED: Final = "connections tracked"
IPVS_ALONE: Final = "IPVS alone"
KUBE_PROXY: Final = "kube-proxy"
EXTRA_RULES: Final = 500
RULES: Final = f"{EXTRA_RULES} rules"
"""That ask a set and match nothing, to see what one of them costs."""

POD_TO_POD: Final = "pod to pod"
WAYS: Final = (
    "pod to cluster IP",
    "node to cluster IP",
    "outside to node port",
    POD_TO_POD,
)
"""The names of the ways; the last one is past all Services."""

TCP_PORT: Final = 8080
_UDP_PORT: Final = 5353
_VIP: Final = "10.96.0.1"
_NODE: Final = "10.0.0.10"
_NODE_PORT: Final = 30_000

_IPSET: Final = ("create bench hash:ip,port", "add bench 192.0.2.1,tcp:1")
_IPTABLES_RULE: Final = "-A FORWARD -m set --match-set bench dst,dst -j ACCEPT"
_NFT_RULE: Final = "ip daddr . meta l4proto . th dport @some accept"
_NFT_TABLE: Final = """
table ip bench {{
  set some {{
    type ipv4_addr . inet_proto . inet_service
    elements = {{ 192.0.2.1 . tcp . 1 }}
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    {rules}
    ct state invalid accept
  }}
}}
"""


class Way(NamedTuple):
    """Who asks whom.

    Attributes:
        client: asks.
        pod: answers.
        asked: the address that the client asks.
        endpoint: where the pod listens.
    """

    client: Netns
    pod: Netns
    asked: Place
    endpoint: Place


class World(NamedTuple):
    """A cluster whose first node has one kind of proxy.

    Attributes:
        proxy: its name in the figures.
        services: how many it serves.
        ways: by name.
        begin_count: begins to count the rules that packets meet, and reads the count.
    """

    proxy: str
    services: int
    ways: dict[str, Way]
    begin_count: Callable[[], Read]


@contextmanager
def worlds(sizes: tuple[int, ...]) -> Iterator[list[World]]:
    """All that there are on this kernel, the one without a proxy first.

    Nftables may be missing.

    Args:
        sizes: numbers of Services, for those that have a proxy.
    """
    with ExitStack() as stack:
        found = [
            _world(stack, NO_PROXY, 0, _leave),
            _world(stack, TRACKED, 0, _track),
            _world(stack, IPVS_ALONE, 1, _ipvs_alone),
        ]
        firewalls = _firewalls()
        found += [
            _world(stack, f"{RULES} of {kind}", 0, _rules(kind)) for kind in firewalls
        ]
        for size in sizes:
            found.append(_world(stack, KUBE_PROXY, size, _kube_proxy))
            found += [_world(stack, str(kind), size, _ours(kind)) for kind in firewalls]
        yield found


def _firewalls() -> tuple[FirewallKind, ...]:
    try:
        NftablesFirewall.open((IPFamily.IPV4,)).close()
    except KernelError:
        return (FirewallKind.IPTABLES,)
    return (FirewallKind.IPTABLES, FirewallKind.NFTABLES)


_Make = Callable[[Cluster, int], Callable[[], Read]]


def _world(stack: ExitStack, proxy: str, services: int, make: _Make) -> World:
    # Nothing is refused here, and to hold packets back would hide what they cost.
    built = stack.enter_context(cluster(pods=(2, 0), delay_us=0))
    count = make(built, services)
    return World(proxy, services, _ways(built, services, proxy), count)


def _ways(built: Cluster, services: int, proxy: str) -> dict[str, Way]:
    pod = built.pods["pod-0-0"]
    endpoint = Place(pod.ipv4, TCP_PORT, _UDP_PORT)
    vip = Place(parse_address(_VIP), 80, 53)
    node_port = Place(parse_address(_NODE), _NODE_PORT, _NODE_PORT)
    neighbour = built.pods["pod-0-1"].netns
    asked = (
        (neighbour, vip),
        (built.nodes[0].netns, vip),
        (built.client.netns, node_port),
    )
    # Past all Services is the last one.
    ways = dict(zip(WAYS, asked, strict=False))
    if proxy.startswith(RULES):
        # They are where packets are forwarded.
        ways = {}
    elif not services:
        ways = {name: (client, endpoint) for name, (client, _) in ways.items()}
    elif proxy == IPVS_ALONE:
        # Without rules nothing is masqueraded, and only this way goes without.
        ways = {WAYS[0]: ways[WAYS[0]]}
    ways[POD_TO_POD] = (neighbour, endpoint)
    return {
        name: Way(client, pod.netns, asked, endpoint)
        for name, (client, asked) in ways.items()
    }


def objects(services: int) -> list[Raw]:
    """A node, and Services with every way in; the first is for TCP and UDP."""
    found: list[Raw] = [raw_node("node-0", _NODE)]
    for number in range(services):
        name, last = f"web-{number}", f"{number // 250}.{1 + number % 250}"
        ports = {"http": ("TCP", 80, TCP_PORT), "dns": ("UDP", 53, _UDP_PORT)}
        if number:
            del ports["dns"]
        found += [
            raw_service(
                name,
                ingress=[{"ip": f"100.65.{last}"}],
                type="LoadBalancer",
                clusterIP=f"10.96.{last}",
                clusterIPs=[f"10.96.{last}"],
                externalIPs=[f"100.66.{last}"],
                ports=[
                    {
                        "name": label,
                        "protocol": protocol,
                        "port": port,
                        "nodePort": _NODE_PORT + number,
                    }
                    for label, (protocol, port, _) in ports.items()
                ],
            ),
            raw_slice(
                name,
                raw_endpoint("172.16.0.10"),
                service=name,
                ports=[
                    {"name": label, "protocol": protocol, "port": target}
                    for label, (protocol, _, target) in ports.items()
                ],
            ),
        ]
    return found


def _leave(built: Cluster, _services: int) -> Callable[[], Read]:
    """No proxy."""
    return lambda: count_iptables(built.nodes[0].netns)


def _track(built: Cluster, services: int) -> Callable[[], Read]:
    """No proxy, but a rule for which the kernel tracks connections."""
    node = built.nodes[0].netns
    rule = "-A FORWARD -m conntrack --ctstate INVALID"
    run(node, "iptables", *rule.split())
    return _leave(built, services)


def _rules(kind: FirewallKind) -> _Make:
    """No proxy, but many rules."""

    def make(built: Cluster, services: int) -> Callable[[], Read]:
        node = built.nodes[0].netns
        if kind is FirewallKind.NFTABLES:
            text = _NFT_TABLE.format(rules=f"{_NFT_RULE}\n" * EXTRA_RULES)
            feed(node, ["nft", "-f", "-"], [text])
            return lambda: count_nftables(node, "ip bench")
        feed(node, ["ipset", "restore"], _IPSET)
        rules = [_IPTABLES_RULE] * EXTRA_RULES
        lines = ["*filter", *rules, "COMMIT"]
        feed(node, ["iptables-restore", "--noflush"], lines)
        return _track(built, services)

    return make


def _ipvs_alone(built: Cluster, services: int) -> Callable[[], Read]:
    """Virtual servers and VIPs without any rule."""
    node = built.nodes[0].netns
    _kube_proxy(built, services)
    for table in ("filter", "nat"):
        run(node, "iptables", "-t", table, "-F")
        run(node, "iptables", "-t", table, "-X")
    return _leave(built, services)


def _kube_proxy(built: Cluster, services: int) -> Callable[[], Read]:
    """What kube-proxy makes of the Services, by its own tools."""
    install(built.nodes[0].netns, objects(services))
    return _leave(built, services)


def _ours(kind: FirewallKind) -> _Make:
    def make(built: Cluster, services: int) -> Callable[[], Read]:
        node = built.nodes[0].netns
        config = msgspec.structs.replace(CONFIG, firewall=kind)
        with proxied(node, "node-0", config) as proxy:
            proxy.take(*events(objects(services)))
            proxy.audit()
        if kind is FirewallKind.NFTABLES:
            return lambda: count_nftables(node, "ip ipvsctl")
        return lambda: count_iptables(node)

    return make
