"""Walks one packet through one chain: which rules match it, and what they do to it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network

from ipvsctl.model.net import IPAddress, IPFamily, Protocol, family_of
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
    SetXMark,
    Side,
    Table,
    Target,
    UnknownRule,
    Verdict,
)
from ipvsctl.model.sets import ENTRY_FORMS, EntryForm, SetEntry, SetKey
from ipvsctl.model.state import NodeState

_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

# Targets with which a packet is done with a table, and the only one they may be in.
_ONLY_IN: dict[object, Table] = {
    Reject: Table.FILTER,
    Masquerade: Table.NAT,
    MapMark: Table.MANGLE,
}


class TraceError(AssertionError):
    """The packet met something that is not modelled, or that cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The first packet of a flow.

    Attributes:
        protocol: None for ICMP and ICMPv6.
        port: destination port.
        icmp: type and code when `protocol` is None.
        in_interface: link it came in on; "" for one made by this host.
        from_bridge_port: it came in through a port of a bridge.
        ctstate: what conntrack says; UNTRACKED for neighbour discovery.
        mark: the packet mark.
    """

    source: IPAddress
    destination: IPAddress
    protocol: Protocol | None = Protocol.TCP
    port: int = 0
    icmp: tuple[int, int] = (0, 0)
    in_interface: str = ""
    from_bridge_port: bool = False
    ctstate: str = "NEW"
    mark: int = 0

    @property
    def family(self) -> IPFamily:
        """Of its destination."""
        return family_of(self.destination)


End = Verdict | Reject | Masquerade
"""How a packet leaves a chain; RETURN is also reaching its end."""


@dataclass(frozen=True, slots=True)
class Walker:
    """The node a packet is in.

    Attributes:
        state: where chains, sets and their entries are.
        local: addresses of this host, VIPs that are bound included.
        path: grows by every rule that matched.
    """

    state: NodeState
    local: frozenset[IPAddress]
    path: list[str]

    def is_local(self, address: IPAddress) -> bool:
        """True for addresses of this host and its loopback network."""
        return address in self.local or any(address in net for net in _LOOPBACK)

    def walk(self, packet: Packet, ref: ChainRef) -> tuple[Packet, End]:
        """Pass a chain and those it jumps to.

        Returns:
            The packet, perhaps with another mark, and how it left.

        Raises:
            TraceError: a rule, chain or set is not there or not understood.
        """
        chains = self.state.chains.get(packet.family, {})
        if ref not in chains and not ref.is_builtin:
            raise TraceError(f"a rule jumps to {ref}, which does not exist")
        for rule in chains.get(ref, ()):
            if isinstance(rule, UnknownRule):
                raise TraceError(f"{ref}: {rule.text}")
            if all(self._matches(packet, match) for match in rule.matches):
                self.path.append(f"{ref.table} {ref.name}: {rule.target}")
                packet, end = self._act(packet, ref, rule.target)
                if end is not None:
                    return packet, end
        return packet, Verdict.RETURN

    def _act(
        self, packet: Packet, ref: ChainRef, target: Target
    ) -> tuple[Packet, End | None]:
        """Do what a rule says; None goes on with the next rule."""
        if isinstance(target, SetXMark):
            mark = (packet.mark & ~target.mask) ^ target.value
            return replace(packet, mark=mark), None
        if isinstance(target, Jump):
            packet, end = self.walk(packet, ChainRef(ref.table, target.chain))
            return packet, None if end is Verdict.RETURN else end
        if _ONLY_IN.get(type(target), ref.table) is not ref.table:
            raise TraceError(f"{target} is not allowed in {ref}")
        if isinstance(target, MapMark):
            return replace(packet, mark=self._mapped(packet, target)), None
        if isinstance(target, Reject) and target.family is not packet.family:
            raise TraceError(f"{target} in {ref} is of the other family")
        if target is Verdict.DROP and ref.table is Table.NAT:
            raise TraceError(f"iptables refuses DROP in {ref}")
        return packet, target

    def _matches(  # noqa: C901, PLR0911 - one case for each kind of match
        self, packet: Packet, match: Match
    ) -> bool:
        match match:
            case MatchSource(network, negated):
                return (packet.source in network) != negated
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
                return self.is_local(_address(packet, side)) != negated
            case MatchSet(key, sides):
                return self._in_set(packet, key, sides)

    def _mapped(self, packet: Packet, target: MapMark) -> int:
        """The packet's mark after a look at the set: whole, or as it was."""
        form = self._form(packet, target.key)
        marks = {
            entry.identity: entry.mark
            for entry in self.state.entries.get(target.key, frozenset())
        }
        for entry in _looked_up(packet, form, target.sides):
            if marks.get(entry):
                return marks[entry]
        return packet.mark

    def _form(self, packet: Packet, key: SetKey) -> EntryForm:
        if key not in self.state.sets:
            raise TraceError(f"rule refers to set {key}, which does not exist")
        form = ENTRY_FORMS[key.role]
        if form is not EntryForm.PORT and key.family is not packet.family:
            raise TraceError(f"set {key} is of the other family")
        return form

    def _in_set(self, packet: Packet, key: SetKey, sides: tuple[Side, ...]) -> bool:
        form = self._form(packet, key)
        entries = self.state.entries.get(key, frozenset())
        if form is EntryForm.PLACE_AND_NETWORK:
            address, second = _address(packet, sides[0]), _address(packet, sides[2])
            return any(
                entry.network is not None
                and second in entry.network
                and _first_part(entry) == (address, packet.protocol, packet.port)
                for entry in entries
            )
        return any(entry in entries for entry in _looked_up(packet, form, sides))


def _address(packet: Packet, side: Side) -> IPAddress:
    return packet.source if side is Side.SRC else packet.destination


def _first_part(
    entry: SetEntry,
) -> tuple[IPAddress | None, Protocol | None, int | None]:
    return entry.address, entry.protocol, entry.port


def _looked_up(
    packet: Packet, form: EntryForm, sides: tuple[Side, ...]
) -> Iterator[SetEntry]:
    """The entry of this form that is searched for; none if it has no such part."""
    if form is EntryForm.ADDRESS:
        yield SetEntry(address=_address(packet, sides[0]))
        return
    port_side = sides[0] if form is EntryForm.PORT else sides[1]
    if port_side is not Side.DST:
        raise TraceError(f"{form}: source ports are not modelled")
    if form is EntryForm.PORT:
        # Other protocols have no port here (ip_set_getport.c:ip_set_get_ip_port).
        if packet.protocol in {Protocol.TCP, Protocol.UDP}:
            yield SetEntry(port=packet.port)
    elif packet.protocol is not None:
        yield SetEntry(
            address=_address(packet, sides[0]),
            protocol=packet.protocol,
            port=packet.port,
            second_address=(
                _address(packet, sides[2])
                if form is EntryForm.PLACE_AND_ADDRESS
                else None
            ),
        )
