"""Hearing from the kernel what becomes of links, addresses and other things."""

import errno
import select
import socket
from typing import Final, Protocol

from ipvsctl.model.errors import KernelError
from ipvsctl.model.glance import Notice, NoticeKind
from ipvsctl.wire.netlink.messages import NetlinkProtocol
from ipvsctl.wire.route.notices import GROUPS, parse_notices

NOTICE_BYTES: Final = 64 * 1024

MOST_DATAGRAMS: Final = 64
"""In one reading: some milliseconds. A flood goes on in the next."""


class Notices(Protocol):
    """What the kernel tells by itself."""

    def fileno(self) -> int:
        """Is readable when there is something."""
        ...

    def read(self) -> list[Notice]:
        """What there is; never waits.

        Raises:
            KernelError: nothing will be told any more.
            WireError: the kernel's words could not be understood.
        """
        ...

    def close(self) -> None:
        """Hear no more."""
        ...


class LinkNotices:
    """See `Notices`; of the network namespace of whoever opens it.

    Raises:
        KernelError: the socket cannot be opened.
    """

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK,
                socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
                NetlinkProtocol.ROUTE,
            )
            self._socket.bind((0, GROUPS))
        except OSError as error:
            raise notice_error(error) from error

    def fileno(self) -> int:
        """See `Notices`."""
        return self._socket.fileno()

    def read(self) -> list[Notice]:
        """See `Notices`."""
        found: list[Notice] = []
        for _ in range(MOST_DATAGRAMS):
            try:
                found += parse_notices(self._socket.recv(NOTICE_BYTES))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise notice_error(error) from error
                found.append(Notice(kind=NoticeKind.LOST))
        return found

    def close(self) -> None:
        """See `Notices`."""
        self._socket.close()


class AllNotices:
    """Several as one; see `Notices`.

    Args:
        sources: they are closed with it.

    Raises:
        KernelError: they cannot be waited for together.
    """

    def __init__(self, *sources: Notices) -> None:
        self._sources = sources
        try:
            self._epoll = select.epoll()
            for source in sources:
                self._epoll.register(source.fileno(), select.EPOLLIN)
        except OSError as error:
            raise notice_error(error) from error

    def fileno(self) -> int:
        """See `Notices`."""
        return self._epoll.fileno()

    def read(self) -> list[Notice]:
        """See `Notices`."""
        return [notice for source in self._sources for notice in source.read()]

    def close(self) -> None:
        """See `Notices`."""
        self._epoll.close()
        for source in self._sources:
            source.close()


def notice_error(error: OSError) -> KernelError:
    """Why nothing can be heard."""
    return KernelError.of(error.errno or errno.EIO, "hear of changes")
