"""Whose a virtual server is that a Service wants and that has no owning entry."""

import pytest

from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol
from ipvsctl.model.objects import ServicePortName
from ipvsctl.model.sets import SetEntry
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.service.program import ServerProgram, WayIn
from ipvsctl.plan.union.ownership import Ownership
from ipvsctl.wire.ipset.sets import leftover_of
from tests.builders import ref, set_called

VIP = IPv4Address("203.0.113.50")
OTHER = IPv4Address("203.0.113.51")
KEY = VirtualServerKey(
    family=IPFamily.IPV4, protocol=Protocol.TCP, address=VIP, port=443
)
SERVER = VirtualServer(key=KEY, scheduler="rr", netmask_bits=32)
WANTED = RealServer(key=RealServerKey(IPv4Address("172.16.0.1"), 8080))
UNWANTED = RealServer(key=RealServerKey(IPv4Address("192.0.2.1"), 8080))
DIRECT = RealServer(key=WANTED.key, forwarding=ForwardingMethod.DIRECT_ROUTE)
BOUND = frozenset({VIP})
CLUSTER_IP = IPv4Address("10.96.0.1")
"""Of another Service; every node has one bound that was ever served."""


def program(way: WayIn = WayIn.EXTERNAL_IP) -> ServerProgram:
    """What the Service wants."""
    return ServerProgram(
        port_name=ServicePortName(ref("web"), "https", Protocol.TCP),
        way=way,
        server=SERVER,
        real_servers={WANTED.key: WANTED},
        entries=(),
        field="spec.externalIPs",
    )


def entry(address: IPv4Address, port: int) -> SetEntry:
    """An owning entry."""
    return SetEntry(address=address, protocol=Protocol.TCP, port=port)


def state(
    *real_servers: RealServer,
    entries: tuple[SetEntry, ...] = (),
    addresses: frozenset[IPv4Address] = frozenset(),
    was_served: bool = True,
    server: VirtualServer = SERVER,
) -> NodeState:
    """A kernel with the virtual server, and what it says of us."""
    return NodeState(
        entries={set_called("KUBE-EXTERNAL-IP"): frozenset(entries)},
        virtual_servers={KEY: server},
        real_servers={KEY: {held.key: held for held in real_servers}},
        addresses=addresses | {CLUSTER_IP} if was_served else addresses,
    )


BESIDE = (entry(VIP, 80),)
ELSEWHERE = (entry(OTHER, 80),)
UNLIKE = VirtualServer(key=KEY, scheduler="wlc", netmask_bits=32)


@pytest.mark.parametrize(
    ("fact", "held", "is_ours"),
    [
        ("bound, at work", state(WANTED, addresses=BOUND), True),
        ("one entry lost", state(WANTED, entries=BESIDE, addresses=BOUND), True),
        ("bound, pods are others", state(UNWANTED, addresses=BOUND), True),
        ("bound, no pods", state(addresses=BOUND), True),
        ("bound, all else intact", state(entries=ELSEWHERE, addresses=BOUND), True),
        (
            "a stranger beside ours",
            state(UNWANTED, entries=BESIDE, addresses=BOUND),
            False,
        ),
        (
            "an empty stranger beside ours",
            state(entries=BESIDE, addresses=BOUND),
            False,
        ),
        ("at work, unlike", state(WANTED, addresses=BOUND, server=UNLIKE), True),
        ("bound, unlike", state(UNWANTED, addresses=BOUND, server=UNLIKE), False),
        ("bound, empty, unlike", state(addresses=BOUND, server=UNLIKE), False),
        ("direct routing", state(DIRECT, addresses=BOUND), False),
        ("direct routing too", state(UNWANTED, DIRECT, addresses=BOUND), False),
        ("unbound, flushed, at work", state(WANTED), True),
        ("unbound, flushed, others' pods", state(UNWANTED), False),
        ("unbound, flushed, empty and alike", state(), True),
        ("unbound, flushed, empty and unlike", state(server=UNLIKE), False),
        ("a balancer of the same, sets intact", state(WANTED, entries=BESIDE), False),
        ("the same, at another address", state(WANTED, entries=ELSEWHERE), False),
        ("a first start", state(WANTED, was_served=False), False),
        ("a first start, empty", state(was_served=False), False),
    ],
)
def test_an_external_ip(
    fact: str,
    held: NodeState,
    is_ours: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """An address is bound for what we serve at it, and entries are flushed together."""
    ownership = Ownership(Observed(state=held))
    assert ownership.is_recognised(program()) == is_ours, fact


@pytest.mark.parametrize(
    ("fact", "held", "is_ours"),
    [
        ("at work, whatever the sets say", state(WANTED, entries=BESIDE), True),
        ("at work, at a first start", state(WANTED, was_served=False), True),
        ("another's pods", state(UNWANTED), False),
        ("another's too", state(UNWANTED, entries=BESIDE), False),
        ("flushed, empty and alike", state(), True),
        ("empty, sets intact", state(entries=BESIDE), False),
        ("a first start, empty", state(was_served=False), False),
    ],
)
def test_a_node_port(
    fact: str,
    held: NodeState,
    is_ours: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """No address says whose it is; nobody else has a node port for a Service's pods."""
    ownership = Ownership(Observed(state=held))
    assert ownership.is_recognised(program(WayIn.NODE_PORT)) == is_ours, fact


def test_kube_proxys_node_ports_are_entries_that_were_not_flushed() -> None:
    """While its bitmaps have a port, an empty virtual server of another is foreign."""
    held = NodeState(
        leftovers={leftover_of("KUBE-NODE-PORT-TCP", [SetEntry(port=30000)])},
        virtual_servers={KEY: SERVER},
        addresses=frozenset({CLUSTER_IP}),
    )
    ownership = Ownership(Observed(state=held))
    assert not ownership.is_recognised(program(WayIn.NODE_PORT))


def test_a_route_of_ours_binds_too() -> None:
    """With `vipBinding: route` there are no addresses."""
    held = NodeState(virtual_servers={KEY: SERVER}, routes={VIP: None})
    assert Ownership(Observed(state=held)).is_recognised(program())
