"""iptables in memory: what one `iptables-restore --noflush` run does, and refuses."""

from collections.abc import Container
from typing import Final

from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import (
    ChainRef,
    Chains,
    Jump,
    MapMark,
    MatchSet,
    Rule,
    RulesChange,
    Table,
    UnknownRule,
)
from ipvsctl.model.sets import SetKey
from ipvsctl.wire.ipset.sets import set_name

_ORDER: Final = (Table.MANGLE, Table.NAT, Table.FILTER)


class RestoreRefusedError(Exception):
    """iptables-restore stops with a line it cannot run."""


class FakeRules:
    """The chains of both families that are ours, and our jumps to them."""

    def __init__(self) -> None:
        self._chains: dict[IPFamily, Chains] = {family: {} for family in IPFamily}

    def read(self) -> dict[IPFamily, Chains]:
        """Our chains; built-in ones only while they have a jump of ours."""
        return {
            family: {
                ref: rules
                for ref, rules in chains.items()
                if rules or not ref.is_builtin
            }
            for family, chains in self._chains.items()
        }

    def put(self, family: IPFamily, chains: Chains) -> None:
        """Have these chains as they are, whoever made them."""
        self._chains[family].update(chains)

    def uses_set(self, name: str) -> bool:
        """Some rule refers to the set."""
        return any(
            name in (_sets_of(rule) if isinstance(rule, Rule) else rule.text.split())
            for chains in self._chains.values()
            for rules in chains.values()
            for rule in rules
        )

    def restore(self, change: RulesChange, sets: Container[str]) -> None:
        """Run a change; each table changes at once or not at all.

        Raises:
            RestoreRefusedError: tables before the refused line are changed.
        """
        for table in _ORDER:
            self._chains[change.family] = self._changed(change, table, sets)
        for table in _ORDER:
            self._chains[change.family] = self._removed(change, table)

    def _changed(
        self, change: RulesChange, table: Table, sets: Container[str]
    ) -> Chains:
        chains = dict(self._chains[change.family])
        for ref in (*(ref for ref, _ in change.write), *change.remove):
            if ref.table is table:
                chains[ref] = ()
        for ref, rule in change.unlink:
            if ref.table is table:
                chains[ref] = _without(chains.get(ref, ()), rule)
        for ref, rules in (*change.write, *change.link):
            if ref.table is table:
                for rule in rules:
                    _check(ref, rule, chains, sets)
                chains[ref] = (*rules, *chains.get(ref, ()))
        return chains

    def _removed(self, change: RulesChange, table: Table) -> Chains:
        chains = dict(self._chains[change.family])
        for ref in change.remove:
            if ref.table is not table:
                continue
            for other, rules in chains.items():
                if other.table is table and any(
                    isinstance(rule, Rule) and rule.target == Jump(ref.name)
                    for rule in rules
                ):
                    raise RestoreRefusedError(f"{ref.name} is in use by {other.name}")
            del chains[ref]
        return chains


class FakeNftRules(FakeRules):
    """The same as nftables has it: one transaction, and tables that are ours alone."""

    def uses(self, key: SetKey) -> bool:
        """Some rule refers to the set."""
        return any(
            key in _keys_of(rule)
            for chains in self._chains.values()
            for rules in chains.values()
            for rule in rules
            if isinstance(rule, Rule)
        )

    def change(self, change: RulesChange, sets: Container[SetKey]) -> None:
        """Run a change, all of it or nothing.

        Raises:
            RestoreRefusedError: what it refers to is not there.
        """
        chains = dict(self._chains[change.family])
        gone = {ref for ref, _ in change.unlink} | set(change.remove)
        for ref in gone:
            chains.pop(ref, None)
        written = (*change.write, *change.link)
        chains |= dict(written)
        for ref, rules in written:
            for rule in rules:
                _check_target(ref, rule, chains)
                if any(key not in sets for key in _keys_of(rule)):
                    raise RestoreRefusedError(f"{rule} refers to no set")
        self._chains[change.family] = chains


def _without(
    rules: tuple[Rule | UnknownRule, ...], unwanted: Rule | UnknownRule
) -> tuple[Rule | UnknownRule, ...]:
    if unwanted not in rules:
        raise RestoreRefusedError(f"no such rule: {unwanted}")
    place = rules.index(unwanted)
    return (*rules[:place], *rules[place + 1 :])


def _check(ref: ChainRef, rule: Rule, chains: Chains, sets: Container[str]) -> None:
    _check_target(ref, rule, chains)
    for name in _sets_of(rule):
        if name not in sets:
            raise RestoreRefusedError(f"set {name} does not exist")
    if isinstance(rule.target, MapMark) and ref.table is not Table.MANGLE:
        raise RestoreRefusedError(f"marks are not mapped in {ref.table}")


def _check_target(ref: ChainRef, rule: Rule, chains: Chains) -> None:
    target = rule.target
    if isinstance(target, Jump) and ChainRef(ref.table, target.chain) not in chains:
        raise RestoreRefusedError(f"{target.chain} does not exist in {ref.table}")


def _sets_of(rule: Rule) -> list[str]:
    """The names of the sets that a rule refers to."""
    return [set_name(key) for key in _keys_of(rule)]


def _keys_of(rule: Rule) -> list[SetKey]:
    """The sets that a rule refers to."""
    parts = (*rule.matches, rule.target)
    return [part.key for part in parts if isinstance(part, MatchSet | MapMark)]
