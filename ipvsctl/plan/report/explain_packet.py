"""The steps of an explanation that follow packets: a client's, and the answer to it."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import product
from typing import Final

from ipvsctl.model.errors import TraceError
from ipvsctl.model.explanation import Step, Verdict
from ipvsctl.model.ipvs import RealServerKey
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    IPNetwork,
    family_of,
    is_in,
    parse_address,
    to_address,
)
from ipvsctl.model.objects import Service
from ipvsctl.model.rules import Jump, MatchInInterface
from ipvsctl.model.sets import SetRole
from ipvsctl.plan.report.explain_inputs import ExplainInputs
from ipvsctl.plan.rules.local_clients import local_clients
from ipvsctl.plan.service.program import ServerProgram, WayIn
from ipvsctl.plan.trace.chain_walk import Walker
from ipvsctl.plan.trace.everybodys_filter import Dropped, Passage, pass_filter
from ipvsctl.plan.trace.outcome import Delivery, Fate, Outcome, RuleStep
from ipvsctl.plan.trace.packet import Packet
from ipvsctl.plan.trace.packets import trace


class Origin(StrEnum):
    """Where a client is."""

    POD = "pod"
    HOST = "host"
    OUTSIDE = "outside"


Client = Origin | IPAddress
"""A client of that kind, or the one with this address."""

# Documentation addresses (RFC 5737, RFC 3849): nobody's.
_OUTSIDE: Final = {
    IPFamily.IPV4: parse_address("198.51.100.77"),
    IPFamily.IPV6: parse_address("2001:db8:ffff::77"),
}
_SOME_POD: Final = {
    IPFamily.IPV4: parse_address("100.127.255.77"),
    IPFamily.IPV6: parse_address("fdff:ffff::77"),
}
_POD_LINK: Final = "pod0"
_OUTER_LINK: Final = "eth0"


def packet_steps(
    inputs: ExplainInputs, service: Service, server: ServerProgram, client: Client
) -> Iterator[Step]:
    """Follow a packet to a virtual server, through rules, IPVS and others' filters.

    Args:
        inputs: what is known.
        service: whose virtual server it is.
        server: that.
        client: who sends it.
    """
    packet = first_packet(inputs, service, server, client)
    origin = origin_of(inputs, client)
    subject = f"packet from {client if isinstance(client, Origin) else packet.source}"
    try:
        outcome = trace(
            inputs.observed.state,
            packet,
            host_addresses=inputs.observed.host_addresses,
            foreign=inputs.desired.foreign,
        )
    except TraceError as error:
        yield Step(
            verdict=Verdict.UNKNOWN,
            subject=subject,
            found=f"cannot be followed: {error.reason}",
            details=error.path,
        )
        return
    yield _outcome_step(inputs, service, server, packet, outcome, subject)
    if outcome.fate is Fate.BALANCED:
        yield _filters_step(inputs, packet, outcome, origin)


def origin_of(inputs: ExplainInputs, client: Client) -> Origin:
    """Where a client is."""
    if isinstance(client, Origin):
        return client
    if client in inputs.observed.host_addresses:
        return Origin.HOST
    return (
        Origin.POD
        if any(is_in(client, net) for net in _pods(inputs))
        else Origin.OUTSIDE
    )


def first_packet(
    inputs: ExplainInputs, service: Service, server: ServerProgram, client: Client
) -> Packet:
    """The first packet of a client to a virtual server."""
    key = server.server.key
    address = key.address
    if address is None or key.protocol is None:
        raise TypeError(key)
    origin = origin_of(inputs, client)
    links = {
        Origin.POD: _pod_link(inputs),
        Origin.HOST: "",
        Origin.OUTSIDE: _OUTER_LINK,
    }
    return Packet(
        source=_source(inputs, service, server, client),
        destination=address,
        protocol=key.protocol,
        port=key.port,
        in_interface=links[origin],
    )


def _source(
    inputs: ExplainInputs, service: Service, server: ServerProgram, client: Client
) -> IPAddress:
    family = server.server.key.family
    if not isinstance(client, Origin):
        return client
    if client is Origin.HOST:
        own = (*inputs.observed.host.primary, *inputs.context.node_addresses)
        own = (*own, *sorted(inputs.observed.host_addresses, key=str))
        return next((a for a in own if family_of(a) is family), _OUTSIDE[family])
    if client is Origin.OUTSIDE:
        ranges = [net for net in service.source_ranges if family_of(net) is family]
        if ranges and server.way is WayIn.INGRESS_VIP:
            return _some_host(ranges[0])
        return _OUTSIDE[family]
    for net in _pods(inputs):
        if family_of(net) is family:
            return _some_host(net)
    return _SOME_POD[family]


def _some_host(network: IPNetwork) -> IPAddress:
    """An address of a network that hardly any endpoint has."""
    chosen = network[-2] if network.num_addresses > 2 else network[0]
    return to_address(chosen.packed)


def _pods(inputs: ExplainInputs) -> tuple[IPNetwork, ...]:
    return (*inputs.config.cluster_cidrs, *inputs.context.pod_cidrs)


def _pod_link(inputs: ExplainInputs) -> str:
    for family in IPFamily:
        for match in local_clients(family, inputs.config, inputs.context):
            if isinstance(match, MatchInInterface):
                name = match.name
                return f"{name.removesuffix('+')}0" if name.endswith("+") else name
    return _POD_LINK


def _outcome_step(
    inputs: ExplainInputs,
    service: Service,
    server: ServerProgram,
    packet: Packet,
    outcome: Outcome,
    subject: str,
) -> Step:
    rules = tuple(_rule_lines(inputs, outcome))
    lost = [d for d in outcome.deliveries if d.fate is not Fate.BALANCED]
    if outcome.fate is Fate.BALANCED and not lost:
        return Step(
            verdict=Verdict.OK,
            subject=subject,
            found=_balanced(outcome),
            details=rules,
        )
    found, remedy = _why_lost(inputs, service, server, packet, outcome)
    if outcome.fate is Fate.BALANCED:
        names = ", ".join(str(d.endpoint) for d in lost)
        found = f"{lost[0].fate} on the way to {names}"
    return Step(
        verdict=Verdict.BROKEN,
        subject=subject,
        found=found,
        details=rules,
        remedy=remedy,
    )


def _balanced(outcome: Outcome) -> str:
    count = len(outcome.deliveries)
    source = {
        True: "masqueraded",
        False: "with the client's address",
        None: "masqueraded to some of them",
    }[outcome.is_masqueraded]
    where = str(outcome.virtual_server) if outcome.virtual_server else ""
    marked = f" by {where}" if where.startswith("fwmark") else ""
    tunnelled = sum(delivery.is_tunnelled for delivery in outcome.deliveries)
    nodes = f", {tunnelled} of them a node by a tunnel" if tunnelled else ""
    servers = f"{count} real server{'' if count == 1 else 's'}{nodes}"
    return f"sent{marked} to {servers}, {source}"


def _why_lost(
    inputs: ExplainInputs,
    service: Service,
    server: ServerProgram,
    packet: Packet,
    outcome: Outcome,
) -> tuple[str, str]:
    """What became of a packet that reaches no endpoint, and what mends that."""
    last = next(
        (step for step in reversed(outcome.steps) if isinstance(step, RuleStep)), None
    )
    ranges = [n for n in service.source_ranges if family_of(n) is packet.family]
    roles = {m.key.role for m in (last.found if last else ())}
    if outcome.fate is Fate.DROPPED:
        if SetRole.NO_LOCAL_ENDPOINTS in roles:
            found = "dropped: outside clients find no endpoint on this node"
            return (
                f"{found} (externalTrafficPolicy Local)",
                "run a pod on this node, or send clients to a node that has one",
            )
        if (
            ranges
            and server.way is WayIn.INGRESS_VIP
            and not any(is_in(packet.source, net) for net in ranges)
        ):
            allowed = ", ".join(map(str, ranges))
            return (
                f"dropped: {packet.source} is in none of the source ranges {allowed}",
                f"spec.loadBalancerSourceRanges of Service {service.ref}",
            )
    if outcome.fate is Fate.REJECTED and outcome.virtual_server is not None:
        return "refused by IPVS: it has no real server with weight", ""
    if outcome.fate is Fate.NOT_OURS:
        return f"{outcome.fate}: {outcome.virtual_server}", ""
    if outcome.fate in {Fate.LOCAL, Fate.ROUTED}:
        return f"{outcome.fate}: no virtual server takes it", inputs.repair
    where = f" by {last.chain}: {inputs.words.rule(last.rule)}" if last else ""
    return f"{outcome.fate}{where}", ""


def _rule_lines(inputs: ExplainInputs, outcome: Outcome) -> Iterator[str]:
    """The rules that matched, without jumps: the rules they led to name their chain."""
    # Most ways on from IPVS are alike.
    after = outcome.deliveries[0].steps if outcome.deliveries else ()
    for step in (*outcome.steps, *after):
        if not isinstance(step, RuleStep):
            yield str(step)
        elif isinstance(step.rule.target, Jump):
            continue
        else:
            found = "".join(f" (entry {member.entry})" for member in step.found)
            yield f"{step.chain} {step.number}: {inputs.words.rule(step.rule)}{found}"


def _filters_step(
    inputs: ExplainInputs, packet: Packet, outcome: Outcome, origin: Origin
) -> Step:
    """Everybody's filter rules, for the packet and for the answer to it."""
    subject = "others' rules"
    filters = inputs.neighbours.filters
    if filters is None or packet.family not in filters:
        return Step(
            verdict=Verdict.UNKNOWN, subject=subject, found="the filter was not read"
        )
    tables = filters[packet.family]
    walker = Walker(inputs.observed.state, inputs.observed.host_addresses)
    unread: dict[str, None] = {}
    passed = _passing(packet, outcome, origin)
    for (hook, what, passing), table in product(passed, tables):
        passage = pass_filter(table, hook, passing, walker)
        if passage.dropped is not None and not passage.is_sure:
            unread[f"maybe dropped in {hook}: {_dropped(inputs, passage)}"] = None
        elif passage.dropped is not None:
            return Step(
                verdict=Verdict.BROKEN,
                subject=subject,
                found=f"{what} is dropped in {hook}: {_dropped(inputs, passage)}",
                remedy="whoever wrote that rule must let it pass, or, if this proxy"
                " uses iptables too, it must stand after those of this proxy"
                if passage.dropped.rule
                else f"a rule in {hook} that lets answers pass, or policy ACCEPT",
            )
        unread |= dict.fromkeys(
            f"not understood: {ref}: {text}" for ref, text in passage.unread
        )
    is_cut = any(table.is_cut for table in tables)
    if unread or is_cut:
        return Step(
            verdict=Verdict.NOTE,
            subject=subject,
            found="none drops it, of those that are understood",
            details=(
                *[*unread][:8],
                *(["there are more rules than are read"] if is_cut else ()),
            ),
        )
    return Step(verdict=Verdict.OK, subject=subject, found="none drops it")


