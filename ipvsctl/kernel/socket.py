"""Opening netlink sockets."""

import contextlib
import errno
import socket
import struct
from typing import Final, Protocol

from ipvsctl.wire.netlink.messages import NetlinkProtocol

_RECEIVE_BUFFER_BYTES: Final = 4 << 20
_ANSWER_TIMEOUT: Final = struct.pack("@ll", 10, 0)
"""A `struct timeval`, seconds: answers are there at once, or lost."""

# uapi/linux/netlink.h and asm-generic/socket.h; Python has no names for these.
_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_NETLINK_GET_STRICT_CHK: Final = 12
_SO_RCVBUFFORCE: Final = 33


CLOSED: Final = frozenset({errno.EBADF, errno.ENOTSOCK})
"""Errors of a descriptor that is no socket of ours any more."""


class RawSocket(Protocol):
    """What is used of a socket."""

    def send(self, data: bytes | bytearray, /) -> int:
        """Send one datagram."""
        ...

    def recv(self, size: int, /) -> bytes:
        """Receive one datagram."""
        ...

    def close(self) -> None:
        """Close it."""
        ...

    def detach(self) -> int:
        """Leave its descriptor to whoever has it now."""
        ...


def open_socket(protocol: NetlinkProtocol) -> RawSocket:
    """A socket of this protocol in the caller's network namespace.

    Refusals come without a copy of the request, and with the kernel's words.

    Raises:
        OSError: it cannot be opened.
    """
    opened = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
    )
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _ANSWER_TIMEOUT)
    opened.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
    opened.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
    # A dump of routes is then filtered where they are (fib_frontend.c:inet_dump_fib).
    with contextlib.suppress(OSError):
        opened.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
    # Who may not ask for a larger buffer may not change anything either.
    with contextlib.suppress(PermissionError):
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    opened.bind((0, 0))
    return opened
