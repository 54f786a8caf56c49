"""The kernel's listing of sockets, as values.

    nlmsghdr | inet_diag_msg: family, state, timer, retransmits | inet_diag_sockid ...

A sockid begins with the ports, then the addresses, each of 16 bytes, in network order.
Source: uapi/linux/inet_diag.h; net/ipv4/inet_diag.c.
"""

from struct import Struct
from typing import Final

from ipvsctl.model.errors import WireError
from ipvsctl.model.host import HostSocket
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.wire.netlink.addresses import unpack_address

_MESSAGE: Final = Struct("=BBBB")
_PORTS: Final = Struct("!HH")
_ADDRESS_BYTES: Final = 16


def decode_socket(
    protocol: Protocol, buffer: bytes, start: int, end: int
) -> HostSocket | None:
    """Where a socket waits; None for one of another family than IPv4 and IPv6.

    Args:
        protocol: the one that was asked for.
        buffer: where the payload is.
        start: of the payload.
        end: of the payload.

    Raises:
        WireError: the bytes are no such payload.
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