def _passing(
    packet: Packet, outcome: Outcome, origin: Origin
) -> Iterator[tuple[str, str, Packet]]:
    """The packets that filters see: hook, what it is, and the packet there."""
    mark = max((s.mark for s in outcome.steps if isinstance(s, RuleStep)), default=0)
    if origin is not Origin.HOST:
        yield "INPUT", "the packet", _like(packet, mark=mark)
    for delivery in outcome.deliveries[:1]:
        yield "OUTPUT", "the packet to an endpoint", _to(packet, delivery, mark)
        answer = _answer(packet, delivery.endpoint)
        hook = "INPUT" if origin is Origin.HOST else "FORWARD"
        yield hook, "the answer of an endpoint", answer


def _like(packet: Packet, *, mark: int) -> Packet:
    return Packet(
        source=packet.source,
        destination=packet.destination,
        protocol=packet.protocol,
        port=packet.port,
        in_interface=packet.in_interface,
        mark=mark,
    )


def _to(packet: Packet, delivery: Delivery, mark: int) -> Packet:
    return Packet(
        source=packet.source,
        destination=delivery.endpoint.address,
        protocol=packet.protocol,
        port=delivery.endpoint.port,
        mark=mark,
    )


def _answer(packet: Packet, endpoint: RealServerKey) -> Packet:
    return Packet(
        source=endpoint.address,
        destination=packet.source,
        protocol=packet.protocol,
        in_interface=_POD_LINK,
        ctstate="ESTABLISHED",
    )


def _dropped(inputs: ExplainInputs, passage: Passage) -> str:
    dropped = passage.dropped
    if not isinstance(dropped, Dropped):
        raise TypeError(passage)
    if dropped.rule is None:
        return f"policy {dropped.policy}"
    return f"{dropped.chain} {dropped.number}: {inputs.words.rule(dropped.rule)}"
