"""What a kernel asks of its firewall: sets and rules together, behind one seam.

Above the seam a set is a role in a family and a rule is a value; what a set is called,
how it is built, filled and replaced, and how rules are written is the firewall's own.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

from ipvsctl.kernel.applier import Transport
from ipvsctl.kernel.notices import Notices
from ipvsctl.model.neighbours import FilterTable
from ipvsctl.model.net import IPFamily
from ipvsctl.model.parts import Part
from ipvsctl.model.rules import Chains
from ipvsctl.model.sets import Leftover, SetEntry, SetKey, SetShape
from ipvsctl.model.steps import Steps
from ipvsctl.plan.diff.words import FirewallWords


class SetListing(NamedTuple):
    """The sets of ours, and those that are of no use any more; see `NodeState`."""

    sets: Mapping[SetKey, SetShape]
    entries: Mapping[SetKey, AbstractSet[SetEntry]]
    leftovers: AbstractSet[Leftover]


class RulesListing(NamedTuple):
    """Our chains of each family, or why they could not be read."""

    chains: Mapping[IPFamily, Chains]
    unread: Mapping[Part, str]


class Firewall(Transport, Protocol):
    """Sets and rules of one node. It runs ops about sets, entries and rules."""

    @property
    def words(self) -> FirewallWords:
        """What operators of this firewall call its things."""
        ...

    @property
    def random_fully(self) -> bool:
        """It can choose ports at random for the connections that it masquerades."""
        ...

    def read_rules_in_steps(self) -> Steps[RulesListing]:
        """Our chains of each family that has rules; see `interface.Reading`.

        Never fails: a family whose rules cannot be read is named.
        """
        ...

    @property
    def sees_bridge_ports(self) -> bool:
        """It can tell packets that came in through a port of a bridge."""
        ...

    def read_filters(self) -> Mapping[IPFamily, tuple[FilterTable, ...]]:
        """Everybody's filter rules of each family; in any thread, beside other calls.

        A packet passes the tables one after the other.

        Raises:
            KernelError: they could not be read.
        """
        ...

    def read_sets_in_steps(self) -> Steps[SetListing]:
        """Our sets; see `interface.Reading`."""
        ...

    def count_entries(self) -> Mapping[SetKey, int] | None:
        """How many entries each of our sets has, from the headers alone.

        None if that is not in them: then `open_notices` tells of changes.

        Raises:
            KernelError: they could not be read.
        """
        ...

    def open_notices(self) -> Notices | None:
        """What the kernel tells of changes by others; None if it tells nothing.

        Raises:
            KernelError: nothing can be heard.
        """
        ...

    def close(self) -> None:
        """Close what is open; sets and rules stay."""
        ...
