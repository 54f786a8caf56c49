"""Plans described for people, and values as plain data."""

from ipaddress import ip_network

import pytest

from ipvsctl.cli.plain import plain
from ipvsctl.cli.plan_view import describe
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import (
    ForwardingMethod,
    ServiceFlags,
    Timeouts,
    VirtualServer,
)
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.objects import NodeContext, TrafficPolicy
from ipvsctl.model.rules import ChainRef, Jump, Table
from ipvsctl.model.sets import SetEntry
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import (
    AddEntry,
    AddVirtualServer,
    DeleteEntry,
    DeleteVirtualServer,
    Op,
    SetSysctl,
    SetTimeouts,
    UpdateRealServer,
    UpdateVirtualServer,
)
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.node import compile_node
from ipvsctl.plan.union.short_circuits import marked_entry
from ipvsctl.wire.iptables.words import IptablesWords
from tests.builders import endpoint_slice, service
from tests.cli.test_sync import WEB, real_server

SERVER = VirtualServer(key=WEB, scheduler="rr", netmask_bits=32)


def test_what_inside_clients_get_is_for_their_service() -> None:
    """The fwmark virtual server, and the entry that leads to it, whatever its mark."""
    given = service(
        external_traffic_policy=TrafficPolicy.LOCAL,
        external_ips=(parse_address("203.0.113.50"),),
    )
    node = NodeContext(name="node-0")
    union = Desired(compile_node(node, ProxyConfig(), Capabilities()))
    union.put(compile_service(given, (endpoint_slice(),), node, ProxyConfig()))
    ((inside, address),) = union.short_circuits.items()
    marked = marked_entry(address, inside)
    other = marked.entry.identity
    plan = (
        DeleteVirtualServer(inside),
        AddEntry(marked.key, marked.entry),
        DeleteEntry(marked.key, other),
    )
    view = describe(plan, NodeState(), union, firewall=IptablesWords())
    assert [(change.service, change.text) for change in view.changes] == [
        ("default/web", "virtual server fwmark 0x20000"),
        (
            "default/web",
            "entry KUBE-SHORT-CIRCUIT 203.0.113.50,tcp:80 skbmark 0x20000",
        ),
        ("default/web", "entry KUBE-SHORT-CIRCUIT 203.0.113.50,tcp:80"),
    ]


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (AddVirtualServer(SERVER), "virtual server tcp 10.96.0.10:80 rr"),
        (
            UpdateVirtualServer(SERVER),
            "virtual server tcp 10.96.0.10:80 rr (was wlc)",
        ),
        (
            UpdateRealServer(WEB, real_server("172.16.0.1", weight=0)),
            (
                "real server tcp 10.96.0.10:80 -> 172.16.0.1:8080 masquerade weight 0,"
                " drains (was masquerade weight 3)"
            ),
        ),
        (
            SetSysctl("net/ipv4/ip_forward", "1"),
            "sysctl net/ipv4/ip_forward=1 (was 0)",
        ),
        (
            SetSysctl("net/ipv4/vs/conntrack", "1"),
            "sysctl net/ipv4/vs/conntrack=1 (was not there)",
        ),
        (
            SetTimeouts(Timeouts(7200, 0, 0)),
            (
                "IPVS timeouts tcp=7200s tcpfin=0s udp=0s"
                " (were tcp=900s tcpfin=120s udp=300s)"
            ),
        ),
    ],
)
def test_a_change_says_what_was_before(op: Op, text: str) -> None:
    """The verb is the action's business; a drain is called one."""
    held = real_server("172.16.0.1", weight=3)
    observed = NodeState(
        sysctls={"net/ipv4/ip_forward": "0"},
        timeouts=Timeouts(900, 120, 300),
        virtual_servers={WEB: VirtualServer(key=WEB, scheduler="wlc", netmask_bits=32)},
        real_servers={WEB: {held.key: held}},
    )
    (change,) = describe((op,), observed, firewall=IptablesWords()).changes
    assert change.text == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (IPFamily.IPV6, "IPv6"),
        (Protocol.UDP, "udp"),
        (Table.NAT, "nat"),
        (ForwardingMethod.DIRECT_ROUTE, "direct_route"),
        (ServiceFlags.PERSISTENT | ServiceFlags.ONEPACKET, ["persistent", "onepacket"]),
        (parse_address("fd00::1"), "fd00::1"),
        (ip_network("10.0.0.0/8"), "10.0.0.0/8"),
        (frozenset({"b", "a"}), ["a", "b"]),
        ((1, 2), [1, 2]),
        ({IPFamily.IPV4: 1, ChainRef(Table.NAT, "X"): 2}, {"IPv4": 1, "nat/X": 2}),
        (Jump("X"), {"type": "Jump", "chain": "X"}),
        (
            SetEntry(port=80),
            {
                "address": None,
                "protocol": None,
                "port": 80,
                "second_address": None,
                "network": None,
                "mark": 0,
            },
        ),
    ],
)
def test_values_become_plain_data(value: object, expected: object) -> None:
    """Words for the kernel's numbers, text for addresses, sorted lists for sets."""
    assert plain(value) == expected


def test_an_unknown_value_is_an_error() -> None:
    """Nothing is printed by its memory address."""
    with pytest.raises(TypeError, match="object"):
        plain(object())
