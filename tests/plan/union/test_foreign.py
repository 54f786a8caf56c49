"""Virtual servers of others on addresses, protocols and ports that Services want."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig, VipBinding
from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol, parse_address
from ipvsctl.model.objects import ServicePort, TrafficPolicy
from ipvsctl.model.sets import MARKING_ROLES, SetEntry, SetRole, set_key
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.diff.ops import (
    AddEntry,
    AddRealServer,
    AddVirtualServer,
    DeleteEntry,
    DeleteRealServer,
    DeleteVirtualServer,
    Op,
    Plan,
    UpdateRealServer,
    UpdateVirtualServer,
)
from ipvsctl.plan.diff.plan import DiffOptions, diff
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.foreign import TAKEN
from ipvsctl.plan.union.node import compile_node
from ipvsctl.wire.ipset.sets import set_name
from tests.builders import endpoint_slice, in_words, service, set_called
from tests.clusters import CONFIG, NODE, Cluster, clusters
from tests.fakes.kernel import FakeKernel

VIP = IPv4Address("203.0.113.50")
PORTS = (
    ServicePort(name="http", protocol=Protocol.TCP, port=80),
    ServicePort(name="https", protocol=Protocol.TCP, port=443),
)
HTTP = VirtualServerKey(
    family=IPFamily.IPV4, protocol=Protocol.TCP, address=VIP, port=80
)
HTTPS = msgspec.structs.replace(HTTP, port=443)
OTHERS_PODS = (parse_address("192.0.2.1"), parse_address("2001:db8:192::1"))


def alien(
    key: VirtualServerKey, scheduler: str = "wlc", **fields: Any
) -> tuple[VirtualServer, RealServer]:
    """A virtual server of somebody else, with a real server of his."""
    address = next(a for a in OTHERS_PODS if a.version == (4 if key.family == 2 else 6))
    server = VirtualServer(key=key, scheduler=scheduler, netmask_bits=key.family.bits)
    return server, RealServer(key=RealServerKey(address, 9000), **fields)


def union() -> Desired:
    """A Service with two ports at an external IP."""
    made = Desired(compile_node(NODE, CONFIG, Capabilities()))
    web = service(ports=PORTS, external_ips=(VIP,))
    made.put(compile_service(web, [endpoint_slice()], NODE, CONFIG))
    return made


def with_alien(*keys: VirtualServerKey) -> Observed:
    """A kernel that has nothing but these, of somebody else."""
    servers = dict(alien(key) for key in keys)
    return Observed(
        state=NodeState(
            virtual_servers={server.key: server for server in servers},
            real_servers={s.key: {r.key: r} for s, r in servers.items()},
        )
    )


def entries_of(desired: Desired) -> set[str]:
    """Every desired entry at the external IP."""
    return {
        f"{set_name(key)} {entry}"
        for key, held in desired.state().entries.items()
        for entry in held
        if entry.address == VIP
    }


def test_a_taken_port_is_withheld_and_the_other_served() -> None:
    """With all that would make it ours; the filter lets the other owner's packets."""
    desired = union()
    desired.agree(with_alien(HTTPS))
    state = desired.state()
    assert HTTP in state.virtual_servers
    assert HTTPS not in state.virtual_servers
    assert HTTPS not in state.real_servers
    assert VIP in state.addresses
    assert entries_of(desired) == {
        "KUBE-EXTERNAL-IP 203.0.113.50,tcp:80",
        "KUBE-IPVS-IPS 203.0.113.50",
        "KUBE-FOREIGN 203.0.113.50,tcp:443",
    }
    assert [str(problem) for problem in desired.problems()] == [
        (
            "Service default/web: spec.externalIPs: tcp 203.0.113.50:443: "
            "already taken by a foreign virtual server"
        )
    ]
    assert desired.server(HTTPS) is None


def test_an_address_with_nothing_of_ours_is_not_bound() -> None:
    """Bound, all of its other ports would be closed."""
    desired = union()
    desired.agree(with_alien(HTTP, HTTPS))
    assert VIP not in desired.state().addresses
    assert VIP not in desired.state().routes
    assert entries_of(desired) == set()
    assert len(desired.problems()) == 2


