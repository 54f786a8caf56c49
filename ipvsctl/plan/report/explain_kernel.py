"""The steps of an explanation about what the kernel holds for one way in."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from ipvsctl.model.explanation import Step, Verdict
from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    RealServerStats,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress, IPFamily, Protocol
from ipvsctl.model.parts import RULES
from ipvsctl.model.sets import SetKey
from ipvsctl.model.state import EMPTY
from ipvsctl.model.subject import (
    EntrySubject,
    LinkSubject,
    RulesSubject,
    SysctlSubject,
    TimeoutsSubject,
)
from ipvsctl.plan.diff.kinds import ObjectKind, Verb
from ipvsctl.plan.diff.ops import Op, Plan
from ipvsctl.plan.report.explain_inputs import ExplainInputs
from ipvsctl.plan.report.full import all_are_full, is_full
from ipvsctl.plan.report.op_text import op_text
from ipvsctl.plan.report.unread import unread_part
from ipvsctl.plan.service.program import ServerProgram
from ipvsctl.plan.service.wishes import MAX_CONNECTIONS

_MOST: Final = 8
"""Lines of one step that are shown."""

_OURS: Final = frozenset({"ip ipvsctl", "ip6 ipvsctl"})
"""Tables of nftables that a node of this proxy has."""

_WAITING: Final = frozenset({"SYN_RECV", "INIT", "INIT1"})
"""States of a connection whose endpoint has not answered the first packet."""

_JUST_BEGUN_S: Final = 59
"""A connection whose first packet is not answered yet is forgotten after 60 s."""

_WORDS: Final = {
    Verb.ADD: "missing",
    Verb.CHANGE: "different",
    Verb.DELETE: "should not be there",
}


def node_steps(
    inputs: ExplainInputs, plan: Plan, families: Iterable[IPFamily]
) -> Iterator[Step]:
    """What holds for every Service: link, sysctls, rules, conntrack, others.

    Args:
        inputs: what is known.
        plan: what an audit would do.
        families: those that matter.
    """
    families = tuple(families)
    unread = {f for f in families if RULES[f] in inputs.observed.unread}
    mine = {RulesSubject(family) for family in families}
    of_rules = [op for op in plan if op.subject in mine]
    rules = " and ".join(inputs.words.rules(f) for f in families if f not in unread)
    if of_rules or rules:
        yield _compared(inputs, "rules", of_rules, f"{rules} as wanted")
    for family in sorted(unread):
        line = unread_part(inputs.observed, inputs.words, RULES[family])
        yield Step(verdict=Verdict.UNKNOWN, subject="rules", found=line)
    for subject, kind, fine in (
        ("link", LinkSubject, f"{inputs.options.vip_link} is up"),
        ("sets", SetKey, "all are there"),
        ("sysctls", SysctlSubject, "as wanted"),
    ):
        ops = [op for op in plan if isinstance(op.subject, kind) and not _is_amount(op)]
        yield _compared(inputs, subject, ops, fine)
    amounts = [op for op in plan if _is_amount(op)]
    if amounts:
        # A node may refuse them for ever, and packets pass.
        step = _compared(inputs, "limits and timeouts", amounts, "")
        yield msgspec.structs.replace(step, verdict=Verdict.NOTE)
    yield from _neighbour_steps(inputs)


def _is_amount(op: Op) -> bool:
    """How many connections, and for how long: no packet is lost for want of it now."""
    subject = op.subject
    return isinstance(subject, TimeoutsSubject) or (
        isinstance(subject, SysctlSubject) and subject.name.startswith("net/netfilter/")
    )


def server_steps(
    inputs: ExplainInputs, server: ServerProgram, plan: Plan
) -> Iterator[Step]:
    """What the kernel holds for one virtual server of a Service.

    Args:
        inputs: what is known.
        server: the Service has the claim to it.
        plan: what an audit would do for the Service.
    """
    key = server.server.key
    keys = {key, inputs.insides.get(key), inputs.arrivals.get(key)}
    mine = [op for op in plan if op.subject in keys]
    shown = inputs.observed.state.virtual_servers.get(key, server.server)
    yield _compared(
        inputs,
        "virtual server",
        [op for op in mine if op.kind is ObjectKind.VIRTUAL_SERVER],
        str(shown),
    )
    yield _vip_step(inputs, server, plan)
    members = inputs.members(server)
    subjects = {EntrySubject(m.key, m.entry.identity) for m in members}
    names = sorted({inputs.words.set_name(m.key) for m in members})
    of_sets = {m.key for m in members}
    yield _compared(
        inputs,
        "sets",
        [
            op
            for op in plan
            if op.subject in subjects
            or (isinstance(op.subject, SetKey) and op.subject in of_sets)
        ],
        f"in {', '.join(names)}",
    )
    yield _real_servers_step(inputs, server, mine)
    yield from _connection_steps(inputs, key)


def _vip_step(inputs: ExplainInputs, server: ServerProgram, plan: Plan) -> Step:
    address = server.server.key.address
    if not server.is_bound:
        return Step(
            verdict=Verdict.OK,
            subject="address",
            found=f"{address} is an address of this node's own",
        )
    state = inputs.observed.state
    how = f"bound to {inputs.options.vip_link}"
    if address not in state.addresses:
        how = f"routed to {inputs.options.vip_link}"
    ops = [
        op for op in plan if isinstance(op.subject, IPAddress) and op.subject == address
    ]
    return _compared(inputs, "address", ops, f"{address} {how}")


def _real_servers_step(
    inputs: ExplainInputs, server: ServerProgram, mine: Sequence[Op]
) -> Step:
    key = server.server.key
    held = inputs.observed.state.real_servers.get(key, EMPTY)
    counters = inputs.observed.connections.get(key, EMPTY)
    lines = []
    for real in sorted(held, key=str):
        stats = counters.get(real, RealServerStats())
        age_s = inputs.drain_ages_s.get((key, real))
        drains = "" if age_s is None else f", drains for {age_s:.0f} s"
        lines.append(
            f"{real}{_node_at(inputs, held[real])} weight {held[real].weight},"
            f" {stats.active} active, {stats.inactive} inactive"
            f"{_limit(held[real], stats)}{drains}"
        )
    usable = sum(1 for real in held.values() if real.weight)
    ops = [op for op in mine if op.kind in {ObjectKind.REAL_SERVER, ObjectKind.FLOWS}]
    if ops:
        return _compared(inputs, "real servers", ops, "", lines)
    noun = "real server" if len(held) == 1 else "real servers"
    found = f"{len(held)} {noun}, {usable} with weight"
    verdict = Verdict.OK if usable else Verdict.BROKEN
    if not held:
        found = "none: clients are answered that the port is unreachable"
    remedy = ""
    if all_are_full(held, counters):
        verdict = Verdict.BROKEN
        found += "; each is full: new connections are refused"
        remedy = f"more endpoints, or a higher {MAX_CONNECTIONS} (maxConnections)"
    return Step(
        verdict=verdict,
        subject="real servers",
        found=found,
        details=_some(lines),
        remedy=remedy,
    )


def _node_at(inputs: ExplainInputs, server: RealServer) -> str:
    """Which node a real server is, if it is one."""
    if server.forwarding is not ForwardingMethod.TUNNEL:
        return ""
    name = inputs.context.tunnel_node(server.key.address)
    return f" ({name or 'a node'}, in a tunnel)"


def _limit(server: RealServer, stats: RealServerStats) -> str:
    if not server.upper_threshold:
        return ""
    state = "full at" if is_full(server, stats) else "at most"
    return f", {state} {server.upper_threshold}"


def _connection_steps(inputs: ExplainInputs, key: VirtualServerKey) -> Iterator[Step]:
    found = inputs.neighbours.connections
    if found is None or key.protocol is None:
        return
    rows = [row for row in found if row.virtual_server == key]
    waiting: Counter[RealServerKey] = Counter()
    answered: Counter[RealServerKey] = Counter()
    for row in rows:
        if row.state not in _WAITING:
            answered[row.real_server] += 1
        elif row.expires_s < _JUST_BEGUN_S or waiting[row.real_server]:
            waiting[row.real_server] += 1
    dead = [real for real in waiting if not answered[real]]
    if dead and key.protocol is not Protocol.UDP:
        names = ", ".join(sorted(map(str, dead))[:_MOST])
        packet = "SYN" if key.protocol is Protocol.TCP else "INIT"
        yield Step(
            verdict=Verdict.BROKEN,
            subject="connections",
            found=f"{names} answers no {packet}: its connections are in"
            f" {', '.join(sorted({r.state for r in rows if r.real_server in dead}))}"
            " only",
            remedy="its pod is said to be ready and does not answer: look whether it"
            " listens on that port, and at its network policy and its node",
        )
        return
    states = Counter(row.state for row in rows)
    text = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
    yield Step(verdict=Verdict.OK, subject="connections", found=text or "none now")


def _neighbour_steps(inputs: ExplainInputs) -> Iterator[Step]:
    neighbours = inputs.neighbours
    tables = [name for name in neighbours.nft_tables or () if name not in _OURS]
    proxys = [name for name in tables if name.endswith(" kube-proxy")]
    if proxys and not inputs.config.service_proxy_name:
        yield Step(
            verdict=Verdict.BROKEN,
            subject="other proxies",
            found=f"kube-proxy's nftables rules are there (table {', '.join(proxys)}):"
            " they take packets to Services before IPVS does",
            remedy="stop kube-proxy on this node and remove them:"
            f" nft delete table {proxys[0]}",
        )
    others = [
        name
        for name in tables
        if name not in proxys or inputs.config.service_proxy_name
    ]
    if others:
        yield Step(
            verdict=Verdict.NOTE,
            subject="nftables",
            found=f"rules of others that are not read: table {', '.join(others)}",
        )
    fill = neighbours.conntrack
    if fill is not None and fill.limit:
        verdict = Verdict.NOTE if fill.is_filling else Verdict.OK
        is_full = fill.is_nearly_full
        yield Step(
            verdict=Verdict.BROKEN if is_full else verdict,
            subject="conntrack",
            found=f"{'table full: ' if is_full else ''}{fill}",
            remedy="new connections are dropped: raise conntrack.min, or"
            " sysctl net.netfilter.nf_conntrack_max, and see who fills it"
            if is_full
            else "",
        )
    for line in neighbours.unread:
        yield Step(
            verdict=Verdict.UNKNOWN,
            subject="not read",
            found=line,
            remedy="run as root",
        )


def _compared(
    inputs: ExplainInputs,
    subject: str,
    ops: Sequence[Op],
    fine: str,
    details: Iterable[str] = (),
) -> Step:
    """A step that is broken if an audit had something to do."""
    if not ops:
        return Step(
            verdict=Verdict.OK, subject=subject, found=fine, details=_some(details)
        )
    lines = [
        f"{inputs.options.vip_link} is not there, or it is down"
        if op.kind is ObjectKind.LINK
        else f"{_WORDS[op.verb]}: {op_text(op, inputs.observed.state, inputs.words)}"
        for op in ops
    ]
    return Step(
        verdict=Verdict.BROKEN,
        subject=subject,
        found=lines[0],
        details=_some((*lines[1:], *details)),
        remedy=inputs.repair,
    )


def _some(lines: Iterable[str]) -> tuple[str, ...]:
    every = tuple(lines)
    left = len(every) - _MOST
    return every if left <= 0 else (*every[:_MOST], f"and {left:,} more")
