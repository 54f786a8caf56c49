"""External addresses whose packets go to other nodes in tunnels."""

from typing import Any, Final

import msgspec
import pytest

from ipvsctl.model.config import Compatibility, ExternalForwarding, ProxyConfig
from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    ServiceFlags,
    Tunnel,
)
from ipvsctl.model.limits import Limits
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol, parse_network
from ipvsctl.model.objects import (
    Endpoint,
    Node,
    NodeContext,
    ServicePort,
    TrafficPolicy,
    TunnelOffer,
)
from ipvsctl.model.sets import SetRole
from ipvsctl.model.tunnel import TunnelEnd
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.service.program import ServerProgram, ServiceProgram, WayIn
from ipvsctl.plan.service.tunnels import tunnel_ends
from tests.plan.service.test_compile import HERE, NODE, THERE, service, slices

EXTERNAL: Final = IPv4Address("203.0.113.50")
INGRESS: Final = IPv4Address("198.51.100.50")
CONFIG: Final = ProxyConfig(
    cluster_cidrs=(parse_network("172.16.0.0/12"),),
    tunnel_port=6080,
    external_forwarding=ExternalForwarding.TUNNEL,
)
ABLE: Final = msgspec.structs.replace(
    NODE,
    tunnel_offers={
        "node-0": TunnelOffer(
            node="node-0", addresses=NODE.node_addresses, port=6080, is_sending=True
        ),
        "node-1": TunnelOffer(
            node="node-1", addresses=(IPv4Address("10.0.0.11"),), port=6081
        ),
    },
)
ELSEWHERE: Final = Endpoint(address=IPv4Address("172.16.2.5"), node_name="node-2")
THERE_TOO: Final = Endpoint(address=IPv4Address("172.16.1.6"), node_name="node-1")
TUNNEL: Final = Tunnel(port=6081)


def program(
    *endpoints: Endpoint,
    config: ProxyConfig = CONFIG,
    node: NodeContext = ABLE,
    **fields: Any,
) -> ServiceProgram:
    """The program of a Service with both kinds of external addresses."""
    values: dict[str, Any] = {"external_ips": (EXTERNAL,), "ingress_vips": (INGRESS,)}
    given = service(**{**values, **fields})
    (protocol,) = {port.protocol for port in given.ports}
    found = slices(*(endpoints or (HERE, THERE)), protocol=protocol)
    return compile_service(given, found, node, config)


def external(found: ServiceProgram) -> ServerProgram:
    """What the external IP has."""
    (server,) = (s for s in found.servers if s.way is WayIn.EXTERNAL_IP)
    return server


def is_tunnelled(found: ServiceProgram) -> bool:
    """Whether any real server of any way in is another node."""
    return any(
        real.forwarding is ForwardingMethod.TUNNEL
        for server in found.servers
        for real in server.real_servers.values()
    )


def roles(server: ServerProgram) -> set[SetRole]:
    """The sets that it has entries in."""
    return {member.key.role for member in server.entries}


def test_other_nodes_are_real_servers() -> None:
    """One each, weighing what its endpoints do; those here are as they are."""
    found = program(HERE, THERE, THERE_TOO)
    node = RealServerKey(IPv4Address("10.0.0.11"), 80)
    here = RealServerKey(HERE.address, 8080)
    for way in (WayIn.EXTERNAL_IP, WayIn.INGRESS_VIP):
        (server,) = (s for s in found.servers if s.way is way)
        assert server.real_servers == {
            here: RealServer(key=here),
            node: RealServer(
                key=node, weight=2, forwarding=ForwardingMethod.TUNNEL, tunnel=TUNNEL
            ),
        }
        assert server.server.scheduler == "wrr"
        assert server.inside is not None
        assert server.inside.real_servers.keys() == {
            RealServerKey(e.address, 8080) for e in (HERE, THERE, THERE_TOO)
        }
        assert server.arrival is not None
        assert server.arrival.real_servers.keys() == {here}
        assert server.inside.scheduler == server.arrival.scheduler == "rr"
    assert found.problems == ()