def test_what_leaves_is_the_services() -> None:
    """The next look at everything gives it."""
    desired = union()
    desired.agree(with_alien(HTTPS))
    desired.take_change()
    desired.agree(Observed(state=NodeState()))
    change = desired.take_change()
    assert change.keys == {HTTPS}
    assert change.fresh == {HTTPS}
    assert HTTPS in desired.state().virtual_servers
    assert desired.problems() == ()
    assert "KUBE-FOREIGN 203.0.113.50,tcp:443" not in entries_of(desired)


def test_who_comes_later_is_told_at_once() -> None:
    """The foreign virtual server is known before any Service wants its place."""
    desired = Desired(compile_node(NODE, CONFIG, Capabilities()))
    desired.agree(with_alien(HTTPS))
    desired.take_change()
    web = service(ports=PORTS, external_ips=(VIP,))
    desired.put(compile_service(web, [endpoint_slice()], NODE, CONFIG))
    change = desired.take_change()
    assert HTTPS not in change.keys
    assert "KUBE-FOREIGN 203.0.113.50,tcp:443" in entries_of(desired)
    assert [problem.reason for problem in desired.problems()] == [TAKEN]
    desired.remove(web.ref)
    assert desired.problems() == ()
    assert entries_of(desired) == set()


def test_inside_clients_of_a_taken_address_are_not_led_away() -> None:
    """No packet to it gets a mark, which IPVS would look at first."""
    elsewhere = msgspec.structs.replace(
        endpoint_slice().endpoints[0], node_name="node-1"
    )
    local = service(
        ports=PORTS,
        external_ips=(VIP,),
        external_traffic_policy=TrafficPolicy.LOCAL,
    )
    desired = Desired(compile_node(NODE, CONFIG, Capabilities()))
    pods = endpoint_slice(endpoints=(elsewhere,))
    desired.put(compile_service(local, [pods], NODE, CONFIG))
    assert set(desired.short_circuits.values()) == {HTTP, HTTPS}
    desired.agree(with_alien(HTTPS))
    assert set(desired.short_circuits.values()) == {HTTP}
    marked = desired.state().entries[set_called("KUBE-SHORT-CIRCUIT")]
    assert [entry.port for entry in marked] == [80]


def test_once_imposed_it_is_ours_for_good() -> None:
    """Whatever becomes of the sets, and whatever it looks like."""
    desired = union()
    desired.agree(Observed(state=NodeState()))
    desired.confirm(desired.take_change().fresh)
    desired.agree(with_alien(HTTP, HTTPS))
    assert desired.foreign == frozenset()
    assert desired.problems() == ()


def test_what_was_ours_a_moment_ago_is_not_asked_about() -> None:
    """A Service that is made anew between two syncs has its virtual servers still."""
    desired = union()
    desired.confirm(desired.take_change().fresh)
    program = desired.programs[service().ref]
    desired.remove(program.ref)
    desired.put(program)
    assert desired.take_change().fresh == frozenset()
    desired.remove(program.ref)
    desired.take_change()
    desired.put(program)
    assert desired.take_change().fresh >= {HTTP, HTTPS}


def test_who_comes_first_between_looking_and_adding_has_it() -> None:
    """Our entry was put in first; it is taken out again, and nothing else."""
    desired = union()
    desired.agree(Observed(state=NodeState()))
    fresh = desired.take_change().fresh
    desired.confirm(fresh - {HTTPS})
    desired.doubt({HTTPS})
    state = desired.state()
    entries = {name: frozenset(held) for name, held in state.entries.items()}
    server, real_server = alien(HTTPS)
    held = msgspec.structs.replace(
        state,
        entries=entries,
        virtual_servers={**state.virtual_servers, HTTPS: server},
        real_servers={**state.real_servers, HTTPS: {real_server.key: real_server}},
        addresses=frozenset(state.addresses),
    )
    observed = Observed(state=held)
    desired.agree(observed)
    assert desired.foreign == {HTTPS}
    options = DiffOptions(vip_link="kube-ipvs0", foreign=desired.foreign)
    assert sorted(in_words(diff(observed, desired.state(), options))) == [
        "add entry KUBE-FOREIGN 203.0.113.50,tcp:443",
        "delete entry KUBE-EXTERNAL-IP 203.0.113.50,tcp:443",
    ]


