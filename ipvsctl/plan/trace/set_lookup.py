"""Looks packets up in the sets of a state, as the kernel's set match does."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from ipvsctl.model.errors import TraceError
from ipvsctl.model.net import IPAddress, Protocol, is_in
from ipvsctl.model.rules import Side
from ipvsctl.model.sets import (
    ENTRY_FORMS,
    MARKING_ROLES,
    EntryForm,
    SetCondition,
    SetEntry,
    SetKey,
)
from ipvsctl.model.state import NodeState
from ipvsctl.plan.service.program import SetMember
from ipvsctl.plan.trace.packet import Packet

_NO_ENTRIES: frozenset[SetEntry] = frozenset()


class SetLookup:
    """The sets of a node, with their entries."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._marked: dict[SetKey, Mapping[SetEntry, SetEntry]] = {}
        """Set -> identity of an entry -> the entry, for sets with marks."""

    def find(
        self, key: SetKey, sides: tuple[Side, ...], packet: Packet
    ) -> SetMember | None:
        """The entry that finds a packet in a set; None if there is none.

        Args:
            key: the set, as a rule refers to it.
            sides: the end of the packet that each part of an entry is compared with.
            packet: of the set's family.

        Raises:
            TraceError: there is no such set, it is of the other family or of another
                kind, or it would be asked for a source port.
        """
        form = self._form(key, packet)
        entries = self._state.entries.get(key, _NO_ENTRIES)
        if form is EntryForm.PLACE_AND_NETWORK:
            entry = _in_networks(entries, sides, packet)
            return None if entry is None else SetMember(key, entry)
        for wanted in _wanted(packet, form, sides):
            if key.role in MARKING_ROLES:
                found = self._by_identity(key, entries).get(wanted)
            else:
                found = wanted if wanted in entries else None
            if found is not None:
                return SetMember(key, found)
        return None

    def _form(self, key: SetKey, packet: Packet) -> EntryForm:
        shape = self._state.sets.get(key)
        if shape is None:
            raise TraceError(f"a rule refers to set {key}, which does not exist")
        if shape.condition is SetCondition.ALIEN:
            raise TraceError(f"set {key} is of another kind")
        form = ENTRY_FORMS[key.role]
        # A port alone has no family.
        if form is not EntryForm.PORT and key.family is not packet.family:
            raise TraceError(f"set {key} is of the other family")
        return form

    def _by_identity(
        self, key: SetKey, entries: AbstractSet[SetEntry]
    ) -> Mapping[SetEntry, SetEntry]:
        known = self._marked.get(key)
        if known is None:
            known = {entry.identity: entry for entry in entries}
            self._marked[key] = known
        return known


def side_address(packet: Packet, side: Side) -> IPAddress:
    """The address at one end of a packet."""
    return packet.source if side is Side.SRC else packet.destination


def _in_networks(
    entries: AbstractSet[SetEntry], sides: tuple[Side, ...], packet: Packet
) -> SetEntry | None:
    """The entry with the smallest network, which the kernel finds first.

    Its search begins with the longest prefix (ip_set_hash_gen.h:mtype_test_cidrs).
    """
    first = (side_address(packet, sides[0]), packet.protocol, packet.port)
    second = side_address(packet, sides[2])
    found = [
        entry
        for entry in entries
        if (entry.address, entry.protocol, entry.port) == first
        and entry.network is not None
        and is_in(second, entry.network)
    ]
    return max(found, key=_prefix_length, default=None)


def _prefix_length(entry: SetEntry) -> int:
    return 0 if entry.network is None else entry.network.prefixlen


def _wanted(
    packet: Packet, form: EntryForm, sides: tuple[Side, ...]
) -> Iterator[SetEntry]:
    """The entry of this form that is searched for; none for want of a port."""
    if form is EntryForm.ADDRESS:
        yield SetEntry(address=side_address(packet, sides[0]))
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
            address=side_address(packet, sides[0]),
            protocol=packet.protocol,
            port=packet.port,
            second_address=(
                side_address(packet, sides[2])
                if form is EntryForm.PLACE_AND_ADDRESS
                else None
            ),
        )
