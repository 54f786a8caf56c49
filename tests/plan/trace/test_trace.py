"""The value that a trace ends with, and all that ends it with an error."""

from typing import get_args

import msgspec
import pytest

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.errors import TraceError
from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import (
    IPFamily,
    Protocol,
    is_in,
    parse_address,
    parse_network,
)
from ipvsctl.model.rules import (
    ChainRef,
    Jump,
    MapMark,
    Masquerade,
    Match,
    MatchAddrTypeLocal,
    MatchConntrackState,
    MatchIcmpType,
    MatchInInterface,
    MatchMark,
    MatchPhysdevIsIn,
    MatchProtocol,
    MatchSet,
    MatchSource,
    Reject,
    Rule,
    SetXMark,
    Side,
    Table,
    Target,
    UnknownRule,
    Verdict,
)
from ipvsctl.model.sets import (
    SetCondition,
    SetEntry,
    SetRole,
    SetShape,
    set_key,
)
from ipvsctl.model.state import NodeState
from ipvsctl.plan.rules.chains import in_set
from ipvsctl.plan.service.compile import compile_service
from ipvsctl.plan.trace.outcome import Delivery, Fate, Outcome, RuleStep, ServerStep
from ipvsctl.plan.trace.packet import Packet
from ipvsctl.plan.trace.packets import trace
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.node import compile_node
from tests import builders, clusters
from tests.plan.trace.one_node import BOTH, V4, V6, address, node_state, send

INPUT = ChainRef(Table.FILTER, "INPUT")
OUTPUT = ChainRef(Table.FILTER, "OUTPUT")
OTHER = ChainRef(Table.FILTER, "OTHER")
DST = (Side.DST, Side.DST)


def with_rules(
    state: NodeState, family: IPFamily, **chains: tuple[Rule | UnknownRule, ...]
) -> NodeState:
    """The state with these rules before the others of a filter chain."""
    edited = dict(state.chains[family])
    for name, rules in chains.items():
        ref = ChainRef(Table.FILTER, name)
        edited[ref] = (*rules, *edited.get(ref, ()))
    return msgspec.structs.replace(state, chains={**state.chains, family: edited})


def key(family: IPFamily, name: str, port: int = 80) -> VirtualServerKey:
    """A TCP virtual server by its part in the story."""
    return VirtualServerKey(
        family=family, protocol=Protocol.TCP, address=address(family, name), port=port
    )


def with_server(state: NodeState, server: VirtualServerKey) -> NodeState:
    """The state with a virtual server more, which has no entry and no real server."""
    made = VirtualServer(key=server, scheduler="rr", netmask_bits=server.family.bits)
    held = {**state.virtual_servers, server: made}
    return msgspec.structs.replace(state, virtual_servers=held)


@BOTH
def test_the_steps_say_what_decided(family: IPFamily) -> None:
    """Each rule with its place, the hook it was met in, and the entries that hit."""
    outcome = send(node_state(family), family, "client", "ranged")
    vip, client = address(family, "ranged"), address(family, "client")
    (allowed,) = (
        step
        for step in outcome.steps
        if isinstance(step, RuleStep)
        and step.chain == ChainRef(Table.FILTER, "KUBE-SOURCE-RANGES-FIREWALL")
    )
    assert (allowed.hook, allowed.number, allowed.rule.target) == (
        *("INPUT", 1),
        Verdict.RETURN,
    )
    (hit,) = allowed.found
    assert hit.key == set_key(SetRole.LOAD_BALANCER_SOURCE_CIDR, family)
    assert hit.entry.address == vip
    assert hit.entry.network is not None
    assert is_in(client, hit.entry.network)
    assert outcome.steps[-1] == ServerStep(key(family, "ranged"))
    assert outcome.virtual_server == key(family, "ranged")
    for delivery in outcome.deliveries:
        (*_, last) = delivery.steps
        assert isinstance(last, RuleStep)
        assert last.rule.target == Masquerade(random_fully=True)
        assert last.hook == "POSTROUTING"


