"""What must change between two states: one row a fact, then the order of it all."""

from ipaddress import ip_network
from typing import Any, get_args

import msgspec
import pytest

from ipvsctl.model.former import FormerFirewall
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    RealServerStats,
    ServiceFlags,
    Timeouts,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress, IPFamily, IPv4Address, Protocol, parse_address
from ipvsctl.model.parts import Part
from ipvsctl.model.rules import (
    ChainRef,
    Chains,
    Jump,
    Rule,
    Table,
    UnknownRule,
    Verdict,
)
from ipvsctl.model.sets import SetCondition, SetEntry, SetShape
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.tunnel import TunnelEnd
from ipvsctl.plan.diff.ops import (
    ChangeRules,
    MakeTunnelEnd,
    Op,
    Plan,
    RaiseVipLink,
    RebuildSet,
)
from ipvsctl.plan.diff.plan import DiffOptions, Stage, diff, owned_keys
from ipvsctl.wire.ipset.sets import leftover_of
from tests.addresses import later
from tests.builders import in_words, set_called

VIP = IPv4Address("10.96.0.10")
NODE = IPv4Address("10.0.0.10")
KEY = VirtualServerKey(
    family=IPFamily.IPV4, protocol=Protocol.TCP, address=VIP, port=80
)
UDP_KEY = msgspec.structs.replace(KEY, protocol=Protocol.UDP)
SERVER = VirtualServer(key=KEY, scheduler="rr", netmask_bits=32)
POD = RealServer(key=RealServerKey(IPv4Address("172.16.0.5"), 8080))
OTHER_POD = RealServer(key=RealServerKey(IPv4Address("172.16.0.6"), 8080))
ENTRY = SetEntry(address=VIP, protocol=Protocol.TCP, port=80)
SET = set_called("KUBE-CLUSTER-IP")
SHAPE = SetShape(262144)
HALF_BUILT = leftover_of("KTMP-CLUSTER-IP")
SERVICES = ChainRef(Table.NAT, "KUBE-SERVICES")
PREROUTING = ChainRef(Table.NAT, "PREROUTING")
CHAINS: Chains = {
    SERVICES: (Rule(target=Verdict.RETURN),),
    PREROUTING: (Rule(target=Jump("KUBE-SERVICES")),),
}

MOST = "net/netfilter/nf_conntrack_max"
BUCKETS = "net/netfilter/nf_conntrack_buckets"
CLOSE_WAIT = "net/netfilter/nf_conntrack_tcp_timeout_close_wait"

END = TunnelEnd(address=parse_address("10.0.0.1"), port=6080)
END6 = TunnelEnd(address=parse_address("fd00:10::1"), port=6080)
NOTHING = NodeState()
FULL = NodeState(
    vip_link_up=True,
    sysctls={"net/ipv4/vs/conntrack": "1"},
    sets={SET: SHAPE},
    entries={SET: frozenset({ENTRY})},
    chains={IPFamily.IPV4: CHAINS},
    virtual_servers={KEY: SERVER},
    real_servers={KEY: {POD.key: POD}},
    addresses=frozenset({VIP}),
)


def changed(state: NodeState, **fields: Any) -> NodeState:
    """The state with some fields replaced."""
    return msgspec.structs.replace(state, **fields)


def plan(
    observed: NodeState,
    desired: NodeState,
    *,
    connections: int = 0,
    **options: Any,
) -> Plan:
    """The plan, with `connections` on every real server of KEY."""
    stats = RealServerStats(active=connections)
    held = observed.real_servers.get(KEY, {})
    return diff(
        Observed(state=observed, connections={KEY: dict.fromkeys(held, stats)}),
        desired,
        DiffOptions(vip_link="kube-ipvs0", **options),
    )


def text(ops: Plan) -> list[str]:
    """The plan as an operator sees it."""
    return in_words(ops)


def with_pods(*pods: RealServer) -> NodeState:
    """FULL with these real servers."""
    return changed(FULL, real_servers={KEY: {pod.key: pod for pod in pods}})


