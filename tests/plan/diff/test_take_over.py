"""What kube-proxy leaves: whose its virtual servers are, and how its sets go."""

import pytest

from ipvsctl.model.host import HostNetwork
from ipvsctl.model.ipvs import VirtualServer, VirtualServerKey
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    IPv4Address,
    IPv6Address,
    Protocol,
    family_of,
)
from ipvsctl.model.rules import ChainRef, Rule, Table, UnknownRule, Verdict
from ipvsctl.model.sets import SetEntry
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.diff.plan import DiffOptions, diff, owned_keys
from ipvsctl.wire.ipset.sets import leftover_of
from tests.builders import in_words

NODE = IPv4Address("10.0.0.10")
NODE_IPV6 = IPv6Address("fd00:10::10")
ELSEWHERE = IPv4Address("10.99.0.1")
HOST_ADDRESSES: frozenset[IPAddress] = frozenset({NODE, NODE_IPV6})
TCP = leftover_of("KUBE-NODE-PORT-TCP", [SetEntry(port=30080)])
LEFTOVERS = frozenset(
    {
        TCP,
        leftover_of("KUBE-NODE-PORT-UDP", [SetEntry(port=30053)]),
        leftover_of("KUBE-6-NODE-PORT-TCP", [SetEntry(port=30086)]),
        leftover_of(
            "KUBE-NODE-PORT-SCTP-HASH",
            [SetEntry(address=ELSEWHERE, protocol=Protocol.SCTP, port=30099)],
        ),
    }
)


def server(protocol: Protocol, address: IPAddress, port: int) -> VirtualServer:
    """A virtual server."""
    key = VirtualServerKey(
        family=family_of(address), protocol=protocol, address=address, port=port
    )
    return VirtualServer(key=key, scheduler="rr", netmask_bits=32)


@pytest.mark.parametrize(
    ("fact", "held", "is_ours"),
    [
        ("a node port", server(Protocol.TCP, NODE, 30080), True),
        ("of UDP", server(Protocol.UDP, NODE, 30053), True),
        ("of IPv6", server(Protocol.TCP, NODE_IPV6, 30086), True),
        (
            "of SCTP, whose set has addresses",
            server(Protocol.SCTP, ELSEWHERE, 30099),
            True,
        ),
        (
            "the port, but not on the node",
            server(Protocol.TCP, ELSEWHERE, 30080),
            False,
        ),
        ("the port of another protocol", server(Protocol.UDP, NODE, 30080), False),
        ("the port of another family", server(Protocol.TCP, NODE_IPV6, 30080), False),
        ("another port of the node", server(Protocol.TCP, NODE, 443), False),
    ],
)
def test_kube_proxys_node_ports_are_ours(
    fact: str,
    held: VirtualServer,
    is_ours: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """A bare port in kube-proxy's set makes it ours on the node's own addresses."""
    state = NodeState(leftovers=LEFTOVERS, virtual_servers={held.key: held})
    expected = {held.key} if is_ours else set()
    assert owned_keys(state, HOST_ADDRESSES) == expected, fact


def test_kube_proxys_sets_go_when_nothing_needs_them() -> None:
    """After the rules that name them, and the virtual servers they show to be ours."""
    chain = ChainRef(Table.NAT, "KUBE-NODE-PORT")
    old = server(Protocol.TCP, NODE, 30080)
    observed = NodeState(
        leftovers=frozenset({TCP}),
        chains={IPFamily.IPV4: {chain: (UnknownRule("-p tcp -j KUBE-MARK-MASQ"),)}},
        virtual_servers={old.key: old},
    )
    desired = NodeState(chains={IPFamily.IPV4: {chain: (Rule(target=Verdict.RETURN),)}})
    seen = Observed(state=observed, host=HostNetwork(addresses=HOST_ADDRESSES))
    plan = diff(seen, desired, DiffOptions(vip_link="kube-ipvs0"))
    assert in_words(plan) == [
        "change iptables rules: write 1 chains",
        "delete virtual server tcp 10.0.0.10:30080",
        "destroy set KUBE-NODE-PORT-TCP",
    ]