@BOTH
def test_a_step_has_the_mark_and_the_entry_it_is_of(family: IPFamily) -> None:
    """So the virtual server of a short circuit can be told from its reason."""
    outcome = send(node_state(family), family, "neighbour", "ingress local")
    (marked,) = (
        step
        for step in outcome.steps
        if isinstance(step, RuleStep) and isinstance(step.rule.target, MapMark)
    )
    (hit,) = marked.found
    assert hit.entry.address == address(family, "ingress local")
    assert hit.entry.mark == marked.mark != 0
    assert outcome.virtual_server == VirtualServerKey(family=family, fwmark=marked.mark)


@pytest.mark.parametrize(
    ("target", "mark"),
    [(SetXMark(0x4, 0x4), 0x5), (SetXMark(0x4, 0xFFFFFFFF), 0x4), (SetXMark(1, 0), 0)],
)
def test_a_mark_is_set_by_mask(target: SetXMark, mark: int) -> None:
    """The mask's bits are cleared, and then the value's flipped."""
    state = with_rules(node_state(V4), V4, FORWARD=(Rule(target=target),))
    outcome = send(state, V4, "far pod", "pod", mark=1)
    (found,) = (
        step.mark
        for step in outcome.steps
        if isinstance(step, RuleStep) and step.rule.target == target
    )
    assert found == mark


ERRORS: list[tuple[str, Rule | UnknownRule, str]] = [
    ("unknown rule", UnknownRule("-m bpf -j ACCEPT"), "not understood: -m bpf"),
    ("no such chain", Rule(target=Jump("GONE")), "GONE, which does not exist"),
    ("loop of chains", Rule(target=Jump("LOOP")), "jumps back to itself"),
    (
        "no such set",
        Rule(matches=(in_set(V4, SetRole.FOREIGN, "dst,dst"),), target=Verdict.DROP),
        "refers to set .*, which does not exist",
    ),
    (
        "source port",
        Rule(
            matches=(in_set(V4, SetRole.CLUSTER_IP, "dst,src"),),
            target=Verdict.DROP,
        ),
        "source ports are not modelled",
    ),
    (
        "set of the other family",
        Rule(matches=(in_set(V6, SetRole.CLUSTER_IP, "dst,dst"),), target=Verdict.DROP),
        "of the other family",
    ),
    ("other family", Rule(target=Reject(V6)), "of the other family"),
    ("masquerade in filter", Rule(target=Masquerade()), "not allowed"),
    (
        "mark of a set in filter",
        Rule(target=MapMark(set_key(SetRole.SHORT_CIRCUIT, V4), DST)),
        "not allowed",
    ),
]


@pytest.mark.parametrize(
    ("rule", "message"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS]
)
def test_what_is_not_understood_is_an_error(
    rule: Rule | UnknownRule, message: str
) -> None:
    """It has the steps up to there, and is no guess at what the rule may do."""
    state = node_state(V4)
    sets = {**state.sets, **node_state(V6).sets}
    del sets[set_key(SetRole.FOREIGN, V4)]
    state = msgspec.structs.replace(state, sets=sets)
    state = with_rules(state, V4, INPUT=(rule,), LOOP=(Rule(target=Jump("LOOP")),))
    with pytest.raises(TraceError, match=message) as caught:
        send(state, V4, "client", "cluster ip")
    assert "nat KUBE-SERVICES: ACCEPT" in caught.value.path


def test_a_set_of_another_kind_is_an_error() -> None:
    """What is in it means nothing, so nobody knows what the rule does."""
    state = node_state(V4)
    alien = SetShape(1024, SetCondition.ALIEN)
    sets = {**state.sets, set_key(SetRole.CLUSTER_IP, V4): alien}
    state = msgspec.structs.replace(state, sets=sets)
    with pytest.raises(TraceError, match="cluster-ip IPv4 is of another kind"):
        send(state, V4, "client", "cluster ip")


def test_a_rule_that_does_not_match_is_no_error() -> None:
    """Its target may be anything: the packet passes by."""
    never = MatchSource(parse_network("192.0.2.0/24"))
    rule = Rule(matches=(never,), target=Jump("GONE"))
    state = with_rules(node_state(V4), V4, INPUT=(rule,))
    assert send(state, V4, "client", "cluster ip").fate is Fate.BALANCED


