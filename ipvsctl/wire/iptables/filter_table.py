"""Everybody's filter table out of `iptables-save`, as far as packets may come to it."""

from collections.abc import Iterator
from typing import Final

from ipvsctl.model.neighbours import FilterTable
from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import ChainRef, Jump, Rule, Table, UnknownRule
from ipvsctl.wire.iptables.rule_parse import parse_rule

_BEGIN: Final = f"*{Table.FILTER}"
_HOOKS: Final = ("INPUT", "FORWARD", "OUTPUT")

MOST_RULES: Final = 3_000
"""Rules that are read: a tenth of a second. Nodes have been seen with a hundred
thousand of other agents."""


def parse_filter(text: str, family: IPFamily, most: int = MOST_RULES) -> FilterTable:
    """Read the filter table: the built-in chains and those they lead to.

    Args:
        text: of `iptables-save`, of one family.
        family: which.
        most: rules that are read.
    """
    policies: dict[str, str] = {}
    lines: dict[str, list[str]] = {}
    for line in _table_lines(text):
        if line.startswith(":"):
            name, policy, *_ = (*line[1:].split(" "), "-")
            lines.setdefault(name, [])
            if policy != "-":
                policies[name] = policy
            continue
        # Counters may stand before a rule.
        chain, _, arguments = line.partition("-A ")[2].partition(" ")
        if chain:
            lines.setdefault(chain, []).append(arguments)
    chains: dict[ChainRef, tuple[Rule | UnknownRule, ...]] = {}
    left = most
    waiting: list[str] = [name for name in _HOOKS if name in lines]
    while waiting and left > 0:
        name = waiting.pop(0)
        ref = ChainRef(Table.FILTER, name)
        if ref in chains:
            continue
        rules = tuple(parse_rule(words, family) for words in lines[name][:left])
        left -= len(rules)
        chains[ref] = rules
        waiting += [chain for chain in _jumps(rules) if chain in lines]
    return FilterTable(policies=policies, chains=chains, is_cut=left <= 0)


def jump_of(rule: Rule | UnknownRule) -> str:
    """The target of a rule, as text: a verdict or the name of a chain."""
    if isinstance(rule, UnknownRule):
        words = rule.text.split(" ")
        for flag in ("-j", "-g"):
            if flag in words[:-1]:
                return words[words.index(flag) + 1]
        return ""
    return rule.target.chain if isinstance(rule.target, Jump) else ""


def _jumps(rules: tuple[Rule | UnknownRule, ...]) -> Iterator[str]:
    return filter(None, map(jump_of, rules))


def _table_lines(text: str) -> Iterator[str]:
    inside = False
    for line in text.splitlines():
        if line.startswith("*"):
            inside = line.strip() == _BEGIN
        elif inside and line and not line.startswith(("#", "COMMIT")):
            yield line
