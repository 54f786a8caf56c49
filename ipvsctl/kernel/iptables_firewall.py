"""The firewall that is iptables with ipset, as kube-proxy's."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final, Self

from ipvsctl.kernel.firewall import RulesListing, SetListing
from ipvsctl.kernel.ipsets import Ipsets
from ipvsctl.kernel.iptables import Iptables, choose_flavour, count_rules
from ipvsctl.kernel.rules import Rules, RulesTool
from ipvsctl.model.errors import KernelError, WireError
from ipvsctl.model.neighbours import FilterTable
from ipvsctl.model.net import IPFamily
from ipvsctl.model.parts import RULES, Part
from ipvsctl.model.rules import Chains
from ipvsctl.model.sets import SetKey
from ipvsctl.model.steps import Step, Steps
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.diff.ops import FailedOp, Op
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.wire.iptables.words import IptablesWords

_WORDS: Final[FirewallWords] = IptablesWords()


class IptablesFirewall:
    """See `Firewall`.

    Args:
        tools: the iptables of each family that is to have rules.

    Raises:
        KernelError: the socket for sets cannot be opened.
    """

    def __init__(self, tools: Mapping[IPFamily, RulesTool]) -> None:
        self._rules = Rules(tools)
        self._ipsets = Ipsets()

    @classmethod
    def open(cls, families: Sequence[IPFamily]) -> Self:
        """The firewall with the iptables that this node's other agents use.

        Raises:
            KernelError: as above; NotFound also when iptables is not installed.
        """
        flavour = choose_flavour()
        return cls({family: Iptables(family, flavour=flavour) for family in families})

    @classmethod
    def open_leniently(cls, families: Sequence[IPFamily]) -> Self:
        """The same where iptables may have been taken away: then there are only sets.

        Raises:
            KernelError: the socket for sets cannot be opened.
        """
        try:
            return cls.open(families)
        except KernelError:
            return cls({})

    def check(self) -> None:
        """See whether rules and sets can be read at all.

        Raises:
            KernelError: they cannot: the kernel lacks what iptables or ipset needs.
        """
        self.read_chain_names()
        self._ipsets.count_entries()

    def close(self) -> None:
        """See `Firewall`."""
        self._ipsets.close()

    @property
    def words(self) -> FirewallWords:
        """See `Firewall`."""
        return _WORDS

    @property
    def random_fully(self) -> bool:
        """See `Firewall`."""
        return self._rules.random_fully

    def read_rules_in_steps(self) -> Steps[RulesListing]:
        """See `Firewall`."""
        # Nobody else changes rules, and iptables takes its time to start.
        chains: dict[IPFamily, Chains] = {}
        unread: dict[Part, str] = {}
        for family in self._rules.families:
            yield Step.SHARED
            try:
                chains[family] = self._rules.read(family)
            except (KernelError, WireError) as error:
                unread[RULES[family]] = str(error)
        return RulesListing(chains, unread)

    @property
    def sees_bridge_ports(self) -> bool:
        """See `Firewall`."""
        return True

    def read_filters(self) -> Mapping[IPFamily, tuple[FilterTable, ...]]:
        """See `Firewall`."""
        return {f: (self._rules.read_filter(f),) for f in self._rules.families}

    @staticmethod
    def count_rules() -> dict[str, int]:
        """Rules by flavour of iptables, everybody's."""
        return count_rules()

    def read_chain_names(self) -> frozenset[str]:
        """Everybody's chains, of all tables and families.

        Raises:
            KernelError: they could not be read.
        """
        names = (self._rules.read_chain_names(f) for f in self._rules.families)
        return frozenset().union(*names)

    def count_entries(self) -> Mapping[SetKey, int]:
        """See `Firewall`."""
        return self._ipsets.count_entries()

    def read_sets_in_steps(self) -> Steps[SetListing]:
        """See `Firewall`."""
        return self._ipsets.read_in_steps()

    def open_notices(self) -> None:
        """See `Firewall`: the kernel tells nothing of ipsets, nor of xtables."""

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`."""
        failed: list[FailedOp] = []
        for is_about_rules, group in groupby(ops, key=_is_about_rules):
            way = self._rules if is_about_rules else self._ipsets
            failed += way.run(tuple(group))
        return failed


def _is_about_rules(op: Op) -> bool:
    return op.kind is ObjectKind.RULES
