"""Walks one packet through one chain: which rules match it, and what they do to it."""

from collections.abc import Set as AbstractSet
from typing import assert_never

import msgspec

from ipvsctl.model.errors import TraceError
from ipvsctl.model.net import IPAddress, is_in
from ipvsctl.model.rules import (
    ChainRef,
    Jump,
    MapMark,
    Masquerade,
    Match,
    MatchAddrTypeLocal,
    MatchConntrackState,
    MatchIcmpType,
    MatchInInterface,
    MatchMark,
    MatchPhysdevIsIn,
    MatchProtocol,
    MatchSet,
    MatchSource,
    Reject,
    Rule,
    SetXMark,
    Table,
    Target,
    UnknownRule,
    Verdict,
)
from ipvsctl.model.state import NodeState
from ipvsctl.plan.service.program import SetMember
from ipvsctl.plan.trace.outcome import RuleStep, Step
from ipvsctl.plan.trace.packet import Packet
from ipvsctl.plan.trace.set_lookup import SetLookup, side_address

# Targets with which a packet is done with a table, and the only one they may be in.
_ONLY_IN: dict[object, Table] = {
    Reject: Table.FILTER,
    Masquerade: Table.NAT,
    MapMark: Table.MANGLE,
}

End = Verdict | Reject | Masquerade
"""How a packet leaves a chain; RETURN is also reaching its end."""


class Walker:
    """The node a packet is in.

    Args:
        state: where chains, sets and their entries are, and bound and routed VIPs.
        host_addresses: on the other links of this host.

    Attributes:
        compared: how many rules packets were compared with on their walks.
    """

    def __init__(
        self, state: NodeState, host_addresses: AbstractSet[IPAddress]
    ) -> None:
        self._state = state
        self._local = (
            host_addresses,
            state.addresses,
            state.routes.keys(),
            state.stand_ins,
        )
        self._sets = SetLookup(state)
        self.compared = 0

    def is_local(self, address: IPAddress) -> bool:
        """True for addresses of this host and its loopback network."""
        return address.is_loopback or any(address in some for some in self._local)

    def walk(
        self, packet: Packet, ref: ChainRef, steps: list[Step]
    ) -> tuple[Packet, End]:
        """Pass a built-in chain and those it jumps to.

        Args:
            packet: as it enters the chain.
            ref: the built-in chain.
            steps: grows by every rule that matched.

        Returns:
            The packet, perhaps with another mark, and how it left.

        Raises:
            TraceError: a rule, chain or set is not there or not understood.
        """
        return self._walk(packet, (ref,), steps)

    def _walk(
        self, packet: Packet, refs: tuple[ChainRef, ...], steps: list[Step]
    ) -> tuple[Packet, End]:
        """Pass the last chain of those that jumped to each other."""
        ref = refs[-1]
        for number, rule in enumerate(self._rules(packet, ref), 1):
            if isinstance(rule, UnknownRule):
                raise TraceError(f"{ref}: a rule is not understood: {rule.text}")
            self.compared += 1
            found = self.found(packet, rule)
            if found is None:
                continue
            _require_allowed(rule.target, ref, packet)
            packet, found = self._marked(packet, rule.target, found)
            steps.append(
                RuleStep(
                    hook=refs[0].name,
                    chain=ref,
                    number=number,
                    rule=rule,
                    found=found,
                    mark=packet.mark,
                )
            )
            if isinstance(rule.target, Jump):
                into = ChainRef(ref.table, rule.target.chain)
                if into in refs:
                    # The kernel takes no such rules (ip_tables.c:mark_source_chains).
                    raise TraceError(f"{ref}: {into} jumps back to itself")
                packet, end = self._walk(packet, (*refs, into), steps)
                if end is not Verdict.RETURN:
                    return packet, end
            elif not isinstance(rule.target, SetXMark | MapMark):
                return packet, rule.target
        return packet, Verdict.RETURN

    def _rules(self, packet: Packet, ref: ChainRef) -> tuple[Rule | UnknownRule, ...]:
        chains = self._state.chains.get(packet.family)
        if chains is None:
            raise TraceError(f"the {packet.family.label} rules are not known")
        if ref not in chains and not ref.is_builtin:
            raise TraceError(f"a rule jumps to {ref}, which does not exist")
        return chains.get(ref, ())

    def found(self, packet: Packet, rule: Rule) -> tuple[SetMember, ...] | None:
        """The set entries that make a rule match; None if it does not match.

        Raises:
            TraceError: a set is not there or not understood.
        """
        hits: list[SetMember] = []
        for match in rule.matches:
            if isinstance(match, MatchSet):
                hit = self._sets.find(match.key, match.sides, packet)
                if hit is None:
                    return None
                hits.append(hit)
            elif not self._holds(packet, match):
                return None
        return tuple(hits)

    def _marked(
        self, packet: Packet, target: Target, found: tuple[SetMember, ...]
    ) -> tuple[Packet, tuple[SetMember, ...]]:
        """The packet with the mark that a target gives it, and the entry it is of."""
        mark = packet.mark
        if isinstance(target, SetXMark):
            mark = (mark & ~target.mask) ^ target.value
        elif isinstance(target, MapMark):
            hit = self._sets.find(target.key, target.sides, packet)
            if hit is not None and hit.entry.mark:
                mark, found = hit.entry.mark, (*found, hit)
        return msgspec.structs.replace(packet, mark=mark), found

    def _holds(  # noqa: C901, PLR0911 - one case for each kind of match
        self, packet: Packet, match: Match
    ) -> bool:
        """Whether a match that asks no set holds."""
        match match:
            case MatchSource(network, negated):
                return is_in(packet.source, network) != negated
            case MatchInInterface(name, negated):
                prefix = name.removesuffix("+")
                same = packet.in_interface.startswith(prefix) and (
                    name.endswith("+") or packet.in_interface == name
                )
                return same != negated
            case MatchProtocol(protocol):
                return packet.protocol is protocol
            case MatchIcmpType(family, icmp_type, code):
                if packet.protocol is not None or packet.family is not family:
                    return False
                return packet.icmp[0] == icmp_type and code in {None, packet.icmp[1]}
            case MatchMark(value, mask, negated):
                return (packet.mark & mask == value) != negated
            case MatchConntrackState(states):
                return packet.ctstate in states
            case MatchPhysdevIsIn(negated):
                return packet.from_bridge_port != negated
            case MatchAddrTypeLocal(side, negated):
                return self.is_local(side_address(packet, side)) != negated
            case MatchSet(key, sides):
                return self._sets.find(key, sides, packet) is not None
            case _:
                assert_never(match)


def _require_allowed(target: Target, ref: ChainRef, packet: Packet) -> None:
    """Raise if no kernel has such a target in that chain."""
    if _ONLY_IN.get(type(target), ref.table) is not ref.table:
        raise TraceError(f"{target} is not allowed in {ref}")
    if isinstance(target, Reject) and target.family is not packet.family:
        raise TraceError(f"{target} in {ref} is of the other family")
    if target is Verdict.DROP and ref.table is Table.NAT:
        raise TraceError(f"iptables refuses DROP in {ref}")
