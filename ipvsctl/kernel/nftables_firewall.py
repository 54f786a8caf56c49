"""The firewall that is nftables: a table of our own for each family."""

import errno
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import groupby
from typing import Final, Self

from ipvsctl.kernel.firewall import RulesListing, SetListing
from ipvsctl.kernel.iptables import everybodys_filters
from ipvsctl.kernel.nft_notices import NftNotices
from ipvsctl.kernel.nft_rules import NftRules
from ipvsctl.kernel.nft_sets import NftSets
from ipvsctl.kernel.transaction import TransactionSocket
from ipvsctl.model.errors import KernelError, WireError
from ipvsctl.model.neighbours import FilterTable
from ipvsctl.model.net import IPFamily
from ipvsctl.model.parts import RULES, Part
from ipvsctl.model.rules import Chains, Table
from ipvsctl.model.sets import SetKey
from ipvsctl.model.steps import Step, Steps
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.diff.ops import DestroySet, FailedOp, Op
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.wire.nftables.requests import delete_set, delete_table, try_table
from ipvsctl.wire.nftables.words import NftablesWords

_POLICIES: Final = {"INPUT": "ACCEPT", "FORWARD": "ACCEPT", "OUTPUT": "ACCEPT"}
_WORDS: Final[FirewallWords] = NftablesWords()


class NftablesFirewall:
    """See `Firewall`; of the network namespace of whoever opens it.

    Args:
        families: those that are to have a table.

    Raises:
        KernelError: the socket cannot be opened.
    """

    def __init__(self, families: Sequence[IPFamily]) -> None:
        self._ports: set[int] = set()
        self._socket = TransactionSocket.connect(self._ports)
        self._rules = NftRules(self._socket, families)
        self._sets = NftSets(self._socket, families)

    @classmethod
    def open(cls, families: Sequence[IPFamily]) -> Self:
        """The firewall, if this kernel has nftables.

        Raises:
            KernelError: it has not, or the socket cannot be opened.
        """
        opened = cls(families)
        try:
            opened._try_out(families)
        except KernelError as error:
            opened.close()
            raise KernelError.of(
                error.errno, "nftables", "this kernel has none"
            ) from error
        return opened

    def _try_out(self, families: Sequence[IPFamily]) -> None:
        """Ask for a table of each family, and for what nobody is given: none is made.

        A kernel may have nftables and none of our families, and lists no table then
        (nf_tables_api.c:nf_tables_newtable, EOPNOTSUPP).
        """
        tables = [try_table(family) for family in families]
        refused = self._socket.transact([*tables, delete_set(families[0], "")])
        for place, ack in sorted(refused.items()):
            if place < len(tables) and ack.errno != errno.EEXIST:
                raise KernelError.of(ack.errno, "try nftables", ack.reason)

    def close(self) -> None:
        """See `Firewall`."""
        self._socket.close()

    @property
    def words(self) -> FirewallWords:
        """See `Firewall`."""
        return _WORDS

    @property
    def random_fully(self) -> bool:
        """See `Firewall`."""
        return True

    @property
    def sees_bridge_ports(self) -> bool:
        """See `Firewall`."""
        return False

    def read_rules_in_steps(self) -> Steps[RulesListing]:
        """See `Firewall`."""
        chains: dict[IPFamily, Chains] = {}
        unread: dict[Part, str] = {}
        for family in self._rules.families:
            yield Step.EXCLUSIVE
            try:
                chains[family] = self._rules.read(family)
            except (KernelError, WireError) as error:
                unread[RULES[family]] = str(error)
        return RulesListing(chains, unread)

    def read_filters(self) -> Mapping[IPFamily, tuple[FilterTable, ...]]:
        """See `Firewall`; ours, and those of iptables where it is installed."""
        # In a thread of its own, and so on a socket of its own.
        with closing(TransactionSocket.connect(set())) as socket:
            rules = NftRules(socket, self._rules.families)
            ours = {f: _filters(rules.read(f)) for f in rules.families}
        return {f: (first, *everybodys_filters(f)) for f, first in ours.items()}

    def read_sets_in_steps(self) -> Steps[SetListing]:
        """See `Firewall`."""
        return self._sets.read_in_steps()

    def count_entries(self) -> None:
        """See `Firewall`: a set's header does not say."""

    def open_notices(self) -> NftNotices:
        """See `Firewall`."""
        return NftNotices(self._ports)

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`."""
        failed: list[FailedOp] = []
        for is_about_rules, group in groupby(ops, key=_is_about_rules):
            way = self._rules if is_about_rules else self._sets
            failed += way.run(tuple(group))
        gone = [op.key for op in ops if isinstance(op, DestroySet)]
        for family in {key.family for key in gone if isinstance(key, SetKey)}:
            self._delete_empty_table(family)
        return failed

    def _delete_empty_table(self, family: IPFamily) -> None:
        """Delete our table if that was the last of it."""
        if not (self._rules.has_chains(family) or self._sets.headers(family)):
            # Somebody else may have done so.
            self._socket.transact([delete_table(family)])


def _filters(chains: Chains) -> FilterTable:
    ours = {r: rules for r, rules in chains.items() if r.table is Table.FILTER}
    return FilterTable(policies=_POLICIES, chains=ours)


def _is_about_rules(op: Op) -> bool:
    return op.kind is ObjectKind.RULES
