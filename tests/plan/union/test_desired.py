"""The union of programs: shared things are counted, contested ones are claimed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import Listener, VipBinding
from ipvsctl.model.ipvs import VirtualServer, VirtualServerKey
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol, parse_address
from ipvsctl.model.objects import ServicePortName
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.diff.ops import RebuildSet
from ipvsctl.plan.diff.plan import DiffOptions, diff
from ipvsctl.plan.service.program import (
    HealthCheck,
    LocalhostPort,
    ServerProgram,
    ServiceProgram,
    SetMember,
    WayIn,
    precedence,
)
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.health_checks import ServiceHealth
from ipvsctl.plan.union.node import STRICT_ARP_SYSCTLS, compile_node
from ipvsctl.plan.union.shared import DEFAULT_ROOM
from tests.clusters import CONFIG, NODE, Cluster, clusters

VIP = IPv4Address("203.0.113.50")
EXTERNAL = set_key(SetRole.EXTERNAL_IP, IPFamily.IPV4)


def desired() -> Desired:
    """An empty union."""
    return Desired(compile_node(NODE, CONFIG, Capabilities()))


def program(
    name: str, port: int, *, created: str = "", way: WayIn = WayIn.EXTERNAL_IP
) -> ServiceProgram:
    """A Service with one virtual server on the shared VIP."""
    ref = ObjectRef("default", name)
    entry = SetEntry(address=VIP, protocol=Protocol.TCP, port=port)
    return ServiceProgram(
        ref=ref,
        created=created,
        servers=(
            ServerProgram(
                port_name=ServicePortName(ref, "http", Protocol.TCP),
                way=way,
                server=VirtualServer(
                    key=VirtualServerKey(
                        family=IPFamily.IPV4,
                        protocol=Protocol.TCP,
                        address=VIP,
                        port=port,
                    ),
                    scheduler="rr",
                    netmask_bits=32,
                ),
                real_servers={},
                entries=(SetMember(EXTERNAL, entry),),
                field="spec.externalIPs",
                is_bound=True,
            ),
        ),
    )


def test_health_checks_are_part_of_a_change() -> None:
    """Those of the Services put and removed; a lost port is a problem."""
    union = desired()
    check = HealthCheck(port=32000, local_endpoints=1)
    web = msgspec.structs.replace(program("web", 80), health_check=check)
    other = msgspec.structs.replace(program("other", 81), health_check=check)
    union.put(web)
    health = ServiceHealth(web.ref, 1)
    assert union.take_change().health_checks == {32000: health}
    union.put(program("third", 82))
    assert union.take_change().health_checks == {}
    union.put(msgspec.structs.replace(other, created="2026"))
    assert [problem.field for problem in union.problems()] == [
        "spec.healthCheckNodePort"
    ]
    assert union.health_checks() == {32000: health}
    union.remove(web.ref)
    expected = ServiceHealth(other.ref, 1)
    assert union.take_change().health_checks == {32000: expected}
    assert union.problems() == ()


def test_listeners_on_localhost_are_part_of_a_change() -> None:
    """Those of the Services put and removed; nothing else comes of them."""
    union = desired()
    web = program("web", 80)
    listener = Listener(parse_address("127.0.0.1"), 30080)
    port = LocalhostPort(
        port_name=web.servers[0].port_name,
        listener=listener,
        field="spec.ports[0].nodePort",
        real_servers={},
    )
    union.put(msgspec.structs.replace(web, localhost_ports=(port,)))
    assert union.take_change().localhost_ports == {listener: port}
    assert union.localhost_ports() == {listener: port}
    union.remove(web.ref)
    assert union.take_change().localhost_ports == {listener: None}


def plain(state: NodeState) -> NodeState:
    """The state as values of its own, comparable and no longer changing."""
    return msgspec.structs.replace(
        state,
        entries={name: frozenset(held) for name, held in state.entries.items() if held},
        virtual_servers=dict(state.virtual_servers),
        real_servers=dict(state.real_servers),
        addresses=frozenset(state.addresses),
    )


def without_marks(union: Desired) -> NodeState:
    """The state with every fwmark told by the address it is for."""
    state = plain(union.state())
    told = {
        key: msgspec.structs.replace(address, fwmark=1)
        for key, address in union.short_circuits.items()
    }
    return msgspec.structs.replace(
        state,
        entries={n: {e.identity for e in held} for n, held in state.entries.items()},
        virtual_servers={
            told.get(key, key): msgspec.structs.replace(server, key=told.get(key, key))
            for key, server in state.virtual_servers.items()
        },
        real_servers={
            told.get(key, key): held for key, held in state.real_servers.items()
        },
    )


def test_a_shared_address_stays_until_the_last_service_leaves() -> None:
    """Removing one of two Services on one VIP takes nothing from the other."""
    union = desired()
    union.put(program("a", 80))
    union.put(program("b", 443))
    union.remove(ObjectRef("default", "a"))
    state = plain(union.state())
    assert state.addresses == {VIP}
    assert [key.port for key in state.virtual_servers] == [443]
    union.remove(ObjectRef("default", "b"))
    state = plain(union.state())
    assert not state.addresses
    assert not state.virtual_servers
    # The node's own.
    of_node = {SetRole.TUNNEL_END, SetRole.TUNNEL_PEER}
    assert {key.role for key in state.entries} == of_node


def test_the_older_service_keeps_a_contested_virtual_server() -> None:
    """Whatever the order of arrival; the loser is told, and takes over in the end."""
    union = desired()
    young = program("a", 80, created="2026-02-02T00:00:00Z")
    old = program("b", 80, created="2026-01-01T00:00:00Z")
    union.put(young)
    union.put(old)
    key = old.servers[0].server.key
    server = union.server(key)
    assert server is not None
    assert server.port_name.service == old.ref
    assert [str(p) for p in union.problems()] == [
        (
            "Service default/a: spec.externalIPs: tcp 203.0.113.50:80: "
            "already taken by Service default/b"
        )
    ]
    union.remove(old.ref)
    server = union.server(key)
    assert server is not None
    assert server.port_name.service == young.ref
    assert union.problems() == ()
    assert plain(union.state()).entries[EXTERNAL] == {old.servers[0].entries[0].entry}


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (WayIn.CLUSTER_IP, WayIn.EXTERNAL_IP),
        (WayIn.CLUSTER_IP, WayIn.INGRESS_VIP),
        (WayIn.CLUSTER_IP, WayIn.NODE_PORT),
        (WayIn.NODE_PORT, WayIn.EXTERNAL_IP),
        (WayIn.NODE_PORT, WayIn.INGRESS_VIP),
    ],
)
def test_a_better_way_in_has_it_whatever_the_age(better: WayIn, worse: WayIn) -> None:
    """Who lists an address before it is given to another does not keep its traffic.

    In whatever order they come; and has it when the other one goes.
    """
    squatter = program("a", 80, created="2026-01-01T00:00:00Z", way=worse)
    victim = program("b", 80, created="2026-02-02T00:00:00Z", way=better)
    key = victim.servers[0].server.key
    for first, second in ((squatter, victim), (victim, squatter)):
        union = desired()
        union.put(first)
        union.put(second)
        held = union.server(key)
        assert held is not None
        assert held.port_name.service == victim.ref
        assert [str(p) for p in union.problems()] == [
            (
                "Service default/a: spec.externalIPs: tcp 203.0.113.50:80: "
                "already taken by Service default/b"
            )
        ]
        union.remove(victim.ref)
        held = union.server(key)
        assert held is not None
        assert held.port_name.service == squatter.ref
        assert union.problems() == ()


def test_a_claim_may_become_a_better_one() -> None:
    """A Service that is given as cluster IP what it had as external IP."""
    union = desired()
    union.put(program("a", 80, created="2026-02-02T00:00:00Z"))
    union.put(program("b", 80, created="2026-01-01T00:00:00Z"))
    given = program("a", 80, created="2026-02-02T00:00:00Z", way=WayIn.CLUSTER_IP)
    union.put(given)
    held = union.server(given.servers[0].server.key)
    assert held is not None
    assert held.port_name.service == given.ref
    union.put(program("a", 80, created="2026-02-02T00:00:00Z"))
    held = union.server(given.servers[0].server.key)
    assert held is not None
    assert held.port_name.service == ObjectRef("default", "b")


@given(st.lists(st.tuples(st.sampled_from(WayIn), st.integers(0, 2)), max_size=5))
def test_the_least_of_way_age_and_name_has_it(wishes: list[tuple[WayIn, int]]) -> None:
    """Whatever the order in which they come and go."""
    programs = [
        program(f"s{number}", 80, created=f"202{age}", way=way)
        for number, (way, age) in enumerate(wishes)
    ]
    union = desired()
    for one in programs:
        union.put(one)
    order = sorted(
        programs, key=lambda p: (precedence(p.servers[0].way), p.created, p.ref)
    )
    for number, one in enumerate(order):
        held = union.server(one.servers[0].server.key)
        assert held is not None
        assert held.port_name.service == one.ref
        assert len(union.problems()) == len(order) - number - 1
        union.remove(one.ref)
    assert not union.state().virtual_servers


def test_a_service_made_anew_under_its_name_keeps_its_virtual_server() -> None:
    """Deleted and created between two syncs, only the claim's age changes."""
    union = desired()
    union.put(program("a", 80, created="2026-01-01T00:00:00Z"))
    before = plain(union.state())
    union.take_change()
    union.put(program("a", 80, created="2026-03-01T00:00:00Z"))
    assert plain(union.state()) == before
    assert union.problems() == ()
    assert not any(union.take_change().presumed.entries.values())


