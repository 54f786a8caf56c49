"""The fixed rules: what they do to packets, what they are, what changes them."""

from ipaddress import ip_address

import pytest

from ipvsctl.model.config import DetectLocalMode, ProxyConfig
from ipvsctl.model.ipset import SetEntry
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    Protocol,
    parse_address,
    parse_network,
)
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.rules import (
    ChainRef,
    Chains,
    Jump,
    MatchSet,
    Rule,
    RulesChange,
    Table,
    UnknownRule,
    Verdict,
)
from ipvsctl.model.state import NodeState
from ipvsctl.plan.catalogue import SetRole, set_name, set_spec
from ipvsctl.plan.chains import CLUSTER_IP_CLIENTS, OUR_CHAINS
from ipvsctl.plan.rules import desired_chains, plan_rules
from tests.plan.packets import Fate, Outcome, Packet, TraceError, trace

V4, V6 = IPFamily.IPV4, IPFamily.IPV6
BOTH = pytest.mark.parametrize("family", [V4, V6], ids=lambda family: family.label)

PREFIXES = {V4: "", V6: "::ffff:0:"}
HOSTS = {
    "node": "10.0.0.10",
    "other node": "10.0.0.11",
    "client": "203.0.113.5",
    "outsider": "192.0.2.66",
    "pod": "172.16.0.7",
    "neighbour": "172.16.0.8",
    "far pod": "172.16.1.7",
    "cluster ip": "10.96.0.10",
    "external ip": "198.51.100.1",
    "external ip local": "198.51.100.2",
    "ingress": "198.51.100.3",
    "ingress local": "198.51.100.4",
    "ranged": "198.51.100.5",
    "ranged for node": "198.51.100.6",
    "ranged around itself": "198.51.100.7",
    "unserved": "10.96.0.11",
}
NETWORKS = {
    V4: {"pods": "172.16.0.0/12", "clients": "203.0.113.0/24", "vips": "198.51.100.0/24"},
    V6: {"pods": "fd00:172::/32", "clients": "fd00:203::/32", "vips": "fd00:198::/32"},
}
HOST_LINKS = ("pod", "neighbour")


def address(family: IPFamily, name: str) -> IPAddress:
    """An address by its part in the story; IPv6 ones are named after the IPv4 ones."""
    text = HOSTS[name]
    if family is V4:
        return parse_address(text)
    first, *rest = text.split(".")
    return parse_address(f"fd00:{first}::{':'.join(rest)}")


def config(family: IPFamily = V4, **settings: object) -> ProxyConfig:
    """A configuration with the pods' network, and `settings` on top."""
    cidrs = (parse_network(NETWORKS[family]["pods"]),)
    return ProxyConfig(**{"cluster_cidrs": cidrs, **settings})  # type: ignore[arg-type]


NODE = NodeContext(
    name="node-0",
    pod_cidrs=(parse_network("172.16.0.0/24"), parse_network("fd00:172:16::/64")),
)


def chains(
    family: IPFamily, settings: ProxyConfig | None = None, node: NodeContext = NODE
) -> Chains:
    """The desired chains, by default with one pod network."""
    return desired_chains(family, settings or config(family), node, random_fully=True)


SERVED = (
    ("cluster ip", 80, {SetRole.CLUSTER_IP}),
    ("cluster ip", 30080, {SetRole.CLUSTER_IP}),
    ("node", 30080, {SetRole.NODE_PORT}),
    ("node", 30081, {SetRole.NODE_PORT, SetRole.NODE_PORT_LOCAL}),
    ("external ip", 80, {SetRole.EXTERNAL_IP}),
    ("external ip local", 80, {SetRole.EXTERNAL_IP_LOCAL}),
    ("ingress", 80, {SetRole.LOAD_BALANCER}),
    ("ingress local", 80, {SetRole.LOAD_BALANCER, SetRole.LOAD_BALANCER_LOCAL}),
    ("ranged", 80, {SetRole.LOAD_BALANCER, SetRole.LOAD_BALANCER_FW}),
    ("ranged for node", 80, {SetRole.LOAD_BALANCER, SetRole.LOAD_BALANCER_FW}),
    ("ranged around itself", 80, {SetRole.LOAD_BALANCER, SetRole.LOAD_BALANCER_FW}),
)


