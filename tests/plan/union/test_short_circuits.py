"""Two sets of endpoints behind one address: what inside clients of a Local one get."""

from typing import Any

import msgspec
import pytest

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import (
    Compatibility,
    DetectLocalMode,
    LocalFallback,
    ProxyConfig,
)
from ipvsctl.model.ipvs import (
    RealServerStats,
    ServiceFlags,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.marks import MarkRange
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol, parse_network
from ipvsctl.model.objects import Endpoint, Service, ServicePort, TrafficPolicy
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.sets import SetCondition, SetEntry, SetRole, SetShape, set_key
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.diff.plan import DiffOptions, diff, owned_keys
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.service.program import InsideProgram, ServiceProgram, WayIn
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.node import compile_node
from tests.builders import in_words
from tests.plan.service.test_compile import HERE, NODE, THERE, entries, service, slices

MARKED = set_key(SetRole.SHORT_CIRCUIT, IPFamily.IPV4)
CONFIG = ProxyConfig(cluster_cidrs=(parse_network("172.16.0.0/12"),))
EXTERNAL = IPv4Address("203.0.113.50")
LOCAL: dict[str, Any] = {
    "external_traffic_policy": TrafficPolicy.LOCAL,
    "external_ips": (EXTERNAL,),
}
KEY = VirtualServerKey(
    family=IPFamily.IPV4, protocol=Protocol.TCP, address=EXTERNAL, port=80
)
FIRST = VirtualServerKey(family=IPFamily.IPV4, fwmark=CONFIG.marks.mark(0))


def program_of(
    given: Service, *endpoints: Endpoint, config: ProxyConfig = CONFIG
) -> ServiceProgram:
    """The Service's program on node-0."""
    return compile_service(given, slices(*endpoints), NODE, config)


def inside(program: ServiceProgram) -> dict[WayIn, InsideProgram]:
    """What inside clients get, by way in."""
    return {s.way: s.inside for s in program.servers if s.inside is not None}


def outside(program: ServiceProgram, way: WayIn) -> list[str]:
    """Real servers of everybody else."""
    (server,) = {tuple(s.real_servers) for s in program.servers if s.way is way}
    return sorted(map(str, server))


def test_inside_clients_of_a_local_address_have_all_endpoints() -> None:
    """At external IPs and ingress VIPs.

    The cluster IP is the same for all anyway. At a node port pods of other nodes, whose
    answers need not pass here, cannot be told from this node's.
    """
    program = program_of(
        service(**LOCAL, ingress_vips=(IPv4Address("198.51.100.7"),)), HERE, THERE
    )
    found = inside(program)
    assert set(found) == {WayIn.EXTERNAL_IP, WayIn.INGRESS_VIP}
    for way, what in found.items():
        assert len(what.real_servers) == 2
        assert outside(program, way) == ["172.16.0.5:8080"]


@pytest.mark.parametrize(
    ("fact", "config"),
    [
        ("switched off", {"short_circuit": False}),
        ("kube-proxy has none", {"compatibility": Compatibility.KUBE_PROXY}),
    ],
)
def test_no_short_circuit(fact: str, config: dict[str, Any]) -> None:
    """Everybody has the same endpoints."""
    settings = msgspec.structs.replace(CONFIG, **config)
    assert not inside(program_of(service(**LOCAL), HERE, THERE, config=settings)), fact


def test_policy_cluster_needs_no_short_circuit() -> None:
    """Everybody has all endpoints."""
    assert not inside(program_of(service(external_ips=(EXTERNAL,)), HERE, THERE))


NO_FALLBACK: list[str] = []
FALLBACK = ["172.16.1.5:8080"]


@pytest.mark.parametrize(
    ("fact", "config", "expected"),
    [
        ("with it none is needed", {}, NO_FALLBACK),
        ("kube-proxy has it", {"compatibility": Compatibility.KUBE_PROXY}, FALLBACK),
        ("it can be had", {"local_fallback": LocalFallback.CLUSTER}, FALLBACK),
        ("without short circuit it is needed", {"short_circuit": False}, FALLBACK),
        (
            "but need not be",
            {"short_circuit": False, "local_fallback": LocalFallback.NONE},
            NO_FALLBACK,
        ),
        ("pods that nobody knows need it", {"cluster_cidrs": ()}, FALLBACK),
        (
            "here nobody knows them either",
            {"detect_local_mode": DetectLocalMode.NODE_CIDR},
            FALLBACK,
        ),
        (
            "by their link they are known",
            {
                "cluster_cidrs": (),
                "detect_local_mode": DetectLocalMode.INTERFACE_NAME_PREFIX,
                "interface_name_prefix": "veth",
            },
            NO_FALLBACK,
        ),
    ],
)
def test_local_without_local_endpoints(
    fact: str, config: dict[str, Any], expected: list[str]
) -> None:
    """Outside clients are dropped exactly where there is nothing for them."""
    settings = msgspec.structs.replace(CONFIG, **config)
    program = program_of(service(**LOCAL), THERE, config=settings)
    assert outside(program, WayIn.EXTERNAL_IP) == expected, fact
    is_forbidden = config.get("local_fallback") is LocalFallback.NONE
    at_node_port = NO_FALLBACK if is_forbidden else FALLBACK
    assert outside(program, WayIn.NODE_PORT) == at_node_port, fact
    dropped = entries(program, SetRole.NO_LOCAL_ENDPOINTS)
    every = ["10.0.0.10,tcp:30080", "192.168.7.1,tcp:30080", "203.0.113.50,tcp:80"]
    assert dropped == ([] if expected else every), fact


def test_no_endpoint_at_all_is_a_refusal() -> None:
    """Waiting for another node's would be in vain, so nobody is dropped."""
    program = program_of(service(**LOCAL))
    assert entries(program, SetRole.NO_LOCAL_ENDPOINTS) == []


def test_internal_local_does_not_fall_back_either() -> None:
    """The cluster IP has one set of endpoints; without any it refuses."""
    given = service(internal_traffic_policy=TrafficPolicy.LOCAL)
    program = program_of(given, THERE)
    assert outside(program, WayIn.CLUSTER_IP) == []
    assert entries(program, SetRole.NO_LOCAL_ENDPOINTS) == []


@pytest.mark.parametrize(
    ("port", "scheduler", "flags", "timeout_s"),
    [
        (8080, "rr", ServiceFlags.PERSISTENT, 600),
        (80, "sh", ServiceFlags.SCHED1, 0),
    ],
)
def test_affinity_inside(
    port: int, scheduler: str, flags: ServiceFlags, timeout_s: int
) -> None:
    """Persistence, or a hash of the client where packets would go to a wrong port.

    A persistent fwmark virtual server keeps the port that packets were sent to
    (ip_vs_core.c:ip_vs_sched_persist).
    """
    given = service(
        **LOCAL,
        affinity_timeout_s=600,
        ports=(ServicePort(name="http", protocol=Protocol.TCP, port=port),),
    )
    what = inside(program_of(given, HERE, THERE))[WayIn.EXTERNAL_IP]
    assert (what.scheduler, what.flags, what.timeout_s) == (scheduler, flags, timeout_s)


def union_of(*programs: ServiceProgram, config: ProxyConfig = CONFIG) -> Desired:
    """The union of programs."""
    union = Desired(compile_node(NODE, config, Capabilities()))
    for program in programs:
        union.put(program)
    return union


def external(
    name: str = "web",
    address: IPv4Address = EXTERNAL,
    *endpoints: Endpoint,
    policy: TrafficPolicy = TrafficPolicy.LOCAL,
    config: ProxyConfig = CONFIG,
) -> ServiceProgram:
    """A Service with one external address, Local by default, and no node port."""
    given = service(
        ref=ObjectRef("default", name),
        cluster_ips=(IPv4Address("10.96.0.10"),),
        external_traffic_policy=policy,
        external_ips=(address,),
        ports=(ServicePort(name="http", protocol=Protocol.TCP, port=80),),
    )
    return compile_service(given, slices(*(endpoints or (HERE, THERE))), NODE, config)


def marks(state: NodeState) -> list[str]:
    """The marked entries."""
    return sorted(map(str, state.entries[MARKED]))


def test_the_union_gives_the_mark() -> None:
    """A marked entry, and a virtual server of that mark with all endpoints."""
    union = union_of(external())
    state = union.state()
    assert marks(state) == ["203.0.113.50,tcp:80 skbmark 0x20000"]
    assert union.short_circuits == {FIRST: KEY}
    assert state.virtual_servers[FIRST] == VirtualServer(
        key=FIRST, scheduler="rr", netmask_bits=32
    )
    assert len(state.real_servers[FIRST]) == 2
    assert len(state.real_servers[KEY]) == 1
    assert union.server(FIRST) == union.server(KEY)


def test_a_service_that_goes_takes_its_mark_along() -> None:
    """The entry, the virtual server and its real servers."""
    union = union_of(external())
    union.take_change()
    union.remove(ObjectRef("default", "web"))
    change = union.take_change()
    assert not union.short_circuits
    assert FIRST in change.keys
    assert change.presumed.entries[MARKED]
    assert not union.state().entries[MARKED]
    assert FIRST not in union.state().virtual_servers


def test_a_changed_endpoint_touches_both_virtual_servers() -> None:
    """And leaves the mark, and its entry, alone."""
    union = union_of(external())
    union.confirm(union.take_change().fresh)
    here = compile_service(
        service(
            **LOCAL, ports=(ServicePort(name="http", protocol=Protocol.TCP, port=80),)
        ),
        slices(HERE),
        NODE,
        CONFIG,
    )
    union.put(here)
    change = union.take_change()
    assert {KEY, FIRST} <= change.keys
    assert not change.desired.entries.get(MARKED)
    assert not change.presumed.entries.get(MARKED)
    assert not change.fresh


def test_the_one_who_has_the_address_has_its_mark() -> None:
    """A contested address is marked once, for the Service that holds it."""
    union = union_of(external("a"), external("b"))
    assert marks(union.state()) == ["203.0.113.50,tcp:80 skbmark 0x20000"]
    union.take_change()
    union.remove(ObjectRef("default", "a"))
    assert union.short_circuits == {FIRST: KEY}
    union.remove(ObjectRef("default", "b"))
    assert not union.short_circuits


def test_without_a_free_mark_the_service_has_a_problem() -> None:
    """It is named, and served like kube-proxy would, with this node's endpoints."""
    config = msgspec.structs.replace(CONFIG, mark_range=MarkRange(7, 0xFFFFFFFF))
    union = union_of(
        external("a"), external("b", IPv4Address("203.0.113.51")), config=config
    )
    assert marks(union.state()) == ["203.0.113.50,tcp:80 skbmark 0x7"]
    (problem,) = (p for p in union.problems() if "fwmark" in p.reason)
    assert str(problem) == (
        "Service default/b: spec.externalIPs: tcp 203.0.113.51:80: no fwmark of "
        "0x7/0xffffffff is free for clients inside the cluster"
    )
    union.take_change()
    union.remove(ObjectRef("default", "a"))
    union.take_change()
    union.agree(Observed(state=NodeState()))
    assert marks(union.state()) == ["203.0.113.51,tcp:80 skbmark 0x7"]
    assert not union.problems()


ONE_MARK = msgspec.structs.replace(CONFIG, mark_range=MarkRange(7, 0xFFFFFFFF))
ELSEWHERE = IPv4Address("203.0.113.51")
OTHER_KEY = msgspec.structs.replace(KEY, address=ELSEWHERE)
DROPPED = set_key(SetRole.NO_LOCAL_ENDPOINTS, IPFamily.IPV4)


def local(name: str, address: IPv4Address, *endpoints: Endpoint) -> ServiceProgram:
    """A Service with one Local address and these endpoints."""
    given = service(
        ref=ObjectRef("default", name),
        cluster_ips=(IPv4Address("10.96.0.10"),),
        external_traffic_policy=TrafficPolicy.LOCAL,
        external_ips=(address,),
        ports=(ServicePort(name="http", protocol=Protocol.TCP, port=80),),
    )
    return compile_service(given, slices(*endpoints), NODE, ONE_MARK)


def test_without_a_free_mark_clients_inside_are_served_all_the_same() -> None:
    """By the cluster's endpoints, as with `localFallback: cluster`; nobody is dropped.

    When a mark is free again, the next change gives it, without an audit.
    """
    union = union_of(
        local("a", EXTERNAL, THERE), local("b", ELSEWHERE, THERE), config=ONE_MARK
    )
    state = union.state()
    assert [str(key) for key in state.real_servers[KEY]] == []
    assert [str(key) for key in state.real_servers[OTHER_KEY]] == ["172.16.1.5:8080"]
    assert {entry.address for entry in state.entries[DROPPED]} == {EXTERNAL}
    union.take_change()
    union.remove(ObjectRef("default", "a"))
    has_some = union.has_marks_to_give
    assert not has_some, "in one plan it must not stand for two"
    union.take_change()
    has_some = union.has_marks_to_give
    assert has_some
    change = union.take_change()
    assert OTHER_KEY in change.keys
    assert [str(key) for key in change.desired.real_servers[OTHER_KEY]] == []
    assert {entry.address for entry in change.desired.entries[DROPPED]} == {ELSEWHERE}
    assert marks(union.state()) == ["203.0.113.51,tcp:80 skbmark 0x7"]
    assert not union.problems()
    has_some = union.has_marks_to_give
    assert not has_some


def test_with_an_endpoint_here_a_mark_that_is_missing_changes_nothing_else() -> None:
    """Outside clients keep it, and their source address; inside ones share it."""
    union = union_of(
        local("a", EXTERNAL, HERE),
        local("b", ELSEWHERE, HERE, THERE),
        config=ONE_MARK,
    )
    state = union.state()
    assert [str(key) for key in state.real_servers[OTHER_KEY]] == ["172.16.0.5:8080"]


def test_an_endpoint_that_comes_is_where_a_mark_is_missing_too() -> None:
    """And leaves the cluster's to the cluster."""
    union = union_of(
        local("a", EXTERNAL, THERE), local("b", ELSEWHERE, THERE), config=ONE_MARK
    )
    union.put(local("b", ELSEWHERE, HERE, THERE))
    state = union.state()
    assert [str(key) for key in state.real_servers[OTHER_KEY]] == ["172.16.0.5:8080"]
    union.remove(ObjectRef("default", "b"))
    assert OTHER_KEY not in union.state().virtual_servers
    assert {entry.address for entry in union.state().entries[DROPPED]} == {EXTERNAL}
    union.remove(ObjectRef("default", "a"))
    assert not union.state().entries[DROPPED]
    assert not union.problems()


def test_the_kernel_is_the_memory_of_marks() -> None:
    """The next process takes over the mark that the entry has."""
    entry = SetEntry(address=EXTERNAL, protocol=Protocol.TCP, port=80, mark=0x20005)
    union = union_of(external())
    union.agree(Observed(state=NodeState(entries={MARKED: frozenset({entry})})))
    assert marks(union.state()) == ["203.0.113.50,tcp:80 skbmark 0x20005"]
    assert [key.fwmark for key in union.short_circuits] == [0x20005]
    assert FIRST not in union.state().virtual_servers


def test_a_virtual_server_is_ours_if_its_mark_is_in_our_set() -> None:
    """Not one more: keepalived's 7 is its own, and so is a 0x20001 of nobody's."""
    state = union_of(external()).state()
    strangers = [
        VirtualServerKey(family=family, fwmark=mark)
        for family, mark in (
            (IPFamily.IPV4, 7),
            (IPFamily.IPV4, 0x20001),
            (IPFamily.IPV6, FIRST.fwmark),
        )
    ]
    servers = {
        key: VirtualServer(key=key, scheduler="wlc", netmask_bits=key.family.bits)
        for key in strangers
    }
    held = msgspec.structs.replace(
        state, virtual_servers={**state.virtual_servers, **servers}
    )
    assert owned_keys(held) == state.virtual_servers.keys()
    left = text_of(held, NodeState())
    assert [op for op in left if "delete virtual server fwmark" in op] == [
        f"delete virtual server {FIRST}"
    ]


def text_of(observed: NodeState, desired: NodeState) -> list[str]:
    """The plan, as an operator sees it."""
    options = DiffOptions(vip_link="kube-ipvs0")
    return in_words(diff(Observed(state=observed), desired, options))


def state_with(mark: int, *, has_marks: bool = True, room: int = 1 << 18) -> NodeState:
    """The short circuit of one address, and nothing else."""
    key = VirtualServerKey(family=IPFamily.IPV4, fwmark=mark)
    entry = SetEntry(address=EXTERNAL, protocol=Protocol.TCP, port=80, mark=mark)
    condition = SetCondition.SOUND if has_marks else SetCondition.OUTDATED
    return NodeState(
        sets={MARKED: SetShape(room, condition)},
        entries={MARKED: frozenset({entry if has_marks else entry.identity})},
        virtual_servers={key: VirtualServer(key=key, scheduler="rr", netmask_bits=32)},
    )


@pytest.mark.parametrize(
    ("fact", "observed", "expected"),
    [
        ("equal states need nothing", state_with(0x20000), []),
        (
            "a mark is changed in place, and never leaves a virtual server ownerless",
            state_with(0x20005),
            [
                "delete virtual server fwmark 0x20005",
                "add entry KUBE-SHORT-CIRCUIT 203.0.113.50,tcp:80 skbmark 0x20000",
                "add virtual server fwmark 0x20000 rr",
            ],
        ),
        (
            "a lost mark is put back; without one the virtual server had no owner",
            msgspec.structs.replace(
                state_with(0x20000),
                entries={
                    MARKED: frozenset(
                        {SetEntry(address=EXTERNAL, protocol=Protocol.TCP, port=80)}
                    )
                },
            ),
            ["add entry KUBE-SHORT-CIRCUIT 203.0.113.50,tcp:80 skbmark 0x20000"],
        ),
        (
            "a set that cannot hold marks is rebuilt as one that can",
            state_with(0x20000, has_marks=False),
            [
                "rebuild set KUBE-SHORT-CIRCUIT hash:ip,port",
            ],
        ),
        (
            "a set that is rebuilt has the new mark at once",
            state_with(0x20005, room=64),
            [
                "delete virtual server fwmark 0x20005",
                "rebuild set KUBE-SHORT-CIRCUIT hash:ip,port",
                "add virtual server fwmark 0x20000 rr",
            ],
        ),
    ],
)
def test_plans_about_marks(fact: str, observed: NodeState, expected: list[str]) -> None:
    """The ops, in order, are what the row says."""
    assert text_of(observed, state_with(0x20000)) == expected, fact


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [(Protocol.TCP, "update"), (Protocol.UDP, "delete"), (Protocol.SCTP, "delete")],
)
def test_drains_behind_a_mark(protocol: Protocol, expected: str) -> None:
    """A fwmark has no protocol, but the address that it is for has."""
    union = union_of(external())
    state = union.state()
    address = msgspec.structs.replace(KEY, protocol=protocol)
    pods = state.real_servers[FIRST]
    busy = RealServerStats(active=1)
    only_mark = NodeState(
        virtual_servers={FIRST: state.virtual_servers[FIRST]},
        real_servers={FIRST: pods},
    )
    plan = diff(
        Observed(state=only_mark, connections={FIRST: dict.fromkeys(pods, busy)}),
        msgspec.structs.replace(only_mark, real_servers={FIRST: {}}),
        DiffOptions(vip_link="kube-ipvs0", short_circuits={FIRST: address}),
    )
    assert {str(op).split()[0] for op in plan} == {expected}