def with_dns_pods(*pods: RealServer) -> NodeState:
    """A UDP virtual server with these real servers, and nothing else."""
    return NodeState(
        virtual_servers={UDP_KEY: msgspec.structs.replace(SERVER, key=UDP_KEY)},
        real_servers={UDP_KEY: {pod.key: pod for pod in pods}},
    )


DRAINED = msgspec.structs.replace(POD, weight=0)
STICKY = msgspec.structs.replace(SERVER, flags=ServiceFlags.PERSISTENT, timeout_s=10800)
SMALL = SetShape(65536)
ENTRY_443 = msgspec.structs.replace(ENTRY, port=443)

CASES: list[tuple[str, NodeState, NodeState, list[str]]] = [
    ("equal states need nothing", FULL, FULL, []),
    (
        "a cold start builds from the ground up, and binds the address last",
        NOTHING,
        FULL,
        [
            "set sysctl net/ipv4/vs/conntrack=1",
            "add link kube-ipvs0",
            "create set KUBE-CLUSTER-IP hash:ip,port",
            "add entry KUBE-CLUSTER-IP 10.96.0.10,tcp:80",
            "change iptables rules: write 1 chains, link 1 jumps",
            "add virtual server tcp 10.96.0.10:80 rr",
            "add real server tcp 10.96.0.10:80 -> 172.16.0.5:8080 masquerade weight 1",
            "bind address 10.96.0.10",
        ],
    ),
    (
        "a clean-up takes it down in reverse; sysctls stay",
        FULL,
        NOTHING,
        [
            "delete link kube-ipvs0",
            "delete virtual server tcp 10.96.0.10:80",
            "change iptables rules: unlink 1 jumps, remove 1 chains",
            "destroy set KUBE-CLUSTER-IP",
        ],
    ),
    (
        "an end of tunnels comes after the rules that guard it",
        changed(FULL, chains={}),
        changed(FULL, tunnel_ends={IPFamily.IPV4: END}),
        [
            "change iptables rules: write 1 chains, link 1 jumps",
            "add link ipvsctl-tunl4, end of tunnels to 10.0.0.1 port 6080",
        ],
    ),
    (
        "an end of tunnels in pieces, or at another address, is made anew",
        changed(
            FULL,
            tunnel_ends={
                IPFamily.IPV4: msgspec.structs.replace(END, is_whole=False),
                IPFamily.IPV6: msgspec.structs.replace(END6, port=6081),
            },
        ),
        changed(FULL, tunnel_ends={IPFamily.IPV4: END, IPFamily.IPV6: END6}),
        [
            "add link ipvsctl-tunl4, end of tunnels to 10.0.0.1 port 6080",
            "add link ipvsctl-tunl6, end of tunnels to fd00:10::1 port 6080",
        ],
    ),
    (
        "an end of tunnels goes before the rules that guard it",
        changed(FULL, tunnel_ends={IPFamily.IPV4: END}),
        NOTHING,
        [
            "delete link kube-ipvs0",
            "delete virtual server tcp 10.96.0.10:80",
            "delete link ipvsctl-tunl4, end of tunnels",
            "change iptables rules: unlink 1 jumps, remove 1 chains",
            "destroy set KUBE-CLUSTER-IP",
        ],
    ),
    (
        "another firewall goes last, when everything else is as it should be",
        changed(
            FULL,
            sets={},
            entries={},
            chains={},
            former=FormerFirewall(name="nftables", entries=FULL.entries),
        ),
        FULL,
        [
            "create set KUBE-CLUSTER-IP hash:ip,port",
            "add entry KUBE-CLUSTER-IP 10.96.0.10,tcp:80",
            "change iptables rules: write 1 chains, link 1 jumps",
            "remove what is left in nftables",
        ],
    ),
    (
        "what only another firewall has an entry of is ours to remove",
        changed(
            FULL,
            sets={},
            entries={},
            chains={},
            former=FormerFirewall(name="nftables", entries=FULL.entries),
        ),
        NOTHING,
        [
            "delete link kube-ipvs0",
            "delete virtual server tcp 10.96.0.10:80",
            "remove what is left in nftables",
        ],
    ),
    (
        "a limit that is higher already is left alone, and no other sysctl",
        changed(
            NOTHING,
            sysctls={MOST: "262144", BUCKETS: "40000", CLOSE_WAIT: "7200"},
        ),
        changed(
            NOTHING,
            sysctls={MOST: "131072", BUCKETS: "32768", CLOSE_WAIT: "3600"},
        ),
        [f"set sysctl {CLOSE_WAIT}=3600"],
    ),
    (
        "one that is lower, or unreadable, is raised",
        changed(NOTHING, sysctls={MOST: "65536", BUCKETS: "unknown"}),
        changed(NOTHING, sysctls={MOST: "131072", BUCKETS: "32768"}),
        [f"set sysctl {MOST}=131072", f"set sysctl {BUCKETS}=32768"],
    ),
    (
        "a removed Service: unbound first, its entry out last",
        FULL,
        changed(
            FULL, entries={}, virtual_servers={}, real_servers={}, addresses=frozenset()
        ),
        [
            "unbind address 10.96.0.10",
            "delete virtual server tcp 10.96.0.10:80",
            "delete entry KUBE-CLUSTER-IP 10.96.0.10,tcp:80",
        ],
    ),
    (
        "timeouts are set if one that is wanted is another",
        changed(FULL, timeouts=Timeouts(900, 120, 300)),
        changed(FULL, timeouts=Timeouts(0, 60, 300)),
        ["set IPVS timeouts tcp=0s tcpfin=60s udp=300s"],
    ),
    (
        "timeouts that nobody asks for are the kernel's",
        changed(FULL, timeouts=Timeouts(900, 120, 300)),
        changed(FULL, timeouts=Timeouts(900, 0, 0)),
        [],
    ),
    (
        "a changed virtual server is changed in place",
        FULL,
        changed(FULL, virtual_servers={KEY: STICKY}),
        ["update virtual server tcp 10.96.0.10:80 rr persistent 10800s"],
    ),
    (
        "a new endpoint comes before the old one goes",
        FULL,
        with_pods(OTHER_POD),
        [
            "add real server tcp 10.96.0.10:80 -> 172.16.0.6:8080 masquerade weight 1",
            "delete real server tcp 10.96.0.10:80 -> 172.16.0.5:8080",
        ],
    ),
    (
        "a UDP endpoint that is gone takes its flows with it",
        with_dns_pods(POD, OTHER_POD),
        with_dns_pods(OTHER_POD),
        [
            "delete real server udp 10.96.0.10:80 -> 172.16.0.5:8080",
            "delete stale flows udp 10.96.0.10:80",
        ],
    ),
    (
        "a real server left at weight 0 is found and restored in place",
        with_pods(DRAINED),
        FULL,
        ["update real server tcp 10.96.0.10:80 -> 172.16.0.5:8080 masquerade weight 1"],
    ),
    (
        "flushed sets are filled again, and the virtual server is still ours",
        changed(FULL, entries={}),
        FULL,
        ["add entry KUBE-CLUSTER-IP 10.96.0.10,tcp:80"],
    ),
    (
        "a larger set than asked for is left alone",
        changed(FULL, sets={SET: SetShape(1 << 20)}),
        FULL,
        [],
    ),
    (
        "a set too small is rebuilt aside with all that is and will be in it",
        changed(FULL, sets={SET: SMALL}),
        changed(FULL, entries={SET: frozenset({ENTRY, ENTRY_443})}),
        [
            "rebuild set KUBE-CLUSTER-IP hash:ip,port",
        ],
    ),
    (
        "a half-built set left by a crash is not in the way",
        changed(
            FULL,
            sets={SET: SMALL},
            leftovers=frozenset({HALF_BUILT}),
        ),
        FULL,
        [
            "destroy set KTMP-CLUSTER-IP",
            "rebuild set KUBE-CLUSTER-IP hash:ip,port",
        ],
    ),
    (
        "a set of the wrong type is made anew with its entries",
        changed(
            FULL,
            sets={SET: SetShape(65536, SetCondition.ALIEN)},
            entries={SET: frozenset({SetEntry(port=80)})},
        ),
        FULL,
        [
            "destroy set KUBE-CLUSTER-IP",
            "create set KUBE-CLUSTER-IP hash:ip,port",
            "add entry KUBE-CLUSTER-IP 10.96.0.10,tcp:80",
        ],
    ),
    (
        "a set of kube-proxy's that is of no use goes whole",
        changed(
            FULL,
            leftovers=frozenset(
                {leftover_of("KUBE-NODE-PORT-TCP", [SetEntry(port=30080)])}
            ),
        ),
        FULL,
        ["destroy set KUBE-NODE-PORT-TCP"],
    ),
    (
        "an edited chain is written whole; a duplicate jump is straightened",
        changed(
            FULL,
            chains={
                IPFamily.IPV4: {
                    SERVICES: (UnknownRule("-j LOG"),),
                    PREROUTING: CHAINS[PREROUTING] * 2,
                }
            },
        ),
        FULL,
        ["change iptables rules: write 1 chains, link 1 jumps, unlink 2 jumps"],
    ),
    (
        "a link that is down, or gone with its addresses, is put back",
        changed(FULL, vip_link_up=False, addresses=frozenset()),
        FULL,
        ["add link kube-ipvs0", "bind address 10.96.0.10"],
    ),
    (
        "a route comes after the address, and both after the virtual server",
        NodeState(vip_link_up=True, entries={SET: frozenset({ENTRY})}),
        NodeState(
            vip_link_up=True,
            entries={SET: frozenset({ENTRY})},
            virtual_servers={KEY: SERVER},
            addresses=frozenset({VIP}),
            routes={VIP: NODE},
        ),
        [
            "add virtual server tcp 10.96.0.10:80 rr",
            "bind address 10.96.0.10",
            "add route 10.96.0.10 from 10.0.0.10",
        ],
    ),
    (
        "a node with another address has another source",
        changed(FULL, routes={VIP: NODE}),
        changed(FULL, routes={VIP: later(NODE, 1)}),
        ["update route 10.96.0.10 from 10.0.0.11"],
    ),
    (
        "a removed VIP of route mode: its route goes before its virtual server",
        changed(FULL, addresses=frozenset(), routes={VIP: NODE}),
        changed(
            FULL, entries={}, virtual_servers={}, real_servers={}, addresses=frozenset()
        ),
        [
            "delete route 10.96.0.10",
            "delete virtual server tcp 10.96.0.10:80",
            "delete entry KUBE-CLUSTER-IP 10.96.0.10,tcp:80",
        ],
    ),
    (
        "a clean-up takes routes with the link, and stand-ins on their own",
        NodeState(
            vip_link_up=True,
            routes={VIP: NODE},
            stand_ins=frozenset({VIP, later(VIP, 1)}),
        ),
        NOTHING,
        [
            "delete stand-in route 10.96.0.10",
            "delete link kube-ipvs0",
            "delete stand-in route 10.96.0.11",
        ],
    ),
]