def entries(
    family: IPFamily, protocol: Protocol
) -> dict[SetRole, frozenset[SetEntry]]:
    """Entries of every set for the services in `SERVED`."""
    found: dict[SetRole, set[SetEntry]] = {role: set() for role in SetRole}
    for name, port, roles in SERVED:
        vip = address(family, name)
        for role in roles:
            found[role].add(SetEntry(address=vip, protocol=protocol, port=port))
        if name != "node":
            found[SetRole.IPVS_IPS].add(SetEntry(address=vip))
    found[SetRole.IPVS_IPS].add(SetEntry(address=address(family, "unserved")))
    unserved = SetEntry(
        address=address(family, "unserved"), protocol=protocol, port=80
    )
    found[SetRole.CLUSTER_IP].add(unserved)
    ranges = (("ranged", "clients"), ("ranged for node", "clients"))
    for name, network in (*ranges, ("ranged around itself", "vips")):
        found[SetRole.LOAD_BALANCER_SOURCE_CIDR].add(
            SetEntry(
                address=address(family, name),
                protocol=protocol,
                port=80,
                network=parse_network(NETWORKS[family][network]),
            )
        )
    covered = address(family, "ranged for node")
    found[SetRole.LOAD_BALANCER_SOURCE_IP].add(
        SetEntry(address=covered, protocol=protocol, port=80, second_address=covered)
    )
    pod = address(family, "pod")
    found[SetRole.LOOP_BACK].add(
        SetEntry(address=pod, protocol=protocol, port=8080, second_address=pod)
    )
    found[SetRole.HEALTH_CHECK_NODE_PORT].add(SetEntry(port=32000))
    return {role: frozenset(held) for role, held in found.items()}


def node_state(
    family: IPFamily,
    settings: ProxyConfig | None = None,
    protocol: Protocol = Protocol.TCP,
) -> NodeState:
    """A node with every way in; `pod` (here) and `far pod` serve all of them."""
    keys = [
        VirtualServerKey(
            family=family, protocol=protocol, address=address(family, name), port=port
        )
        for name, port, _ in (*SERVED, ("unserved", 80, set()))
    ]
    servers = [
        RealServer(key=RealServerKey(address(family, name), 8080))
        for name in ("pod", "far pod")
    ]
    held = entries(family, protocol)
    specs = [set_spec(role, family, maxelem=1024) for role in SetRole]
    return NodeState(
        vip_link_up=True,
        sets={spec.name: spec for spec in specs},
        entries={set_name(role, family): held[role] for role in SetRole},
        chains={family: chains(family, settings)},
        virtual_servers={
            key: VirtualServer(key=key, scheduler="rr", netmask_bits=family.bits)
            for key in keys
        },
        real_servers={
            key: {server.key: server for server in servers} for key in keys[:-1]
        },
        addresses=frozenset(
            entry.address for entry in held[SetRole.IPVS_IPS] if entry.address
        ),
    )


def send(
    state: NodeState,
    family: IPFamily,
    source: str,
    destination: str,
    port: int = 80,
    **fields: object,
) -> Outcome:
    """Send a packet; from `vip` is the host using the address it talks to."""
    from_host = source in {"node", "vip"}
    link = "" if from_host else ("veth0" if source in HOST_LINKS else "eth0")
    packet = Packet(
        source=address(family, destination if source == "vip" else source),
        destination=address(family, destination),
        port=port,
        in_interface=link,
        **fields,  # type: ignore[arg-type]
    )
    return trace(state, packet, host_addresses={address(family, "node")})


