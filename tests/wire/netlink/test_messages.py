"""Netlink framing, acknowledgements, families."""

from struct import pack

import pytest

from ipvsctl.model.errors import WireError
from ipvsctl.wire.netlink.messages import (
    NLM_F_ACK,
    NLM_F_CAPPED,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    Ack,
    MessageType,
    decode_ack,
    done_errno,
    iter_messages,
    message_header,
    numbered,
    stamp,
)
from tests.wire.golden import datagrams, each_kernel


def message(payload: bytes, kind: int = 77) -> bytes:
    """A whole message."""
    return message_header(kind, 0, len(payload)) + payload


def acks(datagram: bytes) -> list[Ack]:
    """The acknowledgements in a datagram."""
    return [
        decode_ack(datagram, flags, start, end)
        for kind, flags, _, start, end in iter_messages(datagram)
        if kind == MessageType.ERROR
    ]


def test_header() -> None:
    """A header is length, type, flags, sequence number and port id."""
    assert message_header(0x1C, 0, 4) == pack("=IHHII", 20, 0x1C, 5, 0, 0)


def test_a_dump_asks_for_no_ack() -> None:
    """Its end is its answer; every other request wants one."""
    flags = NLM_F_REQUEST | NLM_F_DUMP
    assert message_header(0x1C, NLM_F_DUMP, 0) == pack("=IHHII", 16, 0x1C, flags, 0, 0)
    flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL
    assert message_header(0x1C, NLM_F_EXCL, 0) == pack("=IHHII", 16, 0x1C, flags, 0, 0)


def test_numbered() -> None:
    """The sequence number is at offset 8."""
    assert numbered(message(b"abcd"), 0xFFFFFFFF) == pack(
        "=IHHII4s", 20, 77, NLM_F_REQUEST | NLM_F_ACK, 0xFFFFFFFF, 0, b"abcd"
    )


def test_stamp() -> None:
    """Messages of a batch count up; nothing else of them changes."""
    batch = [message(b"abcd"), message(b""), message(b"abcdefgh")]
    data = bytearray(b"".join(batch))
    stamp(data, [len(item) for item in batch], 0x01000000)
    assert [sequence for _, _, sequence, _, _ in iter_messages(bytes(data))] == [
        0x01000000,
        0x01000001,
        0x01000002,
    ]
    stamp(data, [len(item) for item in batch], 0)
    assert bytes(data) == b"".join(
        numbered(item, place) for place, item in enumerate(batch)
    )


def test_messages_are_aligned() -> None:
    """A message starts where the one before ends, rounded up to 4."""
    datagram = message(b"abc") + b"\0" + message(b"")
    assert [(start, end) for *_, start, end in iter_messages(datagram)] == [
        (16, 19),
        (36, 36),
    ]


@pytest.mark.parametrize("size", range(1, 20))
def test_a_truncated_message_is_an_error(size: int) -> None:
    """No prefix of a message is a message."""
    with pytest.raises(WireError):
        list(iter_messages(message(b"abcd")[:size]))


@pytest.mark.parametrize("length", [0, 3, 15])
def test_a_length_below_the_header_is_an_error(length: int) -> None:
    """A message shorter than its header would be read for ever."""
    with pytest.raises(WireError, match=f"length {length}"):
        list(iter_messages(pack("=IHHII", length, 77, 0, 0, 0)))


@each_kernel
@pytest.mark.parametrize(
    ("name", "errno"), [("exists", 17), ("set-exists", 17), ("no-link", 19)]
)
def test_refusals(kernel: str, name: str, errno: int) -> None:
    """A refusal has a positive errno; without words of the kernel's it has none."""
    (datagram,) = datagrams(kernel, name)
    assert acks(datagram) == [Ack(errno, "")]


@each_kernel
def test_words(kernel: str) -> None:
    """The kernel says what it dislikes, where it does (extended ack)."""
    (datagram,) = datagrams(kernel, "too-long")
    assert acks(datagram) == [Ack(34, "Attribute failed policy validation")]


@each_kernel
def test_a_truncated_refusal_is_an_error(kernel: str) -> None:
    """Every prefix of a refusal's payload is one, an error, or lacks the words."""
    (datagram,) = datagrams(kernel, "too-long")
    ((_, flags, _, start, end),) = iter_messages(datagram)
    for stop in range(start, end):
        try:
            ack = decode_ack(datagram[:stop], flags, start, stop)
        except WireError:
            continue
        assert ack.errno == 34


def test_words_behind_a_whole_request() -> None:
    """Without NETLINK_CAP_ACK the words follow the copy of the request."""
    request = message(b"abcde")
    words = pack("=HH8s", 9, 1, b"hello")
    payload = pack("=i", -22) + request + b"\0\0\0" + words
    assert decode_ack(payload, 0x200, 0, len(payload)) == Ack(22, "hello")
    capped = pack("=i", -22) + request[:16] + words
    flags = 0x200 | NLM_F_CAPPED
    assert decode_ack(capped, flags, 0, len(capped)) == Ack(22, "hello")


def test_the_end_of_a_dump() -> None:
    """A dump ends with an errno, or with nothing, which is success."""
    assert done_errno(pack("=i", -2), 0, 4) == 2
    assert done_errno(pack("=i", 0), 0, 4) == 0
    assert done_errno(b"", 0, 0) == 0