@pytest.mark.parametrize(
    ("fact", "observed", "desired", "expected"), CASES, ids=[c[0] for c in CASES]
)
def test_plan(
    fact: str, observed: NodeState, desired: NodeState, expected: list[str]
) -> None:
    """The ops, in order, are what the row says."""
    assert text(plan(observed, desired)) == expected, fact


def test_a_set_that_is_rebuilt_has_all_that_is_and_will_be_in_it() -> None:
    """So no packet misses an entry that is on its way out."""
    observed = changed(FULL, sets={SET: SMALL})
    (op, *_) = plan(observed, changed(FULL, entries={SET: frozenset({ENTRY_443})}))
    assert op == RebuildSet(SET, SHAPE.room, frozenset({ENTRY, ENTRY_443}))


def test_a_set_that_is_rebuilt_has_room_for_what_is_on_its_way_out() -> None:
    """Or the old one would have to stay."""
    observed = changed(FULL, sets={SET: SetShape(1, SetCondition.OUTDATED)})
    wanted = {SET: frozenset({ENTRY_443})}
    (op, *_) = plan(observed, changed(FULL, sets={SET: SetShape(1)}, entries=wanted))
    assert op == RebuildSet(SET, 2, frozenset({ENTRY, ENTRY_443}))


def test_rules_that_were_not_read_are_not_written() -> None:
    """Nothing is known of them; those of the other family, and all else, are."""
    desired = changed(FULL, chains=dict.fromkeys(IPFamily, FULL.chains[IPFamily.IPV4]))
    observed = Observed(
        state=NodeState(), unread={Part.RULES_IPV4: "iptables-save: killed"}
    )
    found = diff(observed, desired, DiffOptions(vip_link="kube-ipvs0"))
    rules = [op.change.family for op in found if isinstance(op, ChangeRules)]
    assert rules == [IPFamily.IPV6]
    whole = diff(
        msgspec.structs.replace(observed, unread={}),
        desired,
        DiffOptions(vip_link="kube-ipvs0"),
    )
    assert [op for op in whole if not isinstance(op, ChangeRules)] == [
        op for op in found if not isinstance(op, ChangeRules)
    ]