def test_no_change_touches_nothing() -> None:
    """Putting an equal program asks for no look at the kernel."""
    union = desired()
    union.put(program("a", 80))
    union.take_change()
    union.put(program("a", 80))
    change = union.take_change()
    assert change.keys == frozenset()
    assert not any(change.desired.entries.values())


def test_what_comes_and_goes_between_two_looks_is_no_change() -> None:
    """Only the net effect is imposed; the virtual server is looked at, to be sure."""
    union = desired()
    # The node's own.
    union.take_change()
    union.put(program("a", 80))
    union.remove(ObjectRef("default", "a"))
    change = union.take_change()
    assert not any(change.desired.entries.values())
    assert not any(change.presumed.entries.values())
    assert not change.desired.addresses
    assert not change.presumed.addresses
    assert len(change.keys) == 1


def test_strict_arp_follows_load_balancer_vips() -> None:
    """Left to itself it is on exactly while a Service has a load-balancer VIP."""
    union = desired()
    lb = msgspec.structs.replace(program("a", 80), has_ingress_vip=True)
    assert not STRICT_ARP_SYSCTLS.items() & union.state().sysctls.items()
    union.put(lb)
    change = union.take_change()
    assert STRICT_ARP_SYSCTLS.items() <= change.desired.sysctls.items()
    assert not STRICT_ARP_SYSCTLS.items() & change.presumed.sysctls.items()
    union.remove(lb.ref)
    assert not STRICT_ARP_SYSCTLS.items() & union.state().sysctls.items()


