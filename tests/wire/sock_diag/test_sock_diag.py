"""`wire.sock_diag`: what is asked, and what is read of the answer."""

import struct

import pytest

from ipvsctl.model.errors import WireError
from ipvsctl.model.host import HostSocket
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.wire.netlink.messages import NLMSG_HDRLEN
from ipvsctl.wire.sock_diag.replies import decode_socket
from ipvsctl.wire.sock_diag.requests import list_waiting


def answer(family: int, port: int, packed: bytes) -> bytes:
    """A struct inet_diag_msg as far as it is read, and some more."""
    head = struct.pack("=BBBB", family, 10, 0, 0)
    return head + struct.pack("!HH16s48x", port, 0, packed)


@pytest.mark.parametrize(
    ("protocol", "state"),
    [(Protocol.TCP, 10), (Protocol.UDP, 7), (Protocol.SCTP, 10)],
)
def test_only_waiting_sockets_are_asked_for(protocol: Protocol, state: int) -> None:
    """The kernel leaves out connections: struct inet_diag_req_v2."""
    request = list_waiting(IPFamily.IPV6, protocol)[NLMSG_HDRLEN:]
    family, asked, _, _, states = struct.unpack_from("=BBBBI", request)
    assert (family, asked, states) == (10, protocol, 1 << state)
    assert len(request) == 56
    assert not any(request[8:])


@pytest.mark.parametrize(
    ("family", "packed", "address"),
    [
        (2, bytes([10, 0, 0, 10]), "10.0.0.10"),
        (2, bytes(4), "0.0.0.0"),
        (10, bytes(16), "::"),
        (10, parse_address("fd00:10::10").packed, "fd00:10::10"),
    ],
)
def test_a_socket(family: int, packed: bytes, address: str) -> None:
    """Its port is in network order, wherever in the buffer it is."""
    payload = answer(family, 8080, packed)
    found = decode_socket(Protocol.TCP, b"xxxx" + payload, 4, 4 + len(payload))
    assert found == HostSocket(Protocol.TCP, parse_address(address), 8080)


def test_what_is_no_socket() -> None:
    """Another family is passed over; a message that breaks off is an error."""
    payload = answer(1, 0, b"")
    assert decode_socket(Protocol.TCP, payload, 0, len(payload)) is None
    for length in range(24):
        with pytest.raises(WireError):
            decode_socket(Protocol.TCP, answer(2, 1, b""), 0, length)
