"""Netlink framing: message headers, acknowledgements, ends of dumps.

    0        4      6       8        12       16
    | length | type | flags | sequence | port id | payload ...   [struct nlmsghdr]

Everything is in host byte order. Payloads are not understood here.
Source: uapi/linux/netlink.h; net/netlink/af_netlink.c.
"""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from ipvsctl.model.errors import WireError
from ipvsctl.wire.netlink.attributes import iter_attributes

NLMSG_HDRLEN: Final = 16
FLAGS_OFFSET: Final = 6
SEQUENCE_OFFSET: Final = 8
PORT_OFFSET: Final = 12

_HEADER: Final = Struct("=IHHII")
_FLAGS: Final = Struct("=H")
_SEQUENCE: Final = Struct("=I")
_ERROR: Final = Struct("=i")


class NetlinkProtocol(IntEnum):
    """Protocols of AF_NETLINK sockets [NETLINK_*]."""

    ROUTE = 0
    SOCK_DIAG = 4
    NETFILTER = 12
    GENERIC = 16


class MessageType(IntEnum):
    """Types below every protocol's own [NLMSG_*]."""

    NOOP = 1
    ERROR = 2
    DONE = 3
    OVERRUN = 4


NLM_F_REQUEST: Final = 0x001
NLM_F_ACK: Final = 0x004
NLM_F_DUMP_INTR: Final = 0x010
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200
NLM_F_DUMP: Final = 0x300
NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLM_F_APPEND: Final = 0x800

NLMSGERR_ATTR_MSG: Final = 1


class Ack(NamedTuple):
    """The kernel's answer to one request.

    Attributes:
        errno: positive; 0 is success.
        reason: the kernel's own words (extended ack), "" when it gave none.
    """

    errno: int
    reason: str


def message_header(
    message_type: int, flags: int, payload_bytes: int, *, ack: bool = True
) -> bytes:
    """A header for a request that asks for an ack, unless it is a dump.

    The sequence number is 0 until `stamp` writes it.

    Args:
        message_type: of its protocol.
        flags: NLM_F_*.
        payload_bytes: behind the header.
        ack: False asks for none, unless `asking_for_ack` does it later.
    """
    if ack and flags & NLM_F_DUMP != NLM_F_DUMP:
        flags |= NLM_F_ACK
    return _HEADER.pack(
        NLMSG_HDRLEN + payload_bytes,
        message_type,
        NLM_F_REQUEST | flags,
        0,
        0,
    )


def numbered(message: bytes, sequence: int) -> bytes:
    """A message with its sequence number."""
    number = _SEQUENCE.pack(sequence)
    return message[:SEQUENCE_OFFSET] + number + message[SEQUENCE_OFFSET + 4 :]


def asking_for_ack(message: bytes) -> bytes:
    """A message that asks for an ack."""
    flags = _FLAGS.unpack_from(message, FLAGS_OFFSET)[0] | NLM_F_ACK
    return message[:FLAGS_OFFSET] + _FLAGS.pack(flags) + message[FLAGS_OFFSET + 2 :]


def stamp(batch: bytearray, lengths: list[int], first_sequence: int) -> None:
    """Number the messages of a batch, so that each ack names its message.

    Args:
        batch: whole messages, one behind the other.
        lengths: of each message, in bytes.
        first_sequence: the first message's number; the others count up.
    """
    offset = SEQUENCE_OFFSET
    write = _SEQUENCE.pack_into
    for sequence, length in enumerate(lengths, first_sequence):
        write(batch, offset, sequence)
        offset += length


def iter_messages(datagram: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """The messages of one received datagram: type, flags, sequence, start, end.

    `start` and `end` frame the payload.

    Raises:
        WireError: a length that is too small or goes beyond the datagram.
    """
    offset = 0
    size = len(datagram)
    unpack = _HEADER.unpack_from
    while offset < size:
        if size - offset < NLMSG_HDRLEN:
            raise WireError(offset=offset, reason="truncated message header")
        length, message_type, flags, sequence, _ = unpack(datagram, offset)
        end = offset + length
        if length < NLMSG_HDRLEN or end > size:
            raise WireError(offset=offset, reason=f"message length {length}")
        yield message_type, flags, sequence, offset + NLMSG_HDRLEN, end
        offset += (length + 3) & ~3


def port_of(datagram: bytes, start: int) -> int:
    """The port of whom a message is from, or about, by where its payload starts."""
    port: int = _SEQUENCE.unpack_from(datagram, start - NLMSG_HDRLEN + PORT_OFFSET)[0]
    return port


def decode_ack(datagram: bytes, flags: int, start: int, end: int) -> Ack:
    """The payload of an ERROR message [struct nlmsgerr], errors and acks alike.

    Raises:
        WireError: truncated.
    """
    if end - start < _ERROR.size:
        raise WireError(offset=start, reason="truncated error message")
    errno = -_ERROR.unpack_from(datagram, start)[0]
    if not flags & NLM_F_ACK_TLVS:
        return Ack(errno, "")
    echo = start + _ERROR.size
    if end - echo < NLMSG_HDRLEN:
        raise WireError(offset=echo, reason="truncated error message")
    capped = flags & NLM_F_CAPPED
    echoed = NLMSG_HDRLEN if capped else _HEADER.unpack_from(datagram, echo)[0]
    for kind, begin, stop in iter_attributes(datagram, echo + (echoed + 3 & ~3), end):
        if kind == NLMSGERR_ATTR_MSG:
            words = datagram[begin:stop].rstrip(b"\0")
            return Ack(errno, words.decode("utf-8", "replace"))
    return Ack(errno, "")


def done_errno(datagram: bytes, start: int, end: int) -> int:
    """The errno a dump ended with, from the payload of a DONE message; 0 is fine."""
    if end - start < _ERROR.size:
        return 0
    code: int = -_ERROR.unpack_from(datagram, start)[0]
    return code