def test_a_full_set_is_made_anew_by_the_change_that_fills_it() -> None:
    """A set cannot grow in place: one that is twice as large takes all of it over."""
    union = desired()
    entries = tuple(
        SetMember(EXTERNAL, SetEntry(address=VIP, protocol=Protocol.TCP, port=n))
        for n in range(1, 65536)
    ) + tuple(
        SetMember(EXTERNAL, SetEntry(address=IPv4Address(a), port=n, protocol=p))
        for a in range(3)
        for p in (Protocol.TCP, Protocol.UDP)
        for n in range(1, 10)
    )
    assert len(entries) > DEFAULT_ROOM
    huge = ServiceProgram(
        ref=ObjectRef("default", "huge"), entries=entries[:DEFAULT_ROOM]
    )
    union.put(huge)
    assert not union.take_change().desired.sets
    union.put(ServiceProgram(ref=ObjectRef("default", "more"), entries=entries[-99:]))
    change = union.take_change()
    assert not change.needs_audit
    assert diff(
        Observed(state=change.presumed), change.desired, DiffOptions(vip_link="v")
    ) == (RebuildSet(EXTERNAL, 2 * DEFAULT_ROOM, frozenset(m.entry for m in entries)),)
    assert union.state().sets[EXTERNAL].room == 2 * DEFAULT_ROOM
    union.remove(huge.ref)
    assert not union.take_change().desired.sets


