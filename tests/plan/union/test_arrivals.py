"""The virtual servers of what other nodes send in tunnels, and the node's own part."""

from typing import Final

import msgspec

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    RealServerStats,
    Tunnel,
    VirtualServerKey,
)
from ipvsctl.model.marks import MarkRange
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.diff.plan import DiffOptions, diff
from ipvsctl.plan.diff.stale_flows import beside, plan_stale_flows
from ipvsctl.plan.service.program import ServiceProgram
from ipvsctl.plan.trace.outcome import Fate
from ipvsctl.plan.trace.packet import Packet
from ipvsctl.plan.trace.packets import trace
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.fwmark_allocator import BesideKind
from ipvsctl.plan.union.node import compile_node
from ipvsctl.plan.union.ownership import Ownership
from tests.builders import in_words
from tests.plan.service.test_compile import HERE, THERE
from tests.plan.service.test_tunnels import ABLE, CONFIG, EXTERNAL, external, program
from tests.plan.union.test_closing_circuits import copied

KEY: Final = VirtualServerKey(
    family=IPFamily.IPV4, protocol=Protocol.TCP, address=EXTERNAL, port=80
)
ARRIVALS: Final = set_key(SetRole.TUNNEL_ARRIVAL, IPFamily.IPV4)
INSIDE: Final = set_key(SetRole.SHORT_CIRCUIT, IPFamily.IPV4)
PLAIN: Final = msgspec.structs.replace(CONFIG, tunnel_port=0)
OPTIONS: Final = DiffOptions(vip_link="kube-ipvs0")
LINK: Final = "ipvsctl-tunl4"


def web(*endpoints: object, config: ProxyConfig = CONFIG) -> ServiceProgram:
    """A Service with an external IP alone."""
    return program(*endpoints, config=config, ingress_vips=())  # type: ignore[arg-type]  # endpoints


def union_of(found: ServiceProgram, config: ProxyConfig = CONFIG) -> Desired:
    """The union of one program on a node that can."""
    union = Desired(compile_node(ABLE, config, Capabilities()))
    union.put(found)
    union.agree(Observed(state=NodeState()))
    union.confirm(union.take_change().fresh)
    return union


def marked(state: NodeState, role: SetRole) -> list[str]:
    """The entries of a set."""
    return sorted(map(str, state.entries[set_key(role, IPFamily.IPV4)]))


def arrival(union: Desired) -> VirtualServerKey:
    """The virtual server of what arrives at the external IP."""
    return union.frozen().beside(BesideKind.ARRIVAL)[KEY]


def test_an_address_has_two_marks() -> None:
    """One for inside clients, one for what arrives; each leads to its real servers."""
    union = union_of(web())
    state = union.state()
    for kind, role in (
        (BesideKind.INSIDE, SetRole.SHORT_CIRCUIT),
        (BesideKind.ARRIVAL, SetRole.TUNNEL_ARRIVAL),
    ):
        mark = union.frozen().beside(kind)[KEY].fwmark
        assert marked(state, role) == [f"{EXTERNAL},tcp:80 skbmark {mark:#x}"]
    assert state.real_servers[arrival(union)].keys() == {
        RealServerKey(HERE.address, 8080)
    }
    assert union.server(arrival(union)) == union.server(KEY)
    assert diff(Observed(state=copied(state)), state, OPTIONS) == ()


def test_the_node_has_its_end_and_who_may_send() -> None:
    """And no set of it where there is none."""
    state = union_of(web()).state()
    assert marked(state, SetRole.TUNNEL_END) == ["10.0.0.10,udp:6080"]
    assert marked(state, SetRole.TUNNEL_PEER) == ["10.0.0.11"]
    assert state.tunnel_ends.keys() == {IPFamily.IPV4, IPFamily.IPV6}
    state = union_of(web(config=PLAIN), PLAIN).state()
    assert state.tunnel_ends == {}
    assert not any("tunnel" in key.role for key in state.sets)


