"""Entries of the socket option that lists real servers."""

from struct import pack
from typing import Final

import msgspec
import pytest

from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    RealServerStats,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.wire.ipvs.dest_entries import (
    dests_question,
    iter_counts,
    same_entries,
    service_name,
    service_question,
    services_question,
)

ENTRY: Final = bytes.fromhex("ac1000281f9000000001000001" + "00" * 83)
"""172.16.0.40:8080 with weight 1, as Linux 6.1 and 6.12 tell it on a little-endian
machine; INACTIVE is among its flags."""

KEY: Final = VirtualServerKey(
    family=IPFamily.IPV4,
    protocol=Protocol.UDP,
    address=parse_address("10.96.0.1"),
    port=53,
)
SERVER: Final = RealServer(key=RealServerKey(parse_address("172.16.0.40"), 8080))
ANOTHER: Final = RealServer(key=RealServerKey(parse_address("172.16.0.41"), 8080))
EXPECTED: Final = {SERVER.key: SERVER}


def answer(*entries: bytes, room: int = 2) -> bytearray:
    """A question, answered."""
    buffer = dests_question(service_name(KEY), room)
    for place, entry in enumerate(entries):
        start = len(buffer) + 96 * (place - room)
        buffer[start : start + 96] = entry
    return buffer


def changed(offset: int, value: bytes) -> bytes:
    """The entry with other bytes at a place."""
    return ENTRY[:offset] + value + ENTRY[offset + len(value) :]


def test_the_question() -> None:
    """What the kernel reads of it, then room."""
    question = dests_question(service_name(KEY), 3)
    head = pack("=HH4s2sHII", 17, 0, KEY.address.packed, b"\0\x35", 0, 0, 3)  # type: ignore[union-attr]  # it has one
    assert question == head + bytes(4 + 3 * 96)
    marked = VirtualServerKey(family=IPFamily.IPV4, fwmark=7)
    assert dests_question(service_name(marked), 0)[:20] == pack(
        "=HH4sIII", 6, 0, bytes(4), 0, 7, 0
    )


def test_how_many() -> None:
    """Of each virtual server, by its name; where there was more room, of none."""
    entry = service_name(KEY) + bytes(28) + pack("=I", 3) + bytes(56)
    assert len(entry) == 104
    answer = services_question(2)
    answer[8 : 8 + 104] = entry
    assert answer[:8] == pack("=II", 2, 0)
    assert dict(iter_counts(answer)) == {service_name(KEY): 3, bytes(16): 0}
    asked = service_question(KEY)
    assert asked[:16] == service_name(KEY)
    assert len(asked) == 104
    assert dict(iter_counts(bytearray(entry))) == {service_name(KEY): 3}


def test_the_same() -> None:
    """With no connections; traffic does not matter."""
    assert same_entries(answer(ENTRY), EXPECTED) == {}
    assert same_entries(answer(changed(40, b"\7" * 52)), EXPECTED) == {}
    assert same_entries(answer(room=1), {}) == {}


def test_counters() -> None:
    """Of those that have connections."""
    busy = changed(24, pack("=III", 3, 2, 1))
    stats = RealServerStats(active=3, inactive=2, persistent=1)
    assert same_entries(answer(busy), EXPECTED) == {SERVER.key: stats}
    both = {**EXPECTED, ANOTHER.key: ANOTHER}
    other = ENTRY[:3] + b"\x29" + ENTRY[4:]
    assert same_entries(answer(other, busy, room=3), both) == {SERVER.key: stats}


@pytest.mark.parametrize(
    "entry",
    [
        changed(3, b"\x29"),
        changed(5, b"\x91"),
        changed(8, b"\1"),
        changed(8, b"\x12"),
        changed(12, b"\0"),
        changed(15, b"\x80"),
        changed(16, b"\1"),
        changed(20, b"\1"),
    ],
    ids=lambda entry: entry[:24].hex(),
)
@pytest.mark.parametrize("active", [0, 1])
def test_another_field(entry: bytes, active: int) -> None:
    """Address, port, method, weight and thresholds count, with connections or not."""
    busy = entry[:24] + pack("=I", active) + entry[28:]
    assert same_entries(answer(busy), EXPECTED) is None


def test_more_and_less() -> None:
    """One that is not expected, one that lacks, the same one twice."""
    other = ENTRY[:3] + b"\x29" + ENTRY[4:]
    assert same_entries(answer(ENTRY, other), EXPECTED) is None
    assert same_entries(answer(room=2), EXPECTED) is None
    both = {**EXPECTED, ANOTHER.key: ANOTHER}
    assert same_entries(answer(ENTRY, room=3), both) is None
    assert same_entries(answer(ENTRY, ENTRY, room=3), both) is None


@pytest.mark.parametrize("method", list(ForwardingMethod)[1:])
def test_other_methods_are_never_the_same(method: ForwardingMethod) -> None:
    """The kernel says more of them than their method: what they are is asked for."""
    entry = changed(8, bytes([method | 0x10]))
    server = msgspec.structs.replace(SERVER, forwarding=method)
    assert same_entries(answer(entry), {server.key: server}) is None