@BOTH
@pytest.mark.parametrize("protocol", Protocol, ids=lambda protocol: protocol.label)
@pytest.mark.parametrize(
    ("source", "destination", "port", "masqueraded"),
    [
        ("neighbour", "cluster ip", 80, False),
        ("client", "cluster ip", 80, True),
        ("node", "cluster ip", 80, True),
        ("vip", "cluster ip", 80, True),
        ("neighbour", "cluster ip", 30080, False),
        ("client", "node", 30080, True),
        ("neighbour", "node", 30080, True),
        ("node", "node", 30080, True),
        ("client", "node", 30081, False),
        ("neighbour", "external ip", 80, True),
        ("client", "external ip", 80, True),
        ("vip", "external ip", 80, True),
        ("client", "external ip local", 80, False),
        ("neighbour", "external ip local", 80, False),
        ("client", "ingress", 80, True),
        ("neighbour", "ingress", 80, True),
        ("vip", "ingress", 80, True),
        ("client", "ingress local", 80, False),
        ("client", "ranged", 80, True),
    ],
)
def test_who_is_masqueraded(
    family: IPFamily,
    protocol: Protocol,
    source: str,
    destination: str,
    port: int,
    *,
    masqueraded: bool,
) -> None:
    """What may cross nodes is masqueraded; pods and clients of Local keep addresses.

    A cluster IP's port 30080 is not node port 30080.
    """
    state = node_state(family, protocol=protocol)

    outcome = send(state, family, source, destination, port, protocol=protocol)

    assert outcome.fate is Fate.BALANCED, outcome.path
    assert len(outcome.endpoints) == 2
    assert outcome.is_masqueraded is masqueraded, outcome.path


@BOTH
@pytest.mark.parametrize(
    "destination", ["cluster ip", "ingress local", "external ip local"]
)
def test_hairpin_is_masqueraded(family: IPFamily, destination: str) -> None:
    """A pod balanced to itself is masqueraded, and only then."""
    outcome = send(node_state(family), family, "pod", destination)

    masqueraded = {d.endpoint.address: d.masqueraded for d in outcome.deliveries}
    assert masqueraded == {
        address(family, "pod"): True,
        address(family, "far pod"): False,
    }


@BOTH
@pytest.mark.parametrize(
    ("source", "destination", "fate"),
    [
        ("client", "ranged", Fate.BALANCED),
        ("outsider", "ranged", Fate.DROPPED),
        ("pod", "ranged", Fate.DROPPED),
        ("vip", "ranged", Fate.DROPPED),
        ("node", "ranged", Fate.DROPPED),
        ("vip", "ranged for node", Fate.BALANCED),
        ("outsider", "ranged for node", Fate.DROPPED),
        ("vip", "ranged around itself", Fate.DROPPED),
        ("client", "ranged around itself", Fate.DROPPED),
        ("outsider", "ingress", Fate.BALANCED),
        ("vip", "ingress", Fate.BALANCED),
    ],
)
def test_source_ranges(
    family: IPFamily, source: str, destination: str, fate: Fate
) -> None:
    """Only sources in a range reach a VIP that has ranges, and the host if it is in one.

    A range around the VIP does not let in a host that uses the VIP as its address.
    """
    outcome = send(node_state(family), family, source, destination)

    assert outcome.fate is fate, outcome.path


@BOTH
def test_source_range_covers_the_nodes_own_address(family: IPFamily) -> None:
    """The host is let in by its own address when it is the packet's source."""
    state = node_state(family)
    name = set_name(SetRole.LOAD_BALANCER_SOURCE_CIDR, family)
    source = address(family, "node")
    ranged = SetEntry(
        address=address(family, "ranged"),
        protocol=Protocol.TCP,
        port=80,
        network=parse_network(f"{source}/{family.bits}"),
    )
    state.entries[name].__or__({ranged})
    wider = {**state.entries, name: state.entries[name] | {ranged}}
    state = NodeState(
        sets=state.sets,
        entries=wider,
        chains=state.chains,
        virtual_servers=state.virtual_servers,
        real_servers=state.real_servers,
        addresses=state.addresses,
    )

    assert send(state, family, "node", "ranged").fate is Fate.BALANCED
    assert send(state, family, "vip", "ranged").fate is Fate.DROPPED


@BOTH
@pytest.mark.parametrize(
    ("source", "destination", "port", "fate"),
    [
        ("client", "cluster ip", 22, Fate.REJECTED),
        ("pod", "ingress", 22, Fate.REJECTED),
        ("vip", "cluster ip", 22, Fate.REJECTED),
        ("client", "unserved", 80, Fate.REJECTED),
        ("client", "node", 22, Fate.LOCAL),
        ("node", "node", 22, Fate.LOCAL),
        ("client", "node", 32000, Fate.LOCAL),
        ("client", "ingress", 32000, Fate.LOCAL),
        ("pod", "far pod", 8080, Fate.ROUTED),
        ("node", "other node", 6443, Fate.ROUTED),
    ],
)
def test_what_is_not_balanced(
    family: IPFamily, source: str, destination: str, port: int, fate: Fate
) -> None:
    """A VIP has no port but those of its services; a host address has all of its own."""
    outcome = send(node_state(family), family, source, destination, port)

    assert outcome.fate is fate, outcome.path
    assert not outcome.masqueraded


