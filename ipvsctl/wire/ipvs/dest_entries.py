"""Real servers as the socket option of ipvsadm's first years lists them, IPv4 only.

A dump over netlink takes three calls and three times the bytes. This one takes one call
under one lock, so what it lists was there at one moment. It does not tell what packets
in a tunnel are wrapped in, so it is believed of masqueraded real servers alone.

    ip_vs_get_dests | ip_vs_dest_entry ...

Entries beyond the last real server stay as they were sent: with zeros, which no real
server has for its address.
Source: uapi/linux/ip_vs.h; ip_vs_ctl.c (`__ip_vs_get_dest_entries`).
"""

import sys
from collections.abc import Mapping
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
from ipvsctl.model.net import IPFamily
from ipvsctl.model.state import EMPTY
from ipvsctl.wire.netlink.addresses import unpack_address

IP_VS_SO_GET_DESTS: Final = 64 + 1024 + 64 + 4

_HEAD: Final = Struct("=Hxx4s2sxxII4x")
"""Protocol, address, port, fwmark, room for entries; then up to the entries, which have
64-bit counters and are aligned for them."""

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


def dests_question(key: VirtualServerKey, room: int) -> bytearray:
    """What to give to the kernel, which puts its answer into it.

    Args:
        key: an IPv4 virtual server.
        room: how many real servers there is room for.
    """
    buffer = bytearray(_HEAD.size + room * _ENTRY.size)
    address = key.address
    _HEAD.pack_into(
        buffer,
        0,
        0 if key.protocol is None else key.protocol,
        _NO_ADDRESS if address is None else address.packed,
        key.port.to_bytes(2, "big"),
        key.fwmark,
        room,
    )
    return buffer


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
            key.address.packed,
            key.port.to_bytes(2, "big"),
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
    keys = {(key.address.packed, key.port.to_bytes(2, "big")): key for key in expected}
    busy = {entry for entry in others if entry[6] != _NO_CONNECTIONS}
    idle = others - busy
    if {(*entry[:6], _NO_CONNECTIONS) for entry in busy} != idle:
        return None
    return {keys[entry[:2]]: _stats(entry[6]) for entry in busy}