@given(st.lists(clusters(), min_size=1, max_size=3))
def test_the_way_there_does_not_matter(way: list[Cluster]) -> None:
    """After any sequence of clusters the union is that of the last one alone.

    Only fwmarks have a history.
    """
    union = desired()
    for cluster in way:
        wanted = {p.ref: p for p in cluster.desired().programs.values()}
        for ref in [*union.programs]:
            if ref not in wanted:
                union.remove(ref)
        for one in wanted.values():
            union.put(one)
    fresh = way[-1].desired()
    assert without_marks(union) == without_marks(fresh)
    assert union.problems() == fresh.problems()
    assert union.urgent_addresses() == fresh.urgent_addresses()


@given(clusters(), clusters())
def test_a_change_is_the_difference(before: Cluster, after: Cluster) -> None:
    """What came and what went, added up, is what a look at everything would find."""
    union = before.desired()
    union.take_change()
    old = plain(union.state())
    programs = after.desired().programs
    for ref in [*union.programs]:
        if ref not in programs:
            union.remove(ref)
    for one in programs.values():
        union.put(one)
    change = union.take_change()
    new = plain(union.state())
    for name in old.sets:
        held = old.entries.get(name, frozenset())
        wanted = new.entries.get(name, frozenset())
        assert change.desired.entries.get(name, frozenset()) == wanted - held
        assert change.presumed.entries.get(name, frozenset()) == held - wanted
    assert change.desired.addresses == new.addresses - old.addresses
    assert change.presumed.addresses == old.addresses - new.addresses
    assert change.desired.routes.items() == new.routes.items() - old.routes.items()
    assert change.presumed.routes.items() == old.routes.items() - new.routes.items()
    differing = {
        key
        for key in old.virtual_servers.keys() | new.virtual_servers.keys()
        if old.virtual_servers.get(key) != new.virtual_servers.get(key)
        or old.real_servers.get(key) != new.real_servers.get(key)
    }
    assert differing <= change.keys
    for key in change.keys:
        assert change.desired.virtual_servers.get(key) == new.virtual_servers.get(key)


@given(clusters(), clusters())
def test_questions_change_nothing(before: Cluster, after: Cluster) -> None:
    """A union that is asked everything goes on as one that is asked nothing."""
    asked, other = before.desired(), before.desired()
    for union in (asked, other):
        union.take_change()
        for one in after.desired().programs.values():
            union.put(one)
    _ask_everything(asked)
    change, expected = asked.take_change(), other.take_change()
    assert change == expected
    assert asked.without(change, change.fresh) == other.without(change, change.fresh)
    assert plain(asked.state()) == plain(other.state())


def _ask_everything(union: Desired) -> None:
    keys = union.state().virtual_servers.keys()
    for key in keys:
        union.server(key)
    union.unchanged(keys)
    union.servers()
    union.problems()
    union.health_checks()
    union.urgent_addresses()
    for name, value in vars(Desired).items():
        if isinstance(value, property):
            getattr(union, name)


def test_another_address_of_the_node_asks_for_an_audit() -> None:
    """Every route has it as source, so all of them change."""
    union = desired()
    union.put(program("a", 80))
    assert not union.take_change().needs_audit
    assert union.state().routes == {VIP: IPv4Address("10.0.0.10")}
    moved = msgspec.structs.replace(NODE, node_addresses=(IPv4Address("10.9.0.10"),))
    union.set_node(compile_node(moved, CONFIG, Capabilities()))
    assert union.take_change().needs_audit
    assert union.state().routes == {VIP: IPv4Address("10.9.0.10")}
    assert not union.take_change().needs_audit


def test_a_vip_is_bound_by_an_address_or_by_a_route() -> None:
    """A change has what the node's way of binding needs, and nothing else."""
    config = msgspec.structs.replace(CONFIG, vip_binding=VipBinding.ROUTE)
    union = Desired(compile_node(NODE, config, Capabilities()))
    union.put(program("a", 80))
    came = union.take_change()
    assert came.desired.routes == {VIP: IPv4Address("10.0.0.10")}
    assert not came.desired.addresses
    union.remove(ObjectRef("default", "a"))
    went = union.take_change()
    assert went.presumed.routes == {VIP: IPv4Address("10.0.0.10")}
    assert not went.desired.routes
