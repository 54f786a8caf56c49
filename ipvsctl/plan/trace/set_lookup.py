"""Looks packets up in the sets of a state, as the kernel's set match does.

The one place of the tracer that finds a set by its name.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from ipvsctl.model.errors import TraceError
from ipvsctl.model.ipset import SetEntry, SetSpec, SetType
from ipvsctl.model.net import IPAddress, Protocol
from ipvsctl.model.rules import Side
from ipvsctl.model.state import NodeState
from ipvsctl.plan.service.program import NamedEntry
from ipvsctl.plan.trace.packet import Packet

_NO_ENTRIES: frozenset[SetEntry] = frozenset()


class SetLookup:
    """The sets of a node, with their entries."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._marked: dict[str, Mapping[SetEntry, SetEntry]] = {}
        """Set name -> identity of an entry -> the entry, for sets with marks."""

    def find(
        self, set_name: str, sides: tuple[Side, ...], packet: Packet
    ) -> NamedEntry | None:
        """The entry that finds a packet in a set; None if there is none.

        Args:
            set_name: as a rule refers to it.
            sides: the end of the packet that each part of an entry is compared with.
            packet: of the set's family.

        Raises:
            TraceError: there is no such set, it is of the other family, or it would be
                asked for a source port.
        """
        spec = self._spec(set_name, packet)
        entries = self._state.entries.get(set_name, _NO_ENTRIES)
        if spec.type is SetType.HASH_IP_PORT_NET:
            entry = _in_networks(entries, sides, packet)
            return None if entry is None else NamedEntry(set_name, entry)
        for wanted in _wanted(packet, spec.type, sides):
            if spec.skbinfo:
                found = self._by_identity(set_name, entries).get(wanted)
            else:
                found = wanted if wanted in entries else None
            if found is not None:
                return NamedEntry(set_name, found)
        return None

    def _spec(self, set_name: str, packet: Packet) -> SetSpec:
        spec = self._state.sets.get(set_name)
        if spec is None:
            raise TraceError(f"a rule refers to set {set_name}, which does not exist")
        if spec.family not in {None, packet.family}:
            raise TraceError(f"set {set_name} is of the other family")
        return spec

    def _by_identity(
        self, set_name: str, entries: AbstractSet[SetEntry]
    ) -> Mapping[SetEntry, SetEntry]:
        known = self._marked.get(set_name)
        if known is None:
            known = {entry.identity: entry for entry in entries}
            self._marked[set_name] = known
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
        and second in entry.network
    ]
    return max(found, key=_prefix_length, default=None)


def _prefix_length(entry: SetEntry) -> int:
    return 0 if entry.network is None else entry.network.prefixlen


def _wanted(
    packet: Packet, kind: SetType, sides: tuple[Side, ...]
) -> Iterator[SetEntry]:
    """The entry that a set of this type is searched for; none for want of a port."""
    if kind is SetType.HASH_IP:
        yield SetEntry(address=side_address(packet, sides[0]))
        return
    port_side = sides[0] if kind is SetType.BITMAP_PORT else sides[1]
    if port_side is not Side.DST:
        raise TraceError(f"{kind}: source ports are not modelled")
    if kind is SetType.BITMAP_PORT:
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
                if kind is SetType.HASH_IP_PORT_IP
                else None
            ),
        )
