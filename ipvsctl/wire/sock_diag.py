"""Sockets of the host that wait for clients, as sock_diag lists them.

    nlmsghdr | inet_diag_req_v2: family, protocol, -, -, states | inet_diag_sockid
    nlmsghdr | inet_diag_msg: family, state, timer, retransmits | inet_diag_sockid ...

A sockid begins with the ports, then the addresses, each of 16 bytes, in network order.
Source: uapi/linux/inet_diag.h; net/ipv4/inet_diag.c, net/ipv4/udp_diag.c.
"""

from struct import Struct
from typing import Final

from ipvsctl.model.errors import WireError
from ipvsctl.model.host import HostSocket
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.wire.netlink.addresses import unpack_address
from ipvsctl.wire.netlink.messages import NLM_F_DUMP, message_header

SOCK_DIAG_BY_FAMILY: Final = 20

# include/net/tcp_states.h; an unconnected UDP socket is "closed".
_WAITING: Final = {Protocol.TCP: 1 << 10, Protocol.UDP: 1 << 7, Protocol.SCTP: 1 << 10}

_REQUEST: Final = Struct("=BBBBI48x")
_MESSAGE: Final = Struct("=BBBB")
_PORTS: Final = Struct("!HH")
_ADDRESS_BYTES: Final = 16


def list_waiting(family: IPFamily, protocol: Protocol) -> bytes:
    """Dump the sockets that take clients; ENOENT if the kernel cannot list them.

    An IPv6 socket may take IPv4 clients too.
    """
    body = _REQUEST.pack(family, protocol, 0, 0, _WAITING[protocol])
    return message_header(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, len(body)) + body


def decode_socket(
    protocol: Protocol, buffer: bytes, start: int, end: int
) -> HostSocket | None:
    """Where a socket waits; None for one of another family than IPv4 and IPv6.

    Args:
        protocol: the one that was asked for.
        buffer: what was received.
        start: where the payload starts in it.
        end: where it ends.

    Raises:
        WireError: it is not such a payload.
    """
    ports = start + _MESSAGE.size
    address = ports + _PORTS.size
    if end - address < _ADDRESS_BYTES:
        raise WireError(offset=start, reason="truncated socket message")
    family, _, _, _ = _MESSAGE.unpack_from(buffer, start)
    if family not in {IPFamily.IPV4, IPFamily.IPV6}:
        return None
    port, _ = _PORTS.unpack_from(buffer, ports)
    packed = buffer[address : address + _ADDRESS_BYTES]
    return HostSocket(protocol, unpack_address(IPFamily(family), packed), port)
