"""Rules of nftables: reading those of our tables, and changing them."""

import errno
from collections.abc import Iterator, Sequence
from typing import Final

from ipvsctl.kernel.transaction import TransactionSocket
from ipvsctl.model.errors import KernelError, NotFound
from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import ChainRef, Chains, Rule, RulesChange, UnknownRule
from ipvsctl.plan.diff.ops import ChangeRules, FailedOp, Op
from ipvsctl.wire.nftables import replies
from ipvsctl.wire.nftables.chains import BASE_CHAINS
from ipvsctl.wire.nftables.replies import FoundChain, FoundTable
from ipvsctl.wire.nftables.requests import (
    add_rule,
    delete_chain,
    empty_chain,
    list_chains,
    list_rules,
    list_tables,
    make_chain,
    make_table,
)
from ipvsctl.wire.nftables.rule_text import render_rule
from ipvsctl.wire.nftables.sets import TABLE
from ipvsctl.wire.nftables.words import FAMILY_WORDS

_DORMANT: Final = UnknownRule("the table is dormant: no packet comes here")


class NftRules:
    """The rules of our tables in the caller's network namespace.

    Args:
        socket: for questions and changes.
        families: those that have a table.
    """

    def __init__(self, socket: TransactionSocket, families: Sequence[IPFamily]) -> None:
        self._socket = socket
        self.families = families

    def read(self, family: IPFamily) -> Chains:
        """All chains of our table, as far as there is something in them.

        A chain that does not begin where it should has an UnknownRule before all
        others, and so has each one that begins anywhere if the table is not in use.

        Raises:
            KernelError: they could not be read.
            WireError: they could not be understood.
        """
        chains = self._chains(family)
        rules: dict[ChainRef, list[Rule | UnknownRule]] = {
            found.ref: [UnknownRule(found.fault)] if found.fault else []
            for found in chains
        }
        if self._is_dormant(family):
            for ref in BASE_CHAINS:
                rules.setdefault(ref, []).insert(0, _DORMANT)
        for ref, rule in self._rules(family):
            rules.setdefault(ref, []).append(rule)
        return {
            ref: tuple(some)
            for ref, some in rules.items()
            if some or ref not in BASE_CHAINS
        }

    def has_chains(self, family: IPFamily) -> bool:
        """Whether there is any chain in our table, with rules or without.

        Raises:
            KernelError: they could not be read.
        """
        return bool(self._chains(family))

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`."""
        failed = []
        for op in ops:
            if not isinstance(op, ChangeRules):
                raise TypeError(op)
            try:
                self._change(op.change)
            except KernelError as error:
                failed.append(FailedOp(op=op, errno=error.errno, reason=error.reason))
        return failed

    def _change(self, change: RulesChange) -> None:
        """Make a change in one transaction; packets meet the rules before or after.

        A chain that is written stays, since others may lead to it. One that begins at
        a hook is made anew: where it begins cannot be changed.
        """
        family = change.family
        # To awake it is refused together with other changes (nf_tables_updtable).
        self._transact([(make_table(family), "the table")])
        there = {found.ref: found for found in self._chains(family)}
        link = dict(change.link)
        old = {ref for ref, _ in (*change.write, *change.unlink, *change.link)}
        old = (old | set(change.remove)) & there.keys()
        gone = [ref for ref in sorted(old) if _must_go(there[ref], change)]
        written = (*change.write, *link.items())
        self._transact(
            [
                *((empty_chain(family, ref), str(ref)) for ref in sorted(old)),
                *((delete_chain(family, ref), str(ref)) for ref in gone),
                *((make_chain(family, ref), str(ref)) for ref, _ in written),
                *(
                    (add_rule(family, ref, rule), f"{ref}: {render_rule(rule)}")
                    for ref, rules in written
                    for rule in rules
                ),
            ]
        )

    def _transact(self, messages: Sequence[tuple[bytes, str]]) -> None:
        refused = self._socket.transact([message for message, _ in messages])
        if refused:
            place, ack = min(refused.items())
            reason = KernelError.of(ack.errno, "", ack.reason).reason
            what = messages[place][1]
            raise KernelError.of(ack.errno, "changing rules", f"{reason} at {what!r}")

    def _chains(self, family: IPFamily) -> list[FoundChain]:
        found = self._socket.dump(list_chains(family), replies.chain, "list chains")
        return [chain for chain in found if chain is not None]

    def _rules(self, family: IPFamily) -> Iterator[tuple[ChainRef, Rule | UnknownRule]]:
        try:
            found = self._socket.dump(list_rules(family), replies.rule, "list rules")
        except NotFound:
            return iter(())
        return (rule for rule in found if rule is not None)

    def require_table(self) -> None:
        """See whether there is any table of ours.

        Raises:
            KernelError: there is none, or they could not be listed.
        """
        if not any(map(self._tables, self.families)):
            raise KernelError.of(errno.ENOENT, "nftables", f"no table {TABLE}")

    def _is_dormant(self, family: IPFamily) -> bool:
        return any(table.is_dormant for table in self._tables(family))

    def _tables(self, family: IPFamily) -> list[FoundTable]:
        """Our table of a family, if it is there."""
        ours = f"{FAMILY_WORDS[family]} {TABLE}"
        tables = self._socket.dump(list_tables(), replies.table, "list tables")
        return [table for table in tables if str(table) == ours]


def _must_go(found: FoundChain, change: RulesChange) -> bool:
    return found.ref in change.remove or found.base is not None
