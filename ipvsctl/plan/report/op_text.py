"""An op as operators read it: what it is about, and what was there before."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.rules import ChainRef, Rule, RulesChange, UnknownRule
from ipvsctl.model.state import EMPTY, NodeState
from ipvsctl.plan.diff.ops import (
    ChangeRules,
    Op,
    SetSysctl,
    SetTimeouts,
    UpdateRealServer,
    UpdateVirtualServer,
)
from ipvsctl.plan.diff.words import FirewallWords

_Rules = Sequence[Rule | UnknownRule]
_Held = Mapping[ChainRef, tuple[Rule | UnknownRule, ...]]

_MOST_RULES: Final = 6
"""Rules of one change that are shown."""


def op_text(op: Op, observed: NodeState, firewall: FirewallWords) -> str:
    """The op without its verb, which its action stands for, and the value before."""
    text = op.words(firewall).partition(" ")[2]
    match op:
        case SetSysctl(name, _):
            return f"{text} (was {observed.sysctls.get(name, 'not there')})"
        case SetTimeouts(_):
            return f"{text} (were {observed.timeouts})"
        case UpdateVirtualServer(server):
            return text + _was(server.key, observed.virtual_servers.get(server.key))
        case UpdateRealServer(key, real_server):
            servers = observed.real_servers.get(key, EMPTY)
            drains = "" if real_server.weight else ", drains"
            was = _was(real_server.key, servers.get(real_server.key))
            return f"{text}{drains}{was}"
        case ChangeRules(change):
            held = observed.chains.get(change.family, EMPTY)
            return f"{firewall.rules(change.family)}: {_rules(change, held, firewall)}"
        case _:
            return text


def _was(
    key: VirtualServerKey | RealServerKey, before: VirtualServer | RealServer | None
) -> str:
    return "" if before is None else f" (was{str(before).removeprefix(str(key))})"


def _rules(change: RulesChange, held: _Held, firewall: FirewallWords) -> str:
    """Which rules of which chains: `+` comes, `-` goes."""
    lines = _chain_lines(change, held, firewall)
    shown = [*islice(lines, _MOST_RULES)]
    left = sum(1 for _ in lines)
    return "; ".join((*shown, *([f"and {left} more"] if left else ())))


def _chain_lines(
    change: RulesChange, held: _Held, firewall: FirewallWords
) -> Iterator[str]:
    gone: dict[ChainRef, list[Rule | UnknownRule]] = {}
    for ref, rule in change.unlink:
        gone.setdefault(ref, []).append(rule)
    links = dict(change.link)
    for ref in (*gone, *(ref for ref in links if ref not in gone)):
        yield from _differing(ref, gone.get(ref, ()), links.get(ref, ()), firewall)
    for ref, rules in change.write:
        if ref not in held:
            yield f"+ chain {ref} with {len(rules)} rules"
        else:
            yield from _differing(ref, held[ref], rules, firewall)
    for ref in change.remove:
        yield f"- chain {ref}"


def _differing(
    ref: ChainRef, before: _Rules, after: _Rules, firewall: FirewallWords
) -> Iterator[str]:
    left, came = list(before), []
    for rule in after:
        if rule in left:
            left.remove(rule)
        else:
            came.append(rule)
    for rule in left:
        yield f"- {ref}: {firewall.rule(rule)}"
    for rule in came:
        yield f"+ {ref}: {firewall.rule(rule)}"
    if not left and not came:
        yield f"order of {ref}"