def test_drop_in_nat_is_an_error() -> None:
    """No iptables makes such a rule."""
    state = node_state(V4)
    ref = ChainRef(Table.NAT, "PREROUTING")
    edited = {**state.chains[V4], ref: (Rule(target=Verdict.DROP),)}
    state = msgspec.structs.replace(state, chains={V4: edited})
    with pytest.raises(TraceError, match="refuses DROP"):
        send(state, V4, "client", "cluster ip")


def test_rules_that_are_not_known_are_an_error() -> None:
    """A state of one family says nothing about packets of the other."""
    with pytest.raises(TraceError, match="IPv6 rules are not known"):
        send(node_state(V4), V6, "client", "cluster ip")


@BOTH
def test_compared_rules_are_counted(family: IPFamily) -> None:
    """Those that do not match as well; none behind the one that ends a chain."""
    nobody = Rule(matches=(MatchMark(1, 1),), target=Verdict.ACCEPT)
    state = node_state(family)
    more = with_rules(
        state,
        family,
        INPUT=(nobody, Rule(target=Jump("OTHER"))),
        OTHER=(nobody, Rule(target=Verdict.RETURN), nobody),
        OUTPUT=(nobody,),
    )

    before = send(state, family, "client", "ingress local")
    after = send(more, family, "client", "ingress local")
    refused = send(more, family, "client", "cluster ip", 22)

    assert after.compared == before.compared + 4
    (way,), (longer,) = before.deliveries, after.deliveries
    assert longer.compared == way.compared + 1
    assert (
        refused.compared == send(state, family, "client", "cluster ip", 22).compared + 4
    )


@BOTH
def test_a_later_packet_meets_no_rule_about_new_ones(family: IPFamily) -> None:
    """Not those of table nat, and one of the chain that refuses what is not served."""
    state = node_state(family)
    filters = {
        ref: c for ref, c in state.chains[family].items() if ref.table is Table.FILTER
    }
    only_filter = msgspec.structs.replace(state, chains={family: filters})

    outcome = send(only_filter, family, "client", "node", 22, ctstate="ESTABLISHED")

    # Three jumps, and a rule of each of the chains that they lead to.
    assert outcome.compared == 6
    assert outcome.fate is Fate.LOCAL


@BOTH
@pytest.mark.parametrize("source", ["client", "vip"])
def test_a_virtual_server_without_an_owning_entry_is_not_ours(
    family: IPFamily, source: str
) -> None:
    """Where its packets go is not ours to say; that they are taken, is."""
    stranger = key(family, "other node", 6443)
    state = with_server(node_state(family), stranger)
    host = {address(family, "node"), address(family, "other node")}
    link = "eth0" if source == "client" else ""
    packet = Packet(
        source=address(family, "client"),
        destination=address(family, "other node"),
        port=6443,
        in_interface=link,
    )
    outcome = trace(state, packet, host_addresses=host)
    assert outcome.fate is Fate.NOT_OURS
    assert outcome.virtual_server == stranger
    assert outcome.path[-1] == f"IPVS {stranger}"
    assert outcome.deliveries == ()


@BOTH
def test_a_virtual_server_that_is_known_as_foreign_is_not_ours(
    family: IPFamily,
) -> None:
    """In a desired state it is not there at all, and takes packets all the same."""
    state = node_state(family)
    packet = Packet(
        source=address(family, "client"),
        destination=address(family, "cluster ip"),
        port=80,
        in_interface="eth0",
    )
    known = frozenset({key(family, "cluster ip")})
    assert trace(state, packet, foreign=known).fate is Fate.NOT_OURS
    without = msgspec.structs.replace(state, virtual_servers={})
    assert trace(without, packet, foreign=known).fate is Fate.NOT_OURS
    assert trace(without, packet).fate is Fate.LOCAL