def test_other_ways_in_are_as_ever() -> None:
    """A node port is asked by pods of other nodes, too."""
    for server in program().servers:
        if server.way in {WayIn.CLUSTER_IP, WayIn.NODE_PORT}:
            assert server == next(
                s
                for s in program(config=ProxyConfig()).servers
                if s.server.key == server.server.key
            )


def test_no_packet_of_an_outside_client_is_masqueraded() -> None:
    """The entries are those of a Local address; the plain program has its own."""
    server = external(program())
    assert roles(server) == {SetRole.EXTERNAL_IP_LOCAL}
    assert server.plain is not None
    assert roles(server.plain) == {SetRole.EXTERNAL_IP}
    assert server.plain == external(
        program(config=msgspec.structs.replace(CONFIG, tunnel_port=0))
    )


def test_what_arrives_is_shut_out_where_there_is_no_endpoint() -> None:
    """The virtual server stays for connections it has."""
    server = external(program(THERE))
    assert SetRole.TUNNEL_SHUT in roles(server)
    assert server.arrival is not None
    assert server.arrival.real_servers == {}


OLD_NODE: Final = msgspec.structs.replace(ABLE, tunnel_offers={})
OWN_CANNOT: Final = msgspec.structs.replace(
    ABLE, tunnel_offers={"node-1": ABLE.tunnel_offers["node-1"]}
)
OWN_UNKNOWN: Final = msgspec.structs.replace(
    ABLE,
    tunnel_offers={
        name: msgspec.structs.replace(offer, is_sending=False)
        for name, offer in ABLE.tunnel_offers.items()
    },
)
UDP: Final = (ServicePort(name="http", protocol=Protocol.UDP, port=53),)


@pytest.mark.parametrize(
    ("reason", "given"),
    [
        (
            "the setting is not made",
            {"config": msgspec.structs.replace(CONFIG, tunnel_port=0)},
        ),
        (
            "compatibility",
            {
                "config": msgspec.structs.replace(
                    CONFIG, compatibility=Compatibility.KUBE_PROXY
                )
            },
        ),
        (
            "no short circuit",
            {"config": msgspec.structs.replace(CONFIG, short_circuit=False)},
        ),
        (
            "pods cannot be told from others",
            {"config": msgspec.structs.replace(CONFIG, cluster_cidrs=())},
        ),
        ("no node can", {"node": OLD_NODE}),
        ("this node cannot", {"node": OWN_CANNOT}),
        ("others do not know of this node", {"node": OWN_UNKNOWN}),
        ("policy Local", {"external_traffic_policy": TrafficPolicy.LOCAL}),
        (
            "the Service says no",
            {"annotations": (("ipvsctl.io/external-forwarding", "masquerade"),)},
        ),
        (
            "datagrams that are not answered",
            {"annotations": (("ipvsctl.io/one-packet", "true"),), "ports": UDP},
        ),
    ],
)
def test_where_all_is_masqueraded(reason: str, given: dict[str, Any]) -> None:
    """As without any of it."""
    del reason
    found = program(**given)
    assert not is_tunnelled(found)
    assert all(server.arrival is None for server in found.servers)


@pytest.mark.parametrize(
    "endpoint", [ELSEWHERE, Endpoint(address=IPv4Address("192.0.2.9"))]
)
def test_one_endpoint_that_cannot_be_tunnelled_to(endpoint: Endpoint) -> None:
    """On a node that cannot, or on none at all: the whole address is masqueraded."""
    found = program(HERE, THERE, endpoint)
    assert not is_tunnelled(found)
    assert external(found).real_servers.keys() == {
        RealServerKey(e.address, 8080) for e in (HERE, THERE, endpoint)
    }


def test_a_service_asks_for_it() -> None:
    """Where the configuration does not."""
    config = msgspec.structs.replace(
        CONFIG, external_forwarding=ExternalForwarding.MASQUERADE
    )
    assert not is_tunnelled(program(config=config))
    wish = (("ipvsctl.io/external-forwarding", "tunnel"),)
    assert is_tunnelled(program(config=config, annotations=wish))