def test_another_node_may_send_from_now_on() -> None:
    """A sync adds it; another end of tunnels is for an audit."""
    union = union_of(web())
    another = IPv4Address("10.0.0.12")
    more = msgspec.structs.replace(ABLE, peer_addresses=ABLE.peer_addresses | {another})
    union.set_node(compile_node(more, CONFIG, Capabilities()))
    change = union.take_change()
    peers = set_key(SetRole.TUNNEL_PEER, IPFamily.IPV4)
    assert list(map(str, change.desired.entries[peers])) == [str(another)]
    assert not change.needs_audit
    moved = msgspec.structs.replace(CONFIG, tunnel_port=7000)
    union.set_node(compile_node(more, moved, Capabilities()))
    assert union.take_change().needs_audit


def test_it_closes_when_its_connections_have_ended() -> None:
    """Two looks without any: the sets do not say that it had been closing before."""
    union = union_of(web())
    key = arrival(union)
    held = copied(union.state())
    union.put(web(config=PLAIN))
    state = union.state()
    assert marked(state, SetRole.TUNNEL_ARRIVAL) == [
        f"{EXTERNAL},tcp:80 skbmark {key.fwmark:#x}"
    ]
    assert key in state.virtual_servers
    real = RealServerKey(HERE.address, 8080)
    busy = {key: {real: RealServerStats(inactive=1)}}
    union.agree(Observed(state=held, connections=busy))
    union.agree(Observed(state=held))
    assert key in union.state().virtual_servers
    union.agree(Observed(state=held, connections=busy))
    union.agree(Observed(state=held))
    assert key in union.state().virtual_servers
    union.agree(Observed(state=held))
    assert key not in union.state().virtual_servers
    assert marked(union.state(), SetRole.TUNNEL_ARRIVAL) == []


def test_the_next_process_takes_marks_over() -> None:
    """Both, also of one that closes."""
    held = copied(union_of(web()).state())
    for found in (web(), web(config=PLAIN)):
        union = Desired(compile_node(ABLE, CONFIG, Capabilities()))
        union.put(found)
        union.agree(Observed(state=held))
        assert union.state().entries[ARRIVALS] == held.entries[ARRIVALS]


def test_without_a_mark_all_is_masqueraded() -> None:
    """Until there is one; no mark goes back and forth meanwhile."""
    config = msgspec.structs.replace(CONFIG, mark_range=MarkRange(0x20000, 0xFFFFFFFF))
    union = union_of(web(config=config), config)
    state = union.state()
    assert {r.forwarding for r in state.real_servers[KEY].values()} == {
        ForwardingMethod.MASQUERADE
    }
    assert marked(state, SetRole.EXTERNAL_IP) == [f"{EXTERNAL},tcp:80"]
    (problem,) = union.problems()
    assert "no fwmark" in problem.reason
    for _ in range(3):
        union.take_change()
        assert not union.has_marks_to_give
    union.remove(web().ref)
    union.take_change()
    assert union.state().virtual_servers == {}
    assert not any(union.state().entries.values()) or all(
        key.role in {SetRole.TUNNEL_END, SetRole.TUNNEL_PEER}
        for key, entries in union.state().entries.items()
        if entries
    )


def test_whose_it_is_after_a_flush() -> None:
    """A tunnel that its Service wants is ours; another's is not."""
    state = copied(union_of(web()).state())
    flushed = msgspec.structs.replace(state, entries={})
    server = external(web())
    assert Ownership(Observed(state=flushed)).is_recognised(server)
    theirs = RealServer(
        key=RealServerKey(IPv4Address("192.0.2.1"), 80),
        forwarding=ForwardingMethod.TUNNEL,
        tunnel=Tunnel(port=9),
    )
    held = {**state.real_servers[KEY], theirs.key: theirs}
    strange = msgspec.structs.replace(
        flushed, real_servers={**state.real_servers, KEY: held}
    )
    assert not Ownership(Observed(state=strange)).is_recognised(server)