@pytest.mark.parametrize(
    ("taker", "port", "protocol", "is_taken"),
    [
        (0, 22, Protocol.TCP, True),
        (0, 22, Protocol.UDP, False),
        (21, 20, Protocol.TCP, True),
        (21, 1024, Protocol.TCP, True),
        (21, 1023, Protocol.TCP, False),
        (21, 2049, Protocol.UDP, False),
    ],
)
def test_ports_that_another_virtual_server_takes(
    taker: int, port: int, protocol: Protocol, *, is_taken: bool
) -> None:
    """Port 0 takes all that no other has; port 21 the data connections of FTP."""
    state = with_server(node_state(V4), key(V4, "node", taker))
    outcome = send(state, V4, "client", "node", port, protocol=protocol)
    assert outcome.fate is (Fate.NOT_OURS if is_taken else Fate.LOCAL)


@BOTH
def test_a_vip_may_be_routed_in_place_of_bound(family: IPFamily) -> None:
    """Either way it is an address of this host."""
    bound = node_state(family)
    routed = msgspec.structs.replace(
        bound, addresses=frozenset(), routes=dict.fromkeys(bound.addresses)
    )
    neither = msgspec.structs.replace(bound, addresses=frozenset())
    fates = [
        send(state, family, "client", "cluster ip").fate
        for state in (bound, routed, neither)
    ]
    assert fates == [Fate.BALANCED, Fate.BALANCED, Fate.ROUTED]


def test_a_real_server_with_weight_0_gets_no_new_connection() -> None:
    """The others do; without any the client is refused."""
    state = node_state(V4)
    found = key(V4, "cluster ip")
    drained = [
        msgspec.structs.replace(server, weight=0)
        for server in state.real_servers[found].values()
    ]
    first, second = drained
    held = state.real_servers[found]

    def outcome(*servers: object) -> Outcome:
        real_servers = {**state.real_servers, found: {**held, **dict(servers)}}  # type: ignore[arg-type]
        changed = msgspec.structs.replace(state, real_servers=real_servers)
        return send(changed, V4, "client", "cluster ip")

    assert outcome((first.key, first)).endpoints == (str(second.key),)
    refused = outcome((first.key, first), (second.key, second))
    assert (refused.fate, refused.deliveries) == (Fate.REJECTED, ())
    assert refused.virtual_server == found


def test_a_real_server_that_is_not_masqueraded_is_an_error() -> None:
    """Its packets go another way, which nobody modelled."""
    state = node_state(V4)
    found = key(V4, "cluster ip")
    direct = {
        server.key: msgspec.structs.replace(
            server, forwarding=ForwardingMethod.DIRECT_ROUTE
        )
        for server in state.real_servers[found].values()
    }
    state = msgspec.structs.replace(
        state, real_servers={**state.real_servers, found: direct}
    )
    with pytest.raises(TraceError, match="DIRECT_ROUTE is not modelled"):
        send(state, V4, "client", "cluster ip")


@pytest.mark.parametrize(
    ("matches", "fate", "fates"),
    [
        ((), Fate.DROPPED, (Fate.DROPPED, Fate.DROPPED)),
        (
            (in_set(V4, SetRole.FOREIGN, "dst,dst"),),
            Fate.BALANCED,
            (Fate.DROPPED, Fate.BALANCED),
        ),
    ],
)
def test_a_rule_after_ipvs_may_end_some_ways(
    matches: tuple[Match, ...], fate: Fate, fates: tuple[Fate, ...]
) -> None:
    """Each endpoint has a way and steps of its own."""
    state = node_state(V4)
    one = SetEntry(address=address(V4, "pod"), protocol=Protocol.TCP, port=8080)
    foreign = set_key(SetRole.FOREIGN, V4)
    state = msgspec.structs.replace(
        with_rules(state, V4, OUTPUT=(Rule(matches=matches, target=Verdict.DROP),)),
        entries={**state.entries, foreign: frozenset({one})},
    )
    outcome = send(state, V4, "client", "cluster ip")
    assert outcome.fate is fate
    assert tuple(delivery.fate for delivery in outcome.deliveries) == fates
    assert len(outcome.endpoints) == fates.count(Fate.BALANCED)
    assert outcome.deliveries[0].steps[-1].rule.target is Verdict.DROP  # type: ignore[union-attr]