def test_nothing_is_learned_of_what_has_changed_meanwhile() -> None:
    """A sync deleted it after the kernel was read, and maybe adds it again."""
    desired = union()
    desired.agree(Observed(state=NodeState()))
    desired.confirm(desired.take_change().fresh)
    program = desired.programs[service().ref]
    desired.remove(program.ref)
    desired.take_change()
    desired.agree(with_alien(HTTP, HTTPS), frozenset({HTTP, HTTPS}))
    desired.put(program)
    assert desired.foreign == frozenset()
    assert HTTP in desired.state().virtual_servers


def test_a_change_without_what_is_taken() -> None:
    """What others of the change need as well stays in it."""
    desired = union()
    change = desired.take_change()
    without = desired.without(change, frozenset({HTTPS}))
    assert change.desired.virtual_servers.keys() - without.virtual_servers.keys() == {
        HTTPS
    }
    assert VIP in without.addresses
    assert VIP in without.routes
    lost = {
        f"{set_name(key)} {entry}"
        for key, held in change.desired.entries.items()
        for entry in held - without.entries[key]
    }
    assert lost == {"KUBE-EXTERNAL-IP 203.0.113.50,tcp:443"}
    without = desired.without(change, frozenset({HTTP, HTTPS}))
    assert VIP not in without.addresses
    assert VIP not in without.routes
    assert SetEntry(address=VIP) not in without.entries[set_called("KUBE-IPVS-IPS")]


def keys_of(op: Op) -> VirtualServerKey | None:
    """The virtual server that an op changes."""
    match op:
        case AddVirtualServer(server) | UpdateVirtualServer(server):
            return server.key
        case DeleteVirtualServer(key):
            return key
        case AddRealServer(key) | UpdateRealServer(key) | DeleteRealServer(key):
            return key
        case _:
            return None


def plan(kernel: FakeKernel, desired: Desired) -> Plan:
    """What is to change, as a process does it that has looked at everything."""
    observed = kernel.observe()
    desired.agree(observed)
    desired.take_change()
    options = DiffOptions(
        vip_link="kube-ipvs0",
        short_circuits=desired.short_circuits,
        foreign=desired.foreign,
    )
    return diff(observed, desired.state(), options)


def ours(kernel: FakeKernel, foreign: Iterable[VirtualServerKey]) -> NodeState:
    """What the kernel holds, without these virtual servers and sysctls."""
    state = kernel.observe().state
    keys = state.virtual_servers.keys() - foreign
    return msgspec.structs.replace(
        state,
        sysctls={},
        timeouts=NodeState().timeouts,
        virtual_servers={key: state.virtual_servers[key] for key in keys},
        real_servers={key: state.real_servers.get(key, {}) for key in keys},
        entries={name: held for name, held in state.entries.items() if held},
    )


def wanted(desired: Desired) -> NodeState:
    """What `ours` is to be."""
    state = desired.state()
    return msgspec.structs.replace(
        state,
        sysctls={},
        timeouts=NodeState().timeouts,
        virtual_servers=dict(state.virtual_servers),
        real_servers={key: dict(held) for key, held in state.real_servers.items()},
        entries={name: frozenset(held) for name, held in state.entries.items() if held},
        addresses=frozenset(state.addresses),
    )


UNWANTED = (
    VirtualServerKey(
        family=IPFamily.IPV4,
        protocol=Protocol.TCP,
        address=parse_address("203.0.113.0"),
        port=6443,
    ),
    VirtualServerKey(
        family=IPFamily.IPV4,
        protocol=Protocol.TCP,
        address=parse_address("10.103.97.12"),
        port=6443,
    ),
)
"""One beside a VIP of the random Services, and lvscare's."""


