"""Hearing from the kernel that somebody has changed our nftables tables."""

import ctypes
import errno
import socket
from collections.abc import Collection
from struct import Struct
from typing import Final

from ipvsctl.kernel.notices import MOST_DATAGRAMS, NOTICE_BYTES, notice_error
from ipvsctl.model.glance import Notice, NoticeKind
from ipvsctl.wire.netlink.messages import PORT_OFFSET, NetlinkProtocol
from ipvsctl.wire.nftables.attributes import NFNLGRP_NFTABLES
from ipvsctl.wire.nftables.notices import changed_tables

_SO_ATTACH_FILTER: Final = 26
_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1

# A program of classic BPF [uapi/linux/filter.h, bpf_common.h].
_LOAD_WORD: Final = 0x20
_JUMP_IF_EQUAL: Final = 0x15
_RETURN: Final = 0x06
_ALL: Final = 0xFFFFFFFF
_INSTRUCTION: Final = Struct("=HBBI")
_PROGRAM: Final = Struct("@HP")
_HOST32: Final = Struct("=I")


class NftNotices:
    """See `notices.Notices`.

    What we change ourselves is told to us, too; the kernel keeps it back, or a cold
    sync would be more than a socket holds.

    Args:
        ports: the numbers of our own sockets.

    Raises:
        KernelError: the socket cannot be opened.
    """

    def __init__(self, ports: Collection[int]) -> None:
        self._ports = ports
        self._known: frozenset[int] = frozenset()
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK,
                socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
                NetlinkProtocol.NETFILTER,
            )
            self._keep_back()
            self._socket.bind((0, 0))
            self._socket.setsockopt(
                _SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES
            )
        except OSError as error:
            raise notice_error(error) from error

    def fileno(self) -> int:
        """See `notices.Notices`."""
        return self._socket.fileno()

    def read(self) -> list[Notice]:
        """See `notices.Notices`."""
        found: set[str] = set()
        lost = []
        for _ in range(MOST_DATAGRAMS):
            try:
                datagram = self._socket.recv(NOTICE_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise notice_error(error) from error
                lost = [Notice(kind=NoticeKind.LOST)]
                continue
            found |= changed_tables(datagram, self._known)
        self._keep_back()
        names = sorted(found)
        return lost + [Notice(kind=NoticeKind.TABLE_CHANGED, table=n) for n in names]

    def close(self) -> None:
        """See `notices.Notices`."""
        self._socket.close()

    def _keep_back(self) -> None:
        """Have the kernel keep back what is told of our own sockets' changes.

        All messages of a datagram are of one transaction, so the first one's port
        tells whose it is (nf_tables_api.c:nft_commit_notify).
        """
        ports = frozenset(self._ports)
        if ports == self._known:
            return
        # Numbers are loaded in network order, and a port is in that of this machine.
        wanted = [int.from_bytes(_HOST32.pack(port), "big") for port in sorted(ports)]
        program = _INSTRUCTION.pack(_LOAD_WORD, 0, 0, PORT_OFFSET)
        for left, number in zip(reversed(range(len(wanted))), wanted, strict=True):
            program += _INSTRUCTION.pack(_JUMP_IF_EQUAL, left + 1, 0, number)
        program += _INSTRUCTION.pack(_RETURN, 0, 0, _ALL)
        program += _INSTRUCTION.pack(_RETURN, 0, 0, 0)
        code = ctypes.create_string_buffer(program, len(program))
        count = len(program) // _INSTRUCTION.size
        self._socket.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            _PROGRAM.pack(count, ctypes.addressof(code)),
        )
        self._known = ports
