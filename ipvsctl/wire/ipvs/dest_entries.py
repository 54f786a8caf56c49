"""Real servers as the socket options of ipvsadm's first years list them, IPv4 only.

A dump over netlink takes three calls and three times the bytes. This one takes one call
under one lock, so what it lists was there at one moment. It does not tell what packets
in a tunnel are wrapped in, so it is believed of masqueraded real servers alone. And it
passes over those of another family, which only tunnels lead to: so how many a virtual
server has is to be asked as well.

    ip_vs_get_dests | ip_vs_dest_entry ...

Entries beyond the last real server stay as they were sent: with zeros, which no real
server has for its address.
Source: uapi/linux/ip_vs.h; ip_vs_ctl.c (`__ip_vs_get_dest_entries`,
`__ip_vs_get_service_entries`).
"""

import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from struct import Struct
from typing import Final

from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    RealServerStats,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.model.state import EMPTY
from ipvsctl.wire.netlink.addresses import unpack_address

_BASE: Final = 64 + 1024 + 64
IP_VS_SO_GET_SERVICES: Final = _BASE + 2
IP_VS_SO_GET_SERVICE: Final = _BASE + 3
IP_VS_SO_GET_DESTS: Final = _BASE + 4

_HEAD: Final = Struct("=Hxx4s2sxxII4x")
"""Protocol, address, port, fwmark, room for entries; then up to the entries, which have
64-bit counters and are aligned for them."""

_ROOM: Final = Struct("=I")

_NAME: Final = Struct("=Hxx4s2sxxI")
"""The same without the room: how a virtual server is called, also in a list of them."""

_LIST: Final = Struct("=I4x")
"""Room for entries; then up to the entries."""

_SERVICE: Final = Struct(f"={_NAME.size}s28xI56x")
"""The name, what else a virtual server has, how many real servers, traffic."""

_METHOD: Final = "B3x" if sys.byteorder == "little" else "3xB"
"""The lowest byte of the flags: the method, which is 0 for a real server that is
masqueraded. All others have IP_VS_CONN_F_NOOUTPUT beside it, and are never the same."""

_ENTRY: Final = Struct(f"=4s2sxx{_METHOD}iII12s4x56x")
"""Address, port, flags, weight, thresholds, three counts of connections; the rest is
traffic."""

RealServersWithCounts = tuple[
    Mapping[RealServerKey, RealServer], Mapping[RealServerKey, RealServerStats]
]

_Entry = tuple[bytes, bytes, int, int, int, int, bytes]

_COUNTS: Final = Struct("=III")
_NO_CONNECTIONS: Final = bytes(_COUNTS.size)
_NO_ADDRESS: Final = bytes(4)
_NO_ENTRY: Final[_Entry] = (_NO_ADDRESS, bytes(2), 0, 0, 0, 0, _NO_CONNECTIONS)
"""What is left of the room for one more."""


class _Ports(dict[int, bytes]):
    """Ports in network order, each made once: there are few among many real servers."""

    def __missing__(self, port: int) -> bytes:
        packed = self[port] = port.to_bytes(2, "big")
        return packed


_PORTS: Final = _Ports()


def dests_question(name: bytes, room: int) -> bytearray:
    """What to give to the kernel, which puts its answer into it.

    Args:
        name: of an IPv4 virtual server, see `service_name`.
        room: how many real servers there is room for.
    """
    buffer = bytearray(_HEAD.size + room * _ENTRY.size)
    _ROOM.pack_into(buffer, _NAME.size, room)
    buffer[: _NAME.size] = name
    return buffer


def service_name(key: VirtualServerKey) -> bytes:
    """How an IPv4 virtual server is called here."""
    address = key.address
    return _NAME.pack(
        # That of a fwmark is TCP, whatever its packets are (ip_vs_genl_parse_service).
        Protocol.TCP if key.protocol is None else key.protocol,
        _NO_ADDRESS if address is None else address,
        key.port.to_bytes(2, "big"),
        key.fwmark,
    )


def service_question(key: VirtualServerKey) -> bytearray:
    """What to give to the kernel to be told of one virtual server."""
    buffer = bytearray(_SERVICE.size)
    buffer[: _NAME.size] = service_name(key)
    return buffer


def services_question(room: int) -> bytearray:
    """What to give to the kernel to be told of all virtual servers.

    Args:
        room: for how many; an answer has no more.
    """
    buffer = bytearray(_LIST.size + room * _SERVICE.size)
    _LIST.pack_into(buffer, 0, room)
    return buffer


def iter_counts(answer: bytearray) -> Iterator[tuple[bytes, int]]:
    """How many real servers there are, by the name of the virtual server.

    Args:
        answer: about one virtual server or all.
    """
    start = len(answer) % _SERVICE.size
    return _SERVICE.iter_unpack(memoryview(answer)[start:])


def same_entries(
    answer: bytearray, expected: Mapping[RealServerKey, RealServer]
) -> Mapping[RealServerKey, RealServerStats] | None:
    """Whether an answer has exactly these real servers.

    Args:
        answer: to a question with room for one more.
        expected: what is looked for.

    Returns:
        The counters of those that have connections; None if they are not the same.
    """
    found = _ENTRY.iter_unpack(memoryview(answer)[_HEAD.size :])
    wanted: set[_Entry] = {
        (
            key.address,
            _PORTS[key.port],
            server.forwarding,
            server.weight,
            server.upper_threshold,
            server.lower_threshold,
            _NO_CONNECTIONS,
        )
        for key, server in expected.items()
    }
    wanted.add(_NO_ENTRY)
    others = set(found) ^ wanted
    return _connections(others, expected) if others else EMPTY


def read_entries(answer: bytearray) -> RealServersWithCounts | None:
    """The real servers of an answer, and the counters of those with connections.

    Returns:
        None if they had no room, or if there is more to know of one of them.
    """
    servers: dict[RealServerKey, RealServer] = {}
    counts: dict[RealServerKey, RealServerStats] = {}
    for entry in _ENTRY.iter_unpack(memoryview(answer)[_HEAD.size :]):
        packed, port_be16, method, weight, upper, lower, counted = entry
        if packed == _NO_ADDRESS:
            return servers, counts
        if method != ForwardingMethod.MASQUERADE:
            return None
        key = RealServerKey(
            unpack_address(IPFamily.IPV4, packed), int.from_bytes(port_be16, "big")
        )
        servers[key] = RealServer(
            key=key, weight=weight, upper_threshold=upper, lower_threshold=lower
        )
        if counted != _NO_CONNECTIONS:
            counts[key] = _stats(counted)
    return None


def _stats(counted: bytes) -> RealServerStats:
    active, inactive, persistent = _COUNTS.unpack(counted)
    return RealServerStats(active=active, inactive=inactive, persistent=persistent)


def _connections(
    others: AbstractSet[_Entry], expected: Mapping[RealServerKey, RealServer]
) -> Mapping[RealServerKey, RealServerStats] | None:
    """The counters that are all in which entries differ; None if anything else is.

    Args:
        others: each entry that has connections, and what it would be without.
        expected: all real servers.
    """
    keys: dict[tuple[bytes, bytes], RealServerKey] = {
        (key.address, _PORTS[key.port]): key for key in expected
    }
    busy = {entry for entry in others if entry[6] != _NO_CONNECTIONS}
    idle = others - busy
    if {(*entry[:6], _NO_CONNECTIONS) for entry in busy} != idle:
        return None
    return {keys[entry[:2]]: _stats(entry[6]) for entry in busy}