@pytest.mark.parametrize(
    ("text", "given", "reason"),
    [
        ("direct", {}, "not one of masquerade, tunnel"),
        (
            "tunnel",
            {"config": msgspec.structs.replace(CONFIG, tunnel_port=0)},
            "has no effect: tunnelPort is 0 on this node",
        ),
        (
            "tunnel",
            {"config": msgspec.structs.replace(CONFIG, short_circuit=False)},
            "has no effect: shortCircuit is false on this node",
        ),
        (
            "tunnel",
            {"external_traffic_policy": TrafficPolicy.LOCAL},
            "has no effect: externalTrafficPolicy is Local",
        ),
    ],
)
def test_a_wish_that_makes_no_sense(
    text: str, given: dict[str, Any], reason: str
) -> None:
    """It is named, and everything else is served."""
    found = program(annotations=(("ipvsctl.io/external-forwarding", text),), **given)
    (problem,) = found.problems
    assert problem.field == "metadata.annotations.ipvsctl.io/external-forwarding"
    assert problem.value == text
    assert problem.reason == reason


def test_limits_and_affinity_count_for_a_node() -> None:
    """A node may have what its endpoints may have together."""
    found = program(
        HERE,
        THERE,
        THERE_TOO,
        annotations=(("ipvsctl.io/max-connections", "10"),),
        affinity_timeout_s=600,
    )
    server = external(found)
    node = server.real_servers[RealServerKey(IPv4Address("10.0.0.11"), 80)]
    assert (node.upper_threshold, node.lower_threshold) == (20, 16)
    assert ServiceFlags.PERSISTENT in server.server.flags
    assert server.arrival is not None
    # Its endpoints have another port than the address: see `_inside`.
    assert server.arrival.scheduler == "sh"


def test_marks_are_limited() -> None:
    """Each address takes two; one that gets none is masqueraded, and that is said."""
    config = msgspec.structs.replace(CONFIG, limits=Limits(service_marks=3))
    found = program(config=config)
    tunnelled = [s for s in found.servers if s.arrival is not None]
    assert [s.way for s in tunnelled] == [WayIn.INGRESS_VIP]
    assert external(found).server.scheduler == "rr"
    (problem,) = found.problems
    assert problem.field == "metadata.annotations.ipvsctl.io/external-forwarding"
    assert problem.value == "4 fwmarks"
    assert problem.reason.endswith("packets are masqueraded at 1 addresses and ports")


def test_ends_of_tunnels_are_at_the_nodes_own_address() -> None:
    """Of each family in which it has one on a link."""
    assert tunnel_ends(ABLE, CONFIG) == {
        IPFamily.IPV4: TunnelEnd(address=IPv4Address("10.0.0.10"), port=6080),
        IPFamily.IPV6: TunnelEnd(address=NODE.node_addresses[1], port=6080),
    }
    lost = msgspec.structs.replace(ABLE, host_addresses=(NODE.node_addresses[1],))
    assert tunnel_ends(lost, CONFIG).keys() == {IPFamily.IPV6}
    off = msgspec.structs.replace(CONFIG, tunnel_port=0)
    assert tunnel_ends(ABLE, off) == {}


def test_an_offer_counts_at_an_address_of_its_node() -> None:
    """Whoever may write Leases cannot have packets sent to where no Node is."""
    addresses = [IPv4Address(f"10.0.0.{10 + number}") for number in range(4)]
    nodes = {
        name: Node(name=name, addresses=(address,))
        for name, address in zip(("node-0", "node-1"), addresses, strict=False)
    }
    known, other, moved, unknown = (
        TunnelOffer(node=name, addresses=tuple(addresses[i] for i in places), port=6080)
        for name, places in (
            ("node-0", [0]),
            ("node-1", [3, 1]),
            ("node-1", [2]),
            ("node-2", [2]),
        )
    )
    found = NodeContext.of("node-0", nodes, (known, other, unknown))
    only = msgspec.structs.replace(other, addresses=(addresses[1],))
    assert found.tunnel_offers == {"node-0": known, "node-1": only}
    found = NodeContext.of("node-0", nodes, (known, moved))
    assert found.tunnel_offers == {"node-0": known}
