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
from ipvsctl.wire.nftables.requests import delete_table
from ipvsctl.wire.nftables.trial import impossible, trials
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
        """The firewall, if this kernel has all that it needs of nftables.

        Raises:
            KernelError: it has not, or the socket cannot be opened.
        """
        opened = cls(families)
        try:
            opened._try(families)
        except KernelError:
            opened.close()
            raise
        return opened

    @classmethod
    def open_if_there(cls, families: Sequence[IPFamily]) -> Self:
        """The firewall, if a table of ours is there; nothing is tried or loaded.

        Raises:
            KernelError: there is none, or the kernel has no nftables.
        """
        opened = cls(families)
        try:
            opened._rules.require_table()
        except KernelError:
            opened.close()
            raise
        return opened

    def _try(self, families: Sequence[IPFamily]) -> None:
        """Have the kernel make one of everything, in transactions that must fail.

        What they need is loaded meanwhile, and nothing of them is ever there.
        """
        for family in families:
            trial = tuple(trials(family))
            messages = [message for message, _ in trial]
            refused = self._socket.transact([*messages, impossible(family)])
            for place, ack in sorted(refused.items()):
                if place < len(trial) and ack.errno != errno.EEXIST:
                    what = f"nftables, {trial[place][1]}"
                    raise KernelError.of(ack.errno, what, ack.reason)

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
        last = {
            op.key.family: op
            for op in ops
            if isinstance(op, DestroySet) and isinstance(op.key, SetKey)
        }
        for family, op in last.items():
            try:
                self._delete_empty_table(family)
            except KernelError as error:
                if all(failure.op is not op for failure in failed):
                    failed.append(FailedOp(op=op, errno=error.errno, reason=str(error)))
        return failed

    def _delete_empty_table(self, family: IPFamily) -> None:
        """Delete our table if that was the last of it.

        Raises:
            KernelError: whether it was could not be read.
        """
        if not (self._rules.has_chains(family) or self._sets.headers(family)):
            # Somebody else may have done so.
            self._socket.transact([delete_table(family)])


def _filters(chains: Chains) -> FilterTable:
    ours = {r: rules for r, rules in chains.items() if r.table is Table.FILTER}
    return FilterTable(policies=_POLICIES, chains=ours)


def _is_about_rules(op: Op) -> bool:
    return op.kind is ObjectKind.RULES