@settings(deadline=None)
@given(clusters(), st.sampled_from(VipBinding), st.data())
def test_no_foreign_virtual_server_is_touched(
    cluster: Cluster, binding: VipBinding, data: st.DataObject
) -> None:
    """Nor hidden; the rest is reached at once, and all of it when they leave."""
    config: ProxyConfig = msgspec.structs.replace(CONFIG, vip_binding=binding)
    kernel = FakeKernel(host_addresses=NODE.host_addresses)
    desired = cluster.desired(config=config)
    keys: Sequence[VirtualServerKey] = sorted(
        key for key in desired.state().virtual_servers if not key.fwmark
    )
    foreign = data.draw(st.sets(st.sampled_from([*keys, *UNWANTED])))
    methods = st.sampled_from(ForwardingMethod)
    schedulers = st.sampled_from(["rr", "wlc"])
    held = {}
    for key in sorted(foreign):
        server, real_server = alien(
            key, data.draw(schedulers), forwarding=data.draw(methods)
        )
        is_empty = data.draw(st.booleans())
        kernel.preload(server, *(() if is_empty else (real_server,)))
        held[key] = kernel.observe().state.real_servers.get(key)
    before = kernel.observe().state.virtual_servers
    ops = plan(kernel, desired)
    assert foreign.isdisjoint(map(keys_of, ops))
    assert not kernel.apply(ops).failed
    state = kernel.observe().state
    for key in foreign:
        assert state.virtual_servers[key] == before[key]
        assert state.real_servers.get(key) == held[key]
        assert is_let_through(state, key)
    assert ours(kernel, foreign) == wanted(desired)
    whole = cluster.desired(config=config).state()
    rest = [key for key in whole.virtual_servers if key not in foreign]
    assert {key for key in rest if not key.fwmark} <= state.virtual_servers.keys()
    for key in keys:
        if key not in foreign:
            assert state.real_servers.get(key, {}) == whole.real_servers[key]
    taken = {p.value for p in desired.problems() if p.reason == TAKEN}
    assert taken == {str(key) for key in foreign.intersection(keys)}
    # The next process sees it alike.
    assert plan(kernel, cluster.desired(config=config)) == ()
    for key in foreign:
        kernel.withdraw(key)
    assert not kernel.apply(plan(kernel, desired)).failed
    assert desired.foreign == frozenset()
    assert wanted(desired) == ours(kernel, ())
    assert desired.state().virtual_servers.keys() >= set(keys)
    assert plan(kernel, desired) == ()


def is_let_through(state: NodeState, key: VirtualServerKey) -> bool:
    """Whether our filter rejects nothing that is for a virtual server of another."""
    entry = SetEntry(address=key.address, protocol=key.protocol, port=key.port)
    closed = state.entries.get(set_key(SetRole.IPVS_IPS, key.family), ())
    opened = state.entries.get(set_key(SetRole.FOREIGN, key.family), ())
    return SetEntry(address=key.address) not in closed or entry in opened


@settings(deadline=None)
@given(clusters(), st.data())
def test_what_is_ours_is_recognised_without_its_entries(
    cluster: Cluster, data: st.DataObject
) -> None:
    """After a flush the next process puts the entries back, and changes nothing else.

    Of some sets, or of some entries, it may take an empty virtual server for another's.
    """
    kernel = FakeKernel(host_addresses=NODE.host_addresses)
    assert not kernel.apply(plan(kernel, cluster.desired())).failed
    before = ours(kernel, ())
    is_whole = data.draw(st.booleans())
    kernel.apply(
        tuple(
            DeleteEntry(key, entry)
            for key, held in before.entries.items()
            # Marks have a memory of their own, see `FwmarkAllocator`.
            if key.role not in MARKING_ROLES
            for entry in held
            if is_whole or data.draw(st.booleans())
        )
    )
    after = cluster.desired()
    repair = plan(kernel, after)
    taken = {p.value for p in after.problems() if p.reason == TAKEN}
    empty = {str(key) for key, held in before.real_servers.items() if not held}
    assert taken <= (set() if is_whole else empty)
    if not taken:
        assert {type(op) for op in repair} <= {AddEntry}
        assert not kernel.apply(repair).failed
        assert ours(kernel, ()) == before