def test_every_kind_of_op_is_planned_somewhere() -> None:
    """The table above leaves no verb and no object out."""
    planned = {
        type(op) for _, observed, desired, _ in CASES for op in plan(observed, desired)
    }
    # The state does not tell a link that is down from one that is not there.
    down = Observed(state=NodeState(), vip_link_down=True)
    options = DiffOptions(vip_link="kube-ipvs0")
    (raised,) = diff(down, NodeState(vip_link_up=True), options)
    assert raised == RaiseVipLink("kube-ipvs0")
    assert planned | {type(raised)} == set(get_args(Op))


def test_no_end_of_tunnels_while_its_rules_are_unknown() -> None:
    """Nobody would know who uses it; the other family's does not wait."""
    wanted = changed(FULL, tunnel_ends={IPFamily.IPV4: END, IPFamily.IPV6: END6})
    seen = Observed(state=FULL, skipped=frozenset({Part.RULES_IPV4}))
    options = DiffOptions(vip_link="kube-ipvs0")
    assert diff(seen, wanted, options) == (MakeTunnelEnd(END6),)


@pytest.mark.parametrize(
    ("fact", "protocol", "weight", "connections", "expired", "expected"),
    [
        ("TCP without connections goes", Protocol.TCP, 1, 0, False, ["delete"]),
        ("TCP with connections drains", Protocol.TCP, 1, 3, False, ["update"]),
        ("a drain goes on", Protocol.TCP, 0, 3, False, []),
        ("a drain ends with its connections", Protocol.TCP, 0, 0, False, ["delete"]),
        ("a drain ends with its time", Protocol.TCP, 0, 3, True, ["delete"]),
        ("UDP goes at once", Protocol.UDP, 1, 3, False, ["delete"]),
        ("SCTP goes at once", Protocol.SCTP, 1, 3, False, ["delete"]),
    ],
)
def test_unwanted_real_servers(
    fact: str,
    protocol: Protocol,
    weight: int,
    connections: int,
    expired: bool,  # noqa: FBT001 - a column of the table
    expected: list[str],
) -> None:
    """An unwanted real server ends the way the row says."""
    key = msgspec.structs.replace(KEY, protocol=protocol)
    pod = msgspec.structs.replace(POD, weight=weight)
    server = msgspec.structs.replace(SERVER, key=key)
    observed = Observed(
        state=NodeState(
            virtual_servers={key: server}, real_servers={key: {pod.key: pod}}
        ),
        connections={key: {pod.key: RealServerStats(inactive=connections)}},
    )
    ops = diff(
        observed,
        NodeState(virtual_servers={key: server}),
        DiffOptions(
            vip_link="kube-ipvs0",
            expired_drains=frozenset({(key, pod.key)} if expired else ()),
        ),
    )
    assert [str(op).split()[0] for op in ops] == expected, fact
    if expected == ["update"]:
        assert str(ops[0]).endswith("weight 0")


