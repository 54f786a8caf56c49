"""Firewalls in memory: iptables with ipset, and nftables."""

import errno
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from ipvsctl.kernel.firewall import SetListing
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Chains
from ipvsctl.model.sets import SetEntry, SetKey
from ipvsctl.plan.diff.ops import (
    AddEntry,
    ChangeRules,
    CreateSet,
    DeleteEntry,
    DestroySet,
    RebuildSet,
)
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.wire.ipset.sets import SetSpec
from ipvsctl.wire.iptables.words import IptablesWords
from ipvsctl.wire.nftables.words import NftablesWords
from tests.fakes.ipsets import FakeIpsets
from tests.fakes.nft_sets import FakeNftSets
from tests.fakes.refusal import Refusal
from tests.fakes.rules import FakeNftRules, FakeRules, RestoreRefusedError

FirewallOp = CreateSet | RebuildSet | DestroySet | AddEntry | DeleteEntry | ChangeRules


class FakeFirewall(Protocol):
    """What a kernel in memory needs of one."""

    @property
    def kind(self) -> FirewallKind:
        """Which it is."""
        ...

    @property
    def words(self) -> FirewallWords:
        """What operators call its things."""
        ...

    def sets(self) -> SetListing:
        """What is to be seen of sets."""
        ...

    def count(self) -> Mapping[SetKey, int] | None:
        """See `Firewall.count_entries`."""
        ...

    def chains(self) -> dict[IPFamily, Chains]:
        """What is to be seen of rules."""
        ...

    def put_set(self, spec: SetSpec, entries: Iterable[SetEntry]) -> None:
        """Have a set as it is."""
        ...

    def put_chains(self, family: IPFamily, chains: Chains) -> None:
        """Have rules as they are."""
        ...

    def run(self, op: FirewallOp) -> None:
        """Run one op, or raise Refusal."""
        ...


class FakeIptables:
    """See `FakeFirewall`."""

    kind = FirewallKind.IPTABLES
    words = IptablesWords()

    def __init__(self) -> None:
        self._rules = FakeRules()
        self._sets = FakeIpsets(self._rules.uses_set)

    def sets(self) -> SetListing:
        """See `FakeFirewall`."""
        return self._sets.listing()

    def count(self) -> dict[SetKey, int]:
        """See `FakeFirewall`."""
        return {key: len(held) for key, held in self._sets.listing().entries.items()}

    def chains(self) -> dict[IPFamily, Chains]:
        """See `FakeFirewall`."""
        return self._rules.read()

    def put_set(self, spec: SetSpec, entries: Iterable[SetEntry]) -> None:
        """See `FakeFirewall`."""
        self._sets.put(spec, entries)

    def put_chains(self, family: IPFamily, chains: Chains) -> None:
        """See `FakeFirewall`."""
        self._rules.put(family, chains)

    def run(self, op: FirewallOp) -> None:
        """See `FakeFirewall`."""
        if not isinstance(op, ChangeRules):
            self._sets.run(op)
            return
        try:
            self._rules.restore(op.change, self._sets.by_name)
        except RestoreRefusedError as error:
            raise Refusal(errno.EINVAL, str(error)) from error


class FakeNftables:
    """See `FakeFirewall`."""

    kind = FirewallKind.NFTABLES
    words = NftablesWords()

    def __init__(self) -> None:
        self._rules = FakeNftRules()
        self._sets = FakeNftSets(self._rules.uses)

    def sets(self) -> SetListing:
        """See `FakeFirewall`."""
        return self._sets.listing()

    def count(self) -> None:
        """See `FakeFirewall`."""

    def chains(self) -> dict[IPFamily, Chains]:
        """See `FakeFirewall`."""
        return self._rules.read()

    def put_set(self, spec: SetSpec, entries: Iterable[SetEntry]) -> None:
        """See `FakeFirewall`: there are no ipsets here."""
        raise NotImplementedError(spec, entries)

    def put_chains(self, family: IPFamily, chains: Chains) -> None:
        """See `FakeFirewall`."""
        self._rules.put(family, chains)

    def run(self, op: FirewallOp) -> None:
        """See `FakeFirewall`."""
        if not isinstance(op, ChangeRules):
            self._sets.run(op)
            return
        try:
            self._rules.change(op.change, self._keys())
        except RestoreRefusedError as error:
            raise Refusal(errno.ENOENT, str(error)) from error

    def _keys(self) -> AbstractSet[SetKey]:
        return self._sets.listing().sets.keys()
