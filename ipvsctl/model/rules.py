"""Rules of the firewall as values: just the matches and targets that are used.

The words are those of netfilter; how iptables spells a value stands beside it.

A rule that is not one of ours, or one of ours that somebody edited, is an
`UnknownRule` and therefore never equal to a desired one.
"""

from enum import StrEnum

import msgspec

from ipvsctl.model.net import IPFamily, IPNetwork, Protocol
from ipvsctl.model.sets import SetKey


class Table(StrEnum):
    """The tables with rules of ours; a table is a priority at each hook."""

    FILTER = "filter"
    NAT = "nat"
    MANGLE = "mangle"


class Side(StrEnum):
    """Which end of the packet a match looks at."""

    SRC = "src"
    DST = "dst"


class ChainRef(msgspec.Struct, frozen=True, order=True):
    """A chain in a table."""

    table: Table
    name: str

    @property
    def is_builtin(self) -> bool:
        """True for PREROUTING, INPUT, ...: kernel hooks, shared with others."""
        return self.name in BUILTIN_CHAINS

    def __str__(self) -> str:
        return f"{self.table} {self.name}"


BUILTIN_CHAINS = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})


class MatchSet(msgspec.Struct, frozen=True, tag=True):
    """The packet has an entry in a set: `-m set --match-set NAME dst,dst`."""

    key: SetKey
    sides: tuple[Side, ...]


class MatchSource(msgspec.Struct, frozen=True, tag=True):
    """`[!] -s NETWORK`."""

    network: IPNetwork
    negated: bool = False


class MatchProtocol(msgspec.Struct, frozen=True, tag=True):
    """`-p tcp`."""

    protocol: Protocol


class MatchMark(msgspec.Struct, frozen=True, tag=True):
    """`-m mark [!] --mark VALUE/MASK`."""

    value: int
    mask: int
    negated: bool = False


class MatchAddrTypeLocal(msgspec.Struct, frozen=True, tag=True):
    """`-m addrtype [!] --src-type|--dst-type LOCAL`."""

    side: Side
    negated: bool = False


class MatchPhysdevIsIn(msgspec.Struct, frozen=True, tag=True):
    """`-m physdev [!] --physdev-is-in`: came in through a bridge port."""

    negated: bool = False


class MatchConntrackState(msgspec.Struct, frozen=True, tag=True):
    """`-m conntrack --ctstate A,B`, states in the order iptables-save prints."""

    states: tuple[str, ...]


class MatchInInterface(msgspec.Struct, frozen=True, tag=True):
    """`[!] -i NAME`; a trailing `+` matches any suffix."""

    name: str
    negated: bool = False


class MatchIcmpType(msgspec.Struct, frozen=True, tag=True):
    """`-p icmp --icmp-type T[/C]` or `-p ipv6-icmp --icmpv6-type T[/C]`, numeric."""

    family: IPFamily
    icmp_type: int
    code: int | None = None


Match = (
    MatchSet
    | MatchSource
    | MatchProtocol
    | MatchMark
    | MatchAddrTypeLocal
    | MatchPhysdevIsIn
    | MatchConntrackState
    | MatchInInterface
    | MatchIcmpType
)


class Verdict(StrEnum):
    """Targets without arguments."""

    ACCEPT = "ACCEPT"
    DROP = "DROP"
    RETURN = "RETURN"


class Jump(msgspec.Struct, frozen=True, tag=True):
    """`-j CHAIN`."""

    chain: str


class Reject(msgspec.Struct, frozen=True, tag=True):
    """`-j REJECT --reject-with ...port-unreachable` of the rule's family."""

    family: IPFamily


class SetXMark(msgspec.Struct, frozen=True, tag=True):
    """`-j MARK --set-xmark VALUE/MASK`: clear the mask's bits, then xor the value."""

    value: int
    mask: int


class Masquerade(msgspec.Struct, frozen=True, tag=True):
    """`-j MASQUERADE [--random-fully]`."""

    random_fully: bool = False


class MapMark(msgspec.Struct, frozen=True, tag=True):
    """`-j SET --map-set NAME dst,dst --map-mark`: give the packet its entry's mark.

    A packet without an entry, or whose entry has no mark, stays as it is. In table
    mangle only (xt_set.c:set_target_v3_checkentry).
    """

    key: SetKey
    sides: tuple[Side, ...]


Target = Verdict | Jump | Reject | SetXMark | Masquerade | MapMark


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule: all matches must hold, then the target."""

    matches: tuple[Match, ...] = ()
    target: Target
    comment: str = ""


class UnknownRule(msgspec.Struct, frozen=True):
    """A rule in a chain of ours, or a jump to one, that is not understood.

    Attributes:
        text: the rule's arguments as `iptables-save` prints them, after `-A CHAIN `.
    """

    text: str


Chains = dict[ChainRef, tuple[Rule | UnknownRule, ...]]
"""Chains of ours with all their rules; built-in chains with only our jumps in them."""


class RulesChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to change in the rules of one family; other agents' rules stay.

    Attributes:
        write: chains of ours to (create and) replace whole.
        unlink: rules to delete from built-in chains, one deletion each.
        link: jumps to insert at the top of a built-in chain, in this order.
        remove: chains of ours to flush and delete, after nothing jumps to them.
    """

    family: IPFamily
    write: tuple[tuple[ChainRef, tuple[Rule, ...]], ...] = ()
    unlink: tuple[tuple[ChainRef, Rule | UnknownRule], ...] = ()
    link: tuple[tuple[ChainRef, tuple[Rule, ...]], ...] = ()
    remove: tuple[ChainRef, ...] = ()