def test_flows_that_are_tunnelled_are_not_stale() -> None:
    """They lead to the VIP itself, since nothing is translated here."""
    udp = msgspec.structs.replace(KEY, protocol=Protocol.UDP)
    held = union_of(web()).state()
    state = NodeState(
        virtual_servers={
            udp: msgspec.structs.replace(held.virtual_servers[KEY], key=udp)
        },
        real_servers={udp: held.real_servers[KEY]},
    )
    inside = beside({}, state)
    for flow, is_stale in (
        (RealServerKey(EXTERNAL, 80), False),
        (RealServerKey(IPv4Address("172.16.9.9"), 8080), True),
    ):
        observed = Observed(state=state, flows={udp: {flow}})
        assert bool(list(plan_stale_flows(observed, state, inside, [udp]))) == is_stale


def test_a_changed_mark_takes_its_virtual_server_along() -> None:
    """As with inside clients: without its entry it would look foreign."""
    held = copied(union_of(web()).state())
    union = union_of(web())
    (entry,) = held.entries[ARRIVALS]
    other = msgspec.structs.replace(entry, mark=0x20009)
    wanted = msgspec.structs.replace(
        union.state(),
        entries={**union.state().entries, ARRIVALS: frozenset({other})},
    )
    first, *_ = in_words(diff(Observed(state=held), wanted, OPTIONS))
    assert first == f"delete virtual server fwmark {entry.mark:#x}"


def packet(source: str, *, link: str) -> Packet:
    """One to the external IP."""
    return Packet(
        source=IPv4Address(source), destination=EXTERNAL, port=80, in_interface=link
    )


def test_the_ways_of_packets() -> None:
    """Clients outside, pods, what arrives in the tunnel, and its wrapping."""
    union = union_of(web())
    state, hosts = union.state(), ABLE.host_addresses
    outside = trace(state, packet("192.0.2.7", link="eth0"), host_addresses=hosts)
    assert outside.virtual_server == KEY
    assert {(str(d.endpoint), d.masqueraded) for d in outside.deliveries} == {
        ("10.0.0.11:80", False),
        ("172.16.0.5:8080", False),
    }
    pod = trace(state, packet("172.16.0.9", link="cbr0"), host_addresses=hosts)
    assert {str(d.endpoint) for d in pod.deliveries} == {
        "172.16.0.5:8080",
        "172.16.1.5:8080",
    }
    arrived = trace(state, packet("192.0.2.7", link=LINK), host_addresses=hosts)
    assert arrived.virtual_server == arrival(union)
    assert [(str(d.endpoint), d.masqueraded) for d in arrived.deliveries] == [
        ("172.16.0.5:8080", False)
    ]
    for source, fate in (("10.0.0.11", Fate.LOCAL), ("10.0.0.99", Fate.DROPPED)):
        wrapped = Packet(
            source=IPv4Address(source),
            destination=IPv4Address("10.0.0.10"),
            protocol=Protocol.UDP,
            port=6080,
            in_interface="eth0",
        )
        assert trace(state, wrapped, host_addresses=hosts).fate is fate


def test_what_arrives_for_nothing_begins_nothing() -> None:
    """Shut, or for no address of ours; what this node masquerades it serves as that."""
    hosts = ABLE.host_addresses
    shut = union_of(web(THERE)).state()
    arrived = packet("192.0.2.7", link=LINK)
    assert trace(shut, arrived, host_addresses=hosts).fate is Fate.DROPPED
    later = msgspec.structs.replace(arrived, ctstate="ESTABLISHED")
    assert trace(shut, later, host_addresses=hosts).fate is not Fate.DROPPED
    other = msgspec.structs.replace(arrived, port=81)
    assert trace(shut, other, host_addresses=hosts).fate is Fate.DROPPED
    plain = union_of(web(config=PLAIN)).state()
    served = trace(plain, arrived, host_addresses=hosts)
    assert served.virtual_server == KEY
    assert {d.masqueraded for d in served.deliveries} == {True}
