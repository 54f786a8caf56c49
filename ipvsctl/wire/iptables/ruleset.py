"""iptables rulesets: `iptables-save` output and `iptables-restore` input.

Both flavours (legacy and nft) and both families write the same language. One rule as
text is in `rule_render` and `rule_parse`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import (
    BUILTIN_CHAINS,
    ChainRef,
    Chains,
    Rule,
    RulesChange,
    Table,
    UnknownRule,
)
from ipvsctl.wire.iptables.rule_parse import parse_rule
from ipvsctl.wire.iptables.rule_render import render_rule

_HOOKS: Final = {
    Table.FILTER: ("INPUT", "FORWARD", "OUTPUT"),
    Table.NAT: ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    Table.MANGLE: ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
}
_TABLES: Final = {table.value: table for table in Table}

# A filter or nat rule that relies on one in mangle must not be there before it.
_RESTORE_ORDER: Final = (Table.MANGLE, Table.NAT, Table.FILTER)


def render_save(chains: Chains) -> list[str]:
    """The chains as `iptables-save` would print them if there were no others."""
    lines = []
    for table in Table:
        own = sorted(r.name for r in chains if r.table is table and not r.is_builtin)
        hooks = _HOOKS[table]
        if not any(ref.table is table for ref in chains):
            continue
        lines.append(f"*{table}")
        lines.extend(f":{name} ACCEPT [0:0]" for name in hooks)
        lines.extend(f":{name} - [0:0]" for name in own)
        lines.extend(
            f"-A {name} {render_rule(rule)}"
            for name in (*hooks, *own)
            for rule in chains.get(ChainRef(table, name), ())
        )
        lines.append("COMMIT")
    return lines


def render_restore(change: RulesChange) -> str:
    """Input for `iptables-restore --noflush`.

    Each table is one transaction. Chains to be removed are emptied in it, and deleted
    in another afterwards, so that a chain which somebody else's rule jumps to does
    not keep everything else in place.
    """
    lines: list[str] = []
    for table in _RESTORE_ORDER:
        lines.extend(_transaction(table, _changes(change, table)))
    for table in _RESTORE_ORDER:
        removed = (f"-X {ref.name}" for ref in change.remove if ref.table is table)
        lines.extend(_transaction(table, removed))
    return "".join(f"{line}\n" for line in lines)


def _changes(change: RulesChange, table: Table) -> Iterator[str]:
    write = [(ref, rules) for ref, rules in change.write if ref.table is table]
    flush = [ref for ref in change.remove if ref.table is table]
    # The declaration of a user chain creates it, or empties the one that is there.
    yield from (f":{ref.name} - [0:0]" for ref in (*(ref for ref, _ in write), *flush))
    for ref, rule in change.unlink:
        if ref.table is table:
            yield f"-D {ref.name} {render_rule(rule)}"
    for ref, rules in write:
        yield from (f"-A {ref.name} {render_rule(rule)}" for rule in rules)
    for ref, rules in change.link:
        if ref.table is table:
            for position, rule in enumerate(rules, start=1):
                yield f"-I {ref.name} {position} {render_rule(rule)}"


def _transaction(table: Table, commands: Iterable[str]) -> list[str]:
    lines = list(commands)
    return [f"*{table}", *lines, "COMMIT"] if lines else []


def parse_save(
    text: str, family: IPFamily, our_chains: Mapping[Table, frozenset[str]]
) -> Chains:
    """Read the output of `iptables-save`, with or without counters.

    Chains of other agents are skipped at the price of a look at their name.

    Args:
        text: of one family, complete.
        family: which; it decides how ICMP and REJECT read.
        our_chains: names of the chains to read, by table.

    Returns:
        Our chains with all their rules, and built-in chains that have a rule which
        jumps to one of ours, with those rules only. A rule that is not understood
        is an UnknownRule.

    Raises:
        WireError: the text ends inside a table, or a rule stands outside of one; the
            offset is the line number.
    """
    read: dict[ChainRef, list[Rule | UnknownRule]] = {}
    table: Table | None = None
    names: frozenset[str] = frozenset()
    inside = False
    number = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("*"):
            inside = True
            table = _TABLES.get(line[1:].strip())
            names = our_chains.get(table, frozenset()) if table else frozenset()
        elif line.startswith("COMMIT"):
            inside = False
        elif not line or line.startswith("#"):
            continue
        elif not inside:
            raise WireError(offset=number, reason=f"{line[:80]!r} is in no table")
        elif table is not None and names:
            _read_line(line, table, names, family, read)
    if inside:
        raise WireError(offset=number, reason="the output ends inside a table")
    return {ref: tuple(rules) for ref, rules in read.items()}


def _read_line(
    line: str,
    table: Table,
    names: frozenset[str],
    family: IPFamily,
    read: dict[ChainRef, list[Rule | UnknownRule]],
) -> None:
    if line.startswith(":"):
        name = line[1:].partition(" ")[0]
        if name in names:
            read.setdefault(ChainRef(table, name), [])
        return
    if line.startswith("["):
        line = line.partition("] ")[2]
    _, _, rest = line.partition("-A ")
    chain, _, arguments = rest.partition(" ")
    if chain in names or (chain in BUILTIN_CHAINS and _jumps_to(arguments, names)):
        rule = parse_rule(arguments, family)
        read.setdefault(ChainRef(table, chain), []).append(rule)


def _jumps_to(arguments: str, names: frozenset[str]) -> bool:
    """A jump to a chain has no options, so the chain's name is the last word."""
    words = arguments.rsplit(" ", 2)
    return words[-1] in names and words[-2] in {"-j", "-g"}