def test_foreign_virtual_servers_are_never_touched() -> None:
    """Without an owning entry, or by fwmark, a virtual server is somebody else's."""
    mark = VirtualServerKey(family=IPFamily.IPV4, fwmark=7)
    foreign = {
        key: VirtualServer(key=key, scheduler="wlc", netmask_bits=32)
        for key in (UDP_KEY, mark)
    }
    observed = changed(FULL, virtual_servers={KEY: SERVER, **foreign})
    assert owned_keys(observed) == {KEY}
    assert plan(observed, FULL) == ()
    left = text(plan(observed, NOTHING))
    assert [op for op in left if "virtual server" in op] == [
        "delete virtual server tcp 10.96.0.10:80"
    ]


def test_excluded_virtual_servers_are_not_deleted() -> None:
    """In excludeCIDRs a virtual server outlives its Service; a desired one is kept up.

    Its entry goes, and with it every claim of ours.
    """
    gone = changed(
        FULL, entries={}, virtual_servers={}, real_servers={}, addresses=frozenset()
    )
    exclude = (ip_network("fd00::/8"), ip_network("10.96.0.0/24"))
    assert text(plan(FULL, gone, exclude=exclude)) == [
        "unbind address 10.96.0.10",
        "delete entry KUBE-CLUSTER-IP 10.96.0.10,tcp:80",
    ]
    sticky = changed(FULL, virtual_servers={KEY: STICKY})
    assert text(plan(FULL, sticky, exclude=exclude)) == [
        "update virtual server tcp 10.96.0.10:80 rr persistent 10800s"
    ]
    assert "delete virtual server tcp 10.96.0.10:80" in text(
        plan(FULL, gone, exclude=(ip_network("10.97.0.0/24"),))
    )


