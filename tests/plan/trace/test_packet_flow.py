"""What the fixed rules do to packets, as kube-proxy's users know it."""

import msgspec
import pytest

from ipvsctl.model.config import Compatibility, DetectLocalMode
from ipvsctl.model.errors import TraceError
from ipvsctl.model.net import (
    IPFamily,
    Protocol,
    parse_network,
)
from ipvsctl.model.rules import (
    ChainRef,
    Rule,
    SetXMark,
    Table,
    UnknownRule,
)
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.model.state import NodeState
from ipvsctl.plan.rules.chains import CLUSTER_IP_CLIENTS
from ipvsctl.plan.trace.outcome import Fate
from ipvsctl.plan.trace.packet import Packet
from ipvsctl.plan.trace.packets import trace
from tests.plan.trace.one_node import (
    BOTH,
    V4,
    V6,
    address,
    chains,
    config,
    known,
    node_state,
    send,
)


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
        ("neighbour", "node", 30081, False),
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
    assert outcome.is_masqueraded is masqueraded, outcome.path


HERE, EVERYWHERE, FAR = {"pod"}, {"pod", "far pod"}, {"far pod"}


@BOTH
@pytest.mark.parametrize("protocol", Protocol, ids=lambda protocol: protocol.label)
@pytest.mark.parametrize(
    ("source", "destination", "port", "pods", "masqueraded"),
    [
        ("client", "external ip local", 80, HERE, False),
        ("neighbour", "external ip local", 80, EVERYWHERE, False),
        ("vip", "external ip local", 80, EVERYWHERE, True),
        ("node", "external ip local", 80, EVERYWHERE, True),
        ("client", "ingress local", 80, HERE, False),
        ("neighbour", "ingress local", 80, EVERYWHERE, False),
        ("vip", "ingress local", 80, EVERYWHERE, True),
        ("client", "node", 30081, HERE, False),
        ("neighbour", "node", 30081, EVERYWHERE, False),
        ("node", "node", 30081, EVERYWHERE, True),
        ("neighbour", "external ip elsewhere", 80, FAR, False),
        ("vip", "external ip elsewhere", 80, FAR, True),
    ],
)
def test_short_circuit(
    family: IPFamily,
    protocol: Protocol,
    source: str,
    destination: str,
    port: int,
    pods: set[str],
    *,
    masqueraded: bool,
) -> None:
    """Inside clients of a Local address reach the cluster, others this node.

    Pods keep their address; what the host sends must come back to it.
    """
    state = node_state(family, protocol=protocol)

    outcome = send(state, family, source, destination, port, protocol=protocol)

    found = {delivery.endpoint.address for delivery in outcome.deliveries}
    assert found == {address(family, pod) for pod in pods}, outcome.path
    assert outcome.is_masqueraded is masqueraded, outcome.path


@BOTH
def test_outside_clients_of_an_endpoint_elsewhere_are_dropped(family: IPFamily) -> None:
    """Not refused; and a connection that was there before goes on to its end."""
    state = node_state(family)

    new = send(state, family, "client", "external ip elsewhere")
    old = send(state, family, "client", "external ip elsewhere", ctstate="ESTABLISHED")

    assert new.fate is Fate.DROPPED, new.path
    assert old.fate is Fate.REJECTED, "by IPVS, which knows of no connection here"


@BOTH
def test_a_mark_of_other_agents_breaks_the_short_circuit(family: IPFamily) -> None:
    """IPVS compares the whole mark: another bit leaves the address's own endpoints."""
    state = node_state(family)
    inside = ChainRef(Table.MANGLE, "KUBE-IPVS-INSIDE")
    other = Rule(target=SetXMark(0x100000, 0x100000))
    edited = {**state.chains[family], inside: (*state.chains[family][inside], other)}
    state = msgspec.structs.replace(state, chains={family: edited})

    outcome = send(state, family, "neighbour", "external ip local")

    assert {d.endpoint.address for d in outcome.deliveries} == {address(family, "pod")}


@BOTH
def test_a_mark_without_a_virtual_server_does_no_harm(family: IPFamily) -> None:
    """IPVS then goes by the address."""
    state = node_state(family)
    servers = {k: v for k, v in state.virtual_servers.items() if not k.fwmark}
    state = msgspec.structs.replace(state, virtual_servers=servers)

    outcome = send(state, family, "neighbour", "external ip local")

    assert {d.endpoint.address for d in outcome.deliveries} == {address(family, "pod")}


@BOTH
@pytest.mark.parametrize(
    ("settings", "pods"),
    [
        ({}, EVERYWHERE),
        ({"cluster_cidrs": ()}, HERE),
        (
            {
                "cluster_cidrs": (),
                "detect_local_mode": DetectLocalMode.INTERFACE_NAME_PREFIX,
                "interface_name_prefix": "veth",
            },
            EVERYWHERE,
        ),
        (
            {
                "detect_local_mode": DetectLocalMode.BRIDGE_INTERFACE,
                "bridge_interface": "veth0",
            },
            EVERYWHERE,
        ),
        ({"compatibility": Compatibility.KUBE_PROXY}, HERE),
    ],
)
def test_who_is_inside(
    family: IPFamily, settings: dict[str, object], pods: set[str]
) -> None:
    """Each way to tell pods from outside clients does; without any none is inside."""
    state = node_state(family, config(family, **settings))

    outcome = send(state, family, "neighbour", "ingress local")

    found = {delivery.endpoint.address for delivery in outcome.deliveries}
    assert found == {address(family, pod) for pod in pods}, outcome.path


