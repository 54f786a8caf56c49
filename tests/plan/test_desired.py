"""The union of programs: shared things are counted, contested ones are claimed."""

from ipaddress import IPv4Address

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.facts import KernelFacts
from ipvsctl.model.ipset import SetEntry
from ipvsctl.model.ipvs import VirtualServer, VirtualServerKey
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.model.objects import ServicePortName
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.state import NodeState
from ipvsctl.plan.catalogue import DEFAULT_MAXELEM, SetRole, set_name
from ipvsctl.plan.desired import Desired
from ipvsctl.plan.node import STRICT_ARP_SYSCTLS, compile_node
from ipvsctl.plan.program import NamedEntry, ServerProgram, ServiceProgram, WayIn
from tests.clusters import CONFIG, NODE, Cluster, clusters

VIP = IPv4Address("203.0.113.50")
EXTERNAL = set_name(SetRole.EXTERNAL_IP, IPFamily.IPV4)


def desired() -> Desired:
    """An empty union."""
    return Desired(compile_node(NODE, CONFIG, KernelFacts()))


def program(name: str, port: int, *, created: str = "") -> ServiceProgram:
    """A Service with one virtual server on the shared VIP."""
    ref = ObjectRef("default", name)
    entry = SetEntry(address=VIP, protocol=Protocol.TCP, port=port)
    return ServiceProgram(
        ref=ref,
        created=created,
        servers=(
            ServerProgram(
                port_name=ServicePortName(ref, "http", Protocol.TCP),
                way=WayIn.EXTERNAL_IP,
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
                entries=(NamedEntry(EXTERNAL, entry),),
                field="spec.externalIPs",
            ),
        ),
        addresses=frozenset({VIP}),
    )


def plain(state: NodeState) -> NodeState:
    """The state as values of its own, comparable and no longer changing."""
    return msgspec.structs.replace(
        state,
        entries={name: frozenset(held) for name, held in state.entries.items() if held},
        virtual_servers=dict(state.virtual_servers),
        real_servers=dict(state.real_servers),
        addresses=frozenset(state.addresses),
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
    assert not state.entries


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


def test_a_full_set_asks_for_an_audit_and_a_larger_set() -> None:
    """A set cannot grow in place; the next audit plans one that is twice as large."""
    union = desired()
    entries = tuple(
        NamedEntry(EXTERNAL, SetEntry(address=VIP, protocol=Protocol.TCP, port=n))
        for n in range(1, 65536)
    ) + tuple(
        NamedEntry(EXTERNAL, SetEntry(address=IPv4Address(a), port=n, protocol=p))
        for a in range(3)
        for p in (Protocol.TCP, Protocol.UDP)
        for n in range(1, 40000)
    )
    assert len(entries) > DEFAULT_MAXELEM
    union.put(ServiceProgram(ref=ObjectRef("default", "huge"), entries=entries))
    assert union.take_change().needs_audit
    assert union.state().sets[EXTERNAL].maxelem == 2 * DEFAULT_MAXELEM
    assert not union.take_change().needs_audit


@given(st.lists(clusters(), min_size=1, max_size=3))
def test_the_way_there_does_not_matter(way: list[Cluster]) -> None:
    """After any sequence of clusters the union is that of the last one alone."""
    union = desired()
    for cluster in way:
        wanted = {p.ref: p for p in cluster.desired().programs.values()}
        for ref in [*union.programs]:
            if ref not in wanted:
                union.remove(ref)
        for one in wanted.values():
            union.put(one)
    fresh = way[-1].desired()
    assert plain(union.state()) == plain(fresh.state())
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
        assert change.desired.entries[name] == wanted - held
        assert change.presumed.entries[name] == held - wanted
    assert change.desired.addresses == new.addresses - old.addresses
    assert change.presumed.addresses == old.addresses - new.addresses
    differing = {
        key
        for key in old.virtual_servers.keys() | new.virtual_servers.keys()
        if old.virtual_servers.get(key) != new.virtual_servers.get(key)
        or old.real_servers.get(key) != new.real_servers.get(key)
    }
    assert differing <= change.keys
    for key in change.keys:
        assert change.desired.virtual_servers.get(key) == new.virtual_servers.get(key)