@BOTH
def test_health_check_node_port_is_accepted(family: IPFamily) -> None:
    """A firewall further down in INPUT does not see health checks."""
    path = send(node_state(family), family, "client", "node", 32000).path

    assert path[-1] == "filter KUBE-NODE-PORT: ACCEPT"


@pytest.mark.parametrize(
    ("family", "icmp", "ctstate", "fate"),
    [
        (V4, (8, 0), "NEW", Fate.LOCAL),
        (V4, (3, 4), "NEW", Fate.LOCAL),
        (V4, (3, 4), "INVALID", Fate.LOCAL),
        (V4, (3, 3), "NEW", Fate.REJECTED),
        (V4, (13, 0), "NEW", Fate.REJECTED),
        (V6, (128, 0), "NEW", Fate.LOCAL),
        (V6, (2, 0), "NEW", Fate.LOCAL),
        (V6, (135, 0), "UNTRACKED", Fate.LOCAL),
        (V6, (136, 0), "UNTRACKED", Fate.LOCAL),
        (V6, (139, 0), "NEW", Fate.REJECTED),
    ],
)
def test_icmp_to_a_vip(
    family: IPFamily, icmp: tuple[int, int], ctstate: str, fate: Fate
) -> None:
    """Pings, path MTU and neighbour discovery reach a VIP; other queries do not."""
    outcome = send(
        node_state(family),
        family,
        "client",
        "ranged",
        protocol=None,
        icmp=icmp,
        ctstate=ctstate,
    )

    assert outcome.fate is fate, outcome.path


@BOTH
@pytest.mark.parametrize(
    ("mark", "ctstate", "accepted"),
    [(0x4000, "NEW", True), (0, "ESTABLISHED", True), (0, "NEW", False)],
)
def test_forwarding_of_service_traffic(
    family: IPFamily, mark: int, ctstate: str, *, accepted: bool
) -> None:
    """Masqueraded packets and replies pass FORWARD whatever its policy is."""
    outcome = send(
        node_state(family), family, "far pod", "pod", 9, mark=mark, ctstate=ctstate
    )

    assert ("filter KUBE-FORWARD: ACCEPT" in outcome.path) is accepted


@BOTH
@pytest.mark.parametrize(
    ("settings", "links", "expected"),
    [
        ({}, "veth0", {"neighbour": False, "client": True, "vip": True}),
        (
            {"detect_local_mode": DetectLocalMode.NODE_CIDR},
            "veth0",
            {"neighbour": True, "far pod": True, "client": True, "vip": True},
        ),
        (
            {
                "detect_local_mode": DetectLocalMode.INTERFACE_NAME_PREFIX,
                "interface_name_prefix": "veth",
            },
            "veth0",
            {"neighbour": False, "client": True, "vip": True},
        ),
        (
            {
                "detect_local_mode": DetectLocalMode.BRIDGE_INTERFACE,
                "bridge_interface": "veth0",
            },
            "veth0",
            {"neighbour": False, "client": True, "vip": True},
        ),
        (
            {"masquerade_all": True},
            "veth0",
            {"neighbour": True, "client": True, "vip": True},
        ),
        (
            {"cluster_cidrs": ()},
            "veth0",
            {"neighbour": False, "client": False, "vip": True},
        ),
        (
            {"detect_local_mode": DetectLocalMode.BRIDGE_INTERFACE},
            "veth0",
            {"neighbour": False, "client": False, "vip": True},
        ),
    ],
)
def test_whose_packets_to_a_cluster_ip_are_masqueraded(
    family: IPFamily,
    settings: dict[str, object],
    links: str,
    expected: dict[str, bool],
) -> None:
    """Each way to tell pods from outside clients masquerades the latter.

    With none, only the host is masqueraded, since it uses the VIP as its address.
    """
    del links
    state = node_state(family, config(family, **settings))

    found = {
        source: send(state, family, source, "cluster ip").is_masqueraded
        for source in expected
    }

    assert found == expected


