"""A packet's way through everybody's filter rules, not only ours.

Others' rules are followed as far as they are understood. One that is not, and might
drop the packet, is named.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from ipvsctl.model.errors import TraceError
from ipvsctl.model.neighbours import FilterTable
from ipvsctl.model.rules import (
    ChainRef,
    Jump,
    Reject,
    Rule,
    Table,
    UnknownRule,
    Verdict,
)
from ipvsctl.plan.trace.chain_walk import Walker
from ipvsctl.plan.trace.packet import Packet

_DROPPING = ("-j DROP", "-j REJECT", "-j NFQUEUE")


class Dropped(NamedTuple):
    """Where a packet ends.

    Attributes:
        chain: of the filter table.
        number: of the rule there, from 1; 0 is the chain's policy.
        rule: None for the policy.
        policy: of the built-in chain, `DROP`; "" for a rule.
    """

    chain: ChainRef
    number: int
    rule: Rule | None
    policy: str = ""


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a packet in the filter table of one hook.

    Attributes:
        dropped: where it ends; None if it passes, as far as rules are understood.
        is_sure: no rule before that might have let it pass and is not understood.
        unread: rules that might drop it and are not understood: chain and text.
    """

    dropped: Dropped | None = None
    is_sure: bool = True
    unread: tuple[tuple[ChainRef, str], ...] = ()


def pass_filter(
    table: FilterTable, hook: str, packet: Packet, walker: Walker
) -> Passage:
    """Pass a built-in chain of the filter table and those it leads to.

    Args:
        table: everybody's rules of the packet's family.
        hook: `INPUT`, `FORWARD` or `OUTPUT`.
        packet: as it comes there.
        walker: of the node, for the sets that rules ask.
    """
    way = _Way(table, packet, walker)
    ref = ChainRef(Table.FILTER, hook)
    end = way.walk((ref,))
    policy = table.policies.get(hook, "ACCEPT")
    dropped = end if isinstance(end, Dropped) else None
    if end is Verdict.RETURN and policy != "ACCEPT":
        dropped = Dropped(ref, 0, None, policy)
    return Passage(dropped=dropped, is_sure=way.is_sure, unread=tuple(way.unread))


class _Way:
    def __init__(self, table: FilterTable, packet: Packet, walker: Walker) -> None:
        self._table = table
        self._packet = packet
        self._walker = walker
        self.unread: list[tuple[ChainRef, str]] = []
        self.is_sure = True

    def walk(self, refs: tuple[ChainRef, ...]) -> Verdict | Dropped:
        """Pass the last of the chains that jumped to each other."""
        ref = refs[-1]
        for number, rule in enumerate(self._table.chains.get(ref, ()), 1):
            if isinstance(rule, UnknownRule):
                drops = [*_dropping(rule)]
                self.unread += ((ref, text) for text in drops)
                # What else it does may spare the packet what comes after it.
                self.is_sure &= bool(drops)
                continue
            if not self._matches(ref, rule):
                continue
            target = rule.target
            if isinstance(target, Jump):
                into = ChainRef(ref.table, target.chain)
                end = Verdict.RETURN if into in refs else self.walk((*refs, into))
                if end is not Verdict.RETURN:
                    return end
            elif target is Verdict.DROP or isinstance(target, Reject):
                return Dropped(ref, number, rule)
            elif isinstance(target, Verdict):
                return target
        return Verdict.RETURN

    def _matches(self, ref: ChainRef, rule: Rule) -> bool:
        try:
            return self._walker.found(self._packet, rule) is not None
        except TraceError as error:
            self.unread.append((ref, error.reason))
            self.is_sure = False
            return False


def _dropping(rule: UnknownRule) -> Iterator[str]:
    if any(word in f"{rule.text} " for word in _DROPPING):
        yield rule.text
