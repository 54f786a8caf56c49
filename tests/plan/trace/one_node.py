"""A node with one service for every way in, and a way to send packets to it."""

from collections.abc import Set as AbstractSet

import msgspec
import pytest

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    IPNetwork,
    Protocol,
    parse_address,
    parse_network,
)
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.rules import (
    Chains,
    Rule,
    UnknownRule,
)
from ipvsctl.model.sets import SetEntry, SetRole, SetShape, set_key
from ipvsctl.model.state import NodeState
from ipvsctl.plan.rules.filter_mangle import desired_chains
from ipvsctl.plan.trace.outcome import Outcome
from ipvsctl.plan.trace.packet import Packet
from ipvsctl.plan.trace.packets import trace

V4, V6 = IPFamily.IPV4, IPFamily.IPV6
BOTH = pytest.mark.parametrize("family", [V4, V6], ids=lambda family: family.label)

HOSTS = {
    "node": ("10.0.0.10", "fd00:10::10"),
    "other node": ("10.0.0.11", "fd00:10::11"),
    "client": ("10.0.0.100", "fd00:10::100"),
    "outsider": ("10.0.0.175", "fd00:10::175"),
    "pod": ("172.16.0.10", "fd00:172:16::10"),
    "neighbour": ("172.16.0.11", "fd00:172:16::11"),
    "far pod": ("172.16.1.10", "fd00:172:17::10"),
    "cluster ip": ("10.96.0.10", "fd00:10:96::10"),
    "unserved": ("10.96.0.11", "fd00:10:96::11"),
    "external ip": ("203.0.113.1", "2001:db8:203::1"),
    "external ip local": ("203.0.113.2", "2001:db8:203::2"),
    "external ip elsewhere": ("203.0.113.3", "2001:db8:203::3"),
    "ingress": ("198.51.100.1", "2001:db8:198::1"),
    "ingress local": ("198.51.100.2", "2001:db8:198::2"),
    "ranged": ("198.51.100.3", "2001:db8:198::3"),
    "ranged for node": ("198.51.100.4", "2001:db8:198::4"),
    "ranged around itself": ("198.51.100.5", "2001:db8:198::5"),
}
NETWORKS = {
    "pods": ("172.16.0.0/12", "fd00:172::/32"),
    "clients": ("10.0.0.96/28", "fd00:10::100/124"),
    "vips": ("198.51.100.0/24", "2001:db8:198::/64"),
}
HOST_LINKS = ("pod", "neighbour")


def address(family: IPFamily, name: str) -> IPAddress:
    """An address by its part in the story."""
    return parse_address(HOSTS[name][family is V6])


def network(family: IPFamily, name: str) -> IPNetwork:
    """A network by its part in the story."""
    return parse_network(NETWORKS[name][family is V6])


def config(family: IPFamily = V4, **settings: object) -> ProxyConfig:
    """A configuration with the pods' network, and `settings` on top."""
    cidrs = (network(family, "pods"),)
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


LOCAL = {
    SetRole.EXTERNAL_IP_LOCAL,
    SetRole.LOAD_BALANCER_LOCAL,
    SetRole.NODE_PORT_LOCAL,
}
SERVED = (
    ("cluster ip", 80, {SetRole.CLUSTER_IP}),
    ("cluster ip", 30080, {SetRole.CLUSTER_IP}),
    ("unserved", 80, {SetRole.CLUSTER_IP}),
    ("node", 30080, {SetRole.NODE_PORT}),
    ("node", 30081, {SetRole.NODE_PORT, SetRole.NODE_PORT_LOCAL}),
    ("external ip", 80, {SetRole.EXTERNAL_IP}),
    ("external ip local", 80, {SetRole.EXTERNAL_IP_LOCAL}),
    (
        "external ip elsewhere",
        80,
        {SetRole.EXTERNAL_IP_LOCAL, SetRole.NO_LOCAL_ENDPOINTS},
    ),
    ("ingress", 80, {SetRole.LOAD_BALANCER}),
    ("ingress local", 80, {SetRole.LOAD_BALANCER, SetRole.LOAD_BALANCER_LOCAL}),
    ("ranged", 80, {SetRole.LOAD_BALANCER, SetRole.LOAD_BALANCER_FW}),
    ("ranged for node", 80, {SetRole.LOAD_BALANCER, SetRole.LOAD_BALANCER_FW}),
    ("ranged around itself", 80, {SetRole.LOAD_BALANCER, SetRole.LOAD_BALANCER_FW}),
)
MARKS = {
    (name, port): config().marks.mark(index)
    for index, (name, port, roles) in enumerate(SERVED)
    if roles & LOCAL
}
"""The fwmark of what inside clients get at each Local address."""