def test_an_entry_of_a_set_that_owns_nothing_makes_nothing_ours() -> None:
    """Only owning sets say whose a virtual server is."""
    state = changed(
        FULL, entries={set_called("KUBE-LOAD-BALANCER-FW"): frozenset({ENTRY})}
    )
    assert owned_keys(state) == frozenset()


def test_urgent_addresses_are_served_before_the_others_are_begun() -> None:
    """On a cold start the API server's Service works before the rest is programmed."""
    urgent_vip: IPAddress = IPv4Address("10.96.0.1")
    key = msgspec.structs.replace(KEY, address=urgent_vip)
    desired = changed(
        FULL,
        entries={
            SET: frozenset({ENTRY, msgspec.structs.replace(ENTRY, address=urgent_vip)})
        },
        virtual_servers={KEY: SERVER, key: msgspec.structs.replace(SERVER, key=key)},
        real_servers={KEY: {POD.key: POD}, key: {POD.key: POD}},
        addresses=frozenset({VIP, urgent_vip}),
    )
    ops = text(plan(NOTHING, desired, urgent=frozenset({urgent_vip})))
    assert ops[5:9] == [
        "change iptables rules: write 1 chains, link 1 jumps",
        "add virtual server tcp 10.96.0.1:80 rr",
        "add real server tcp 10.96.0.1:80 -> 172.16.0.5:8080 masquerade weight 1",
        "bind address 10.96.0.1",
    ]


def test_stages_mirror_each_other() -> None:
    """What is built first is taken down last; what comes back at once is neither.

    Nor is what has to go before anything is built. A route follows its address both
    ways (see `VipSteps`).
    """
    neither = {Stage.STALE_FLOWS, Stage.RESTORE_ROUTES, Stage.REMOVE_STAND_INS}
    neither |= {Stage.ROUTES, Stage.REMOVE_ROUTES, Stage.REMOVE_FORMER}
    assert Stage.ROUTES == Stage.ADDRESSES + 1
    assert Stage.REMOVE_ROUTES == Stage.UNBIND_ADDRESSES + 1
    passing = {"SYSCTLS", "LINK", "MOVED_MARKS"}
    built = [s.name for s in Stage if s < Stage.UNBIND_ADDRESSES and s not in neither]
    removed = [
        s.name.removeprefix("REMOVE_").removeprefix("UNBIND_")
        for s in Stage
        if s >= Stage.UNBIND_ADDRESSES and s not in neither
    ]
    assert removed == [
        name
        for name in reversed(built)
        if not name.startswith("URGENT") and name not in passing
    ]