def test_masquerading_may_depend_on_the_endpoint() -> None:
    """Then there is no answer for all of them."""
    endpoints = [RealServerKey(address(V4, pod), 80) for pod in ("pod", "far pod")]
    ways = [
        Delivery(endpoint=endpoint, masqueraded=masqueraded)
        for endpoint, masqueraded in zip(endpoints, (False, True), strict=True)
    ]
    both = Outcome(fate=Fate.BALANCED, deliveries=tuple(ways))
    assert both.is_masqueraded is None
    assert Outcome(fate=Fate.BALANCED, deliveries=(ways[1],)).is_masqueraded is True


@BOTH
def test_an_answer_passes_forward(family: IPFamily) -> None:
    """Of a masqueraded connection, or of one that keeps the client's address."""
    answer = Packet(
        source=address(family, "far pod"),
        destination=address(family, "client"),
        port=40000,
        in_interface="eth0",
        ctstate="ESTABLISHED",
    )
    outcome = trace(node_state(family), answer)
    assert outcome.fate is Fate.ROUTED
    assert "filter KUBE-FORWARD: ACCEPT" in outcome.path
    assert not outcome.masqueraded


@BOTH
def test_the_desired_state_of_a_service(family: IPFamily) -> None:
    """A compiled state is traced as one that was read."""
    vip, pod = address(family, "cluster ip"), address(family, "pod")
    node, config = clusters.NODE, clusters.CONFIG
    union = Desired(compile_node(node, config, Capabilities()))
    web = builders.service("web", cluster_ips=(vip,))
    slices = [builders.endpoint_slice("web-1", str(pod), service_name="web")]
    union.put(compile_service(web, slices, node, config))
    for link in ("eth0", ""):
        packet = Packet(
            source=vip if not link else address(family, "client"),
            destination=vip,
            port=web.ports[0].port,
            in_interface=link,
        )
        outcome = trace(union.state(), packet)
        assert outcome.fate is Fate.BALANCED, outcome.path
        assert [d.endpoint.address for d in outcome.deliveries] == [pod]


# One rule for each kind of match, that holds for a TCP packet of `client` to `node`.
HOLDING: dict[type, Match] = {
    MatchSet: in_set(V4, SetRole.NODE_PORT, "dst,dst"),
    MatchSource: MatchSource(parse_network("10.0.0.0/8")),
    MatchProtocol: MatchProtocol(Protocol.TCP),
    MatchMark: MatchMark(0, 0x10),
    MatchAddrTypeLocal: MatchAddrTypeLocal(Side.DST),
    MatchPhysdevIsIn: MatchPhysdevIsIn(negated=True),
    MatchConntrackState: MatchConntrackState(("NEW", "RELATED")),
    MatchInInterface: MatchInInterface("eth+"),
    MatchIcmpType: MatchIcmpType(V4, 8),
}


@pytest.mark.parametrize("kind", get_args(Match))
def test_every_kind_of_match_is_modelled(kind: type) -> None:
    """It holds for one packet and not for another; none is passed over."""
    rule = Rule(matches=(HOLDING[kind],), target=Verdict.DROP)
    state = with_rules(node_state(V4), V4, INPUT=(rule,), FORWARD=(rule,))
    protocol = None if kind is MatchIcmpType else Protocol.TCP
    found = send(state, V4, "client", "node", 30080, protocol=protocol, icmp=(8, 0))
    assert found.fate is Fate.DROPPED
    other = Packet(
        source=parse_address("192.0.2.1"),
        destination=address(V4, "far pod"),
        protocol=Protocol.UDP,
        in_interface="veth0",
        from_bridge_port=True,
        ctstate="INVALID",
        mark=0x10,
    )
    assert trace(state, other).fate is Fate.ROUTED


def test_every_kind_of_target_is_modelled() -> None:
    """Each is met by a packet of the tables in this file or in the packet flow's."""
    met = {
        type(rule.target)
        for family in (V4, V6)
        for rules in node_state(family).chains[family].values()
        for rule in rules
        if isinstance(rule, Rule)
    }
    assert met == set(get_args(Target))