def entries(family: IPFamily, protocol: Protocol) -> dict[SetRole, frozenset[SetEntry]]:
    """Entries of every set for the services in `SERVED`."""
    found: dict[SetRole, set[SetEntry]] = {role: set() for role in SetRole}
    for name, port, roles in SERVED:
        vip = address(family, name)
        entry = SetEntry(address=vip, protocol=protocol, port=port)
        for role in roles:
            found[role].add(entry)
        if (name, port) in MARKS:
            marked = msgspec.structs.replace(entry, mark=MARKS[name, port])
            found[SetRole.SHORT_CIRCUIT].add(marked)
        if name != "node":
            found[SetRole.IPVS_IPS].add(SetEntry(address=vip))
    ranges = (("ranged", "clients"), ("ranged for node", "clients"))
    for name, source in (*ranges, ("ranged around itself", "vips")):
        found[SetRole.LOAD_BALANCER_SOURCE_CIDR].add(
            SetEntry(
                address=address(family, name),
                protocol=protocol,
                port=80,
                network=network(family, source),
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
    """A node with every way in; `pod` (here) and `far pod` serve what is not Local.

    Inside clients get both where outside clients get `pod` alone, and `far pod` where
    outside clients get nobody.
    """
    held = entries(family, protocol)
    served = {
        VirtualServerKey(
            family=family, protocol=protocol, address=address(family, name), port=port
        ): _real_servers(family, name, roles)
        for name, port, roles in SERVED
    }
    for (name, _), mark in MARKS.items():
        inside = VirtualServerKey(family=family, fwmark=mark)
        served[inside] = _real_servers(family, f"{name} from inside", frozenset())
    return NodeState(
        vip_link_up=True,
        sets={set_key(role, family): SetShape(1024) for role in SetRole},
        entries={set_key(role, family): held[role] for role in SetRole},
        chains={family: chains(family, settings)},
        virtual_servers={
            key: VirtualServer(key=key, scheduler="rr", netmask_bits=family.bits)
            for key in served
        },
        real_servers={
            key: {server.key: server for server in servers}
            for key, servers in served.items()
        },
        addresses=frozenset(
            entry.address for entry in held[SetRole.IPVS_IPS] if entry.address
        ),
    )


_ELSEWHERE: dict[str, list[str]] = {
    "unserved": [],
    "external ip elsewhere": [],
    "external ip elsewhere from inside": ["far pod"],
}


def _real_servers(
    family: IPFamily, name: str, roles: AbstractSet[SetRole]
) -> list[RealServer]:
    pods = ["pod"] if roles & LOCAL else ["pod", "far pod"]
    pods = _ELSEWHERE.get(name, pods)
    return [RealServer(key=RealServerKey(address(family, pod), 8080)) for pod in pods]


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


def known(rules: tuple[Rule | UnknownRule, ...]) -> tuple[Rule, ...]:
    """Rules of a chain that has no unknown one."""
    assert not any(isinstance(rule, UnknownRule) for rule in rules)
    return tuple(rule for rule in rules if isinstance(rule, Rule))
