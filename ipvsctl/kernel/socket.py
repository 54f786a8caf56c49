"""Netlink sockets: opening them, and having another one when one has failed."""

import contextlib
import errno
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol

from ipvsctl.model.errors import KernelError
from ipvsctl.wire.netlink.messages import NetlinkProtocol

_RECEIVE_BUFFER_BYTES: Final = 4 << 20
_ANSWER_TIMEOUT: Final = struct.pack("@ll", 10, 0)
"""A `struct timeval`, seconds: answers are there at once, or lost."""

# uapi/linux/netlink.h and asm-generic/socket.h; Python has no names for these.
_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_NETLINK_GET_STRICT_CHK: Final = 12
_SO_SNDBUFFORCE: Final = 32
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


def open_socket(protocol: NetlinkProtocol, *, send_bytes: int = 0) -> socket.socket:
    """A socket of this protocol in the caller's network namespace.

    Refusals come without a copy of the request, and with the kernel's words.

    Args:
        protocol: of AF_NETLINK.
        send_bytes: the largest datagram that is to be sent; 0 leaves the default.

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
        if send_bytes:
            opened.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, send_bytes)
    opened.bind((0, 0))
    return opened


class AnswersLostError(Exception):
    """The receive buffer was too small for the kernel's answers (ENOBUFS)."""


class Endpoint:
    """A socket, and another one in its place when it fails.

    At once where nothing was sent yet, else for the next datagram.

    Args:
        opened: the first one; it is closed with this.
        name: for errors.
        reopen: opens another one, or raises OSError; None if there is no other.
    """

    def __init__(
        self, opened: RawSocket, name: str, reopen: Callable[[], RawSocket] | None
    ) -> None:
        self._socket: RawSocket | None = opened
        self._name = name
        self._reopen = reopen

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            # Somebody may have closed it before.
            with contextlib.suppress(OSError):
                self._socket.close()

    def send(self, data: bytes | bytearray) -> None:
        """Send one datagram.

        Raises:
            KernelError: it was not sent.
        """
        try:
            self._opened().send(data)
        except OSError as error:
            self._lose(error)
            if error.errno not in CLOSED or self._reopen is None:
                raise socket_error(error, self._name) from error
            self._send_again(data)

    def receive(self, size: int) -> bytes:
        """Receive one datagram.

        Raises:
            AnswersLostError: there was one, and it is lost.
            KernelError: there is none, or it cannot be had.
        """
        try:
            return self._opened().recv(size)
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise AnswersLostError from error
            self._lose(error)
            raise socket_error(error, self._name) from error

    def _send_again(self, data: bytes | bytearray) -> None:
        try:
            self._opened().send(data)
        except OSError as error:
            self._lose(error)
            raise socket_error(error, self._name) from error

    def _opened(self) -> RawSocket:
        if self._socket is None and self._reopen is not None:
            self._socket = self._reopen()
        if self._socket is None:
            raise OSError(errno.EBADF, "closed")
        return self._socket

    def _lose(self, error: OSError) -> None:
        """Have another socket the next time: nobody knows what this one still says."""
        if self._reopen is None:
            return
        lost, self._socket = self._socket, None
        if lost is not None:
            let_go(lost, error)


def let_go(lost: "RawSocket | socket.socket", error: OSError) -> None:
    """Close a socket that has failed like that, if it is still ours."""
    if error.errno in CLOSED:
        # By now its number may be another's.
        lost.detach()
    else:
        lost.close()


def socket_error(error: OSError, name: str) -> KernelError:
    """What has become of a socket; no answer in time is a timeout."""
    code = errno.ETIMEDOUT if error.errno == errno.EAGAIN else error.errno
    return KernelError.of(code or errno.EIO, name)