@BOTH
@pytest.mark.parametrize(
    "destination", ["cluster ip", "ingress local", "external ip local"]
)
def test_hairpin_is_masqueraded(family: IPFamily, destination: str) -> None:
    """A pod balanced to itself is masqueraded, and only then."""
    outcome = send(node_state(family), family, "pod", destination)

    assert outcome.deliveries
    for delivery in outcome.deliveries:
        to_itself = delivery.endpoint.address == address(family, "pod")
        assert delivery.masqueraded is to_itself


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
    """Only sources in a range reach a VIP that has ranges, the host among them.

    A range around the VIP does not let in a host that uses the VIP as its address.
    """
    outcome = send(node_state(family), family, source, destination)

    assert outcome.fate is fate, outcome.path


@BOTH
def test_source_range_covers_the_nodes_own_address(family: IPFamily) -> None:
    """The host is let in by its own address when it is the packet's source."""
    state = node_state(family)
    key = set_key(SetRole.LOAD_BALANCER_SOURCE_CIDR, family)
    source = address(family, "node")
    ranged = SetEntry(
        address=address(family, "ranged"),
        protocol=Protocol.TCP,
        port=80,
        network=parse_network(f"{source}/{family.bits}"),
    )
    wider = {**state.entries, key: state.entries[key] | {ranged}}
    state = msgspec.structs.replace(state, entries=wider)

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
    """A VIP has no port but its services'; a host address has all of its own."""
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
    ("settings", "expected"),
    [
        ({}, {"neighbour": False, "client": True, "vip": True}),
        (
            {"detect_local_mode": DetectLocalMode.NODE_CIDR},
            {"neighbour": False, "far pod": True, "client": True, "vip": True},
        ),
        (
            {
                "detect_local_mode": DetectLocalMode.INTERFACE_NAME_PREFIX,
                "interface_name_prefix": "veth",
            },
            {"neighbour": False, "client": True, "vip": True},
        ),
        (
            {
                "detect_local_mode": DetectLocalMode.BRIDGE_INTERFACE,
                "bridge_interface": "veth0",
            },
            {"neighbour": False, "client": True, "vip": True},
        ),
        (
            {"masquerade_all": True},
            {"neighbour": True, "client": True, "vip": True},
        ),
        (
            {"cluster_cidrs": ()},
            {"neighbour": False, "client": False, "vip": True},
        ),
        (
            {"detect_local_mode": DetectLocalMode.BRIDGE_INTERFACE},
            {"neighbour": False, "client": False, "vip": True},
        ),
    ],
)
def test_whose_packets_to_a_cluster_ip_are_masqueraded(
    family: IPFamily,
    settings: dict[str, object],
    expected: dict[str, bool],
) -> None:
    """Each way to tell pods from outside clients masquerades the latter.

    With none, only the host is masqueraded, since it uses the VIP as its address.
    """
    state = node_state(family, config(family, **settings))

    found = {
        source: send(state, family, source, "cluster ip").is_masqueraded
        for source in expected
    }

    assert found == expected


@BOTH
def test_several_pod_networks_of_one_family(family: IPFamily) -> None:
    """Pods of every network keep their address, which takes a chain of its own."""
    other = parse_network(f"{address(family, 'outsider')}/{family.bits}")
    settings = config(family, cluster_cidrs=(*config(family).cluster_cidrs, other))
    state = node_state(family, settings)

    assert ChainRef(Table.NAT, CLUSTER_IP_CLIENTS) in state.chains[family]
    for source, masqueraded in (
        ("neighbour", False),
        ("outsider", False),
        ("client", True),
    ):
        outcome = send(state, family, source, "cluster ip")
        assert outcome.is_masqueraded is masqueraded, outcome.path


@BOTH
def test_marked_packets_lose_the_mark(family: IPFamily) -> None:
    """A packet that traverses the stack twice (a tunnel) is masqueraded once."""
    rules = chains(family)[ChainRef(Table.NAT, "KUBE-POSTROUTING")]
    state = NodeState(chains={family: chains(family)}, sets=node_state(family).sets)
    packet = Packet(
        source=address(family, "node"),
        destination=address(family, "far pod"),
        port=80,
        mark=0x4000,
    )

    outcome = trace(state, packet)

    assert outcome.masqueraded
    steps = [step for step in outcome.path if "KUBE-POSTROUTING: " in step]
    assert steps[-2:] == [
        f"nat KUBE-POSTROUTING: {r.target}" for r in known(rules[-2:])
    ]


def test_the_trace_fails_at_an_unknown_rule() -> None:
    """A rule that the tracer does not understand cannot pass as harmless."""
    state = node_state(V4)
    edited = {
        **state.chains[V4],
        ChainRef(Table.NAT, "KUBE-SERVICES"): (UnknownRule("-m bpf -j ACCEPT"),),
    }
    state = msgspec.structs.replace(state, chains={V4: edited})

    with pytest.raises(TraceError, match="bpf"):
        send(state, V4, "client", "cluster ip")
