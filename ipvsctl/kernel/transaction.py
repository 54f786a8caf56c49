"""Transactions of netfilter's netlink: many changes, all of them or none."""

import errno
from collections.abc import Sequence
from typing import Final, Self

from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.kernel.socket import (
    AnswersLostError,
    RawSocket,
    open_socket,
    socket_error,
)
from ipvsctl.wire.netlink.messages import (
    Ack,
    MessageType,
    NetlinkProtocol,
    asking_for_ack,
    decode_ack,
    iter_messages,
)
from ipvsctl.wire.nftables.requests import BEGIN, END

TRANSACTION_BYTES: Final = 128 * 1024
"""What goes into one transaction unless it must be one: the kernel is not held long,
and the default send buffer takes it."""

MOST_BYTES: Final = 64 << 20
"""What goes into one that must be one: a set that is filled anew."""

_DATAGRAM_BYTES: Final = 64 * 1024
_LOST: Final = Ack(errno.ENOBUFS, "the kernel's answer was lost")


class TransactionSocket(NetlinkSocket):
    """A netlink socket that has transactions."""

    @classmethod
    def connect(cls, ports: set[int]) -> Self:
        """A new socket of netfilter in the caller's network namespace.

        Args:
            ports: holds the number that the kernel knows it by, or that of the socket
                that has replaced it.

        Raises:
            KernelError: it cannot be opened.
        """

        def opened() -> RawSocket:
            found = open_socket(NetlinkProtocol.NETFILTER, send_bytes=MOST_BYTES)
            ports.clear()
            ports.add(found.getsockname()[0])
            return found

        name = "nftables socket"
        try:
            return cls(opened(), name, opened)
        except OSError as error:
            raise socket_error(error, name) from error

    def transact(self, messages: Sequence[bytes]) -> dict[int, Ack]:
        """Run change requests together.

        Only the last is answered when all is well: an answer takes as much of the
        receive buffer as the kernel's smallest piece of memory, and thousands of them
        would be lost.

        Returns:
            Nothing when all were run. Else why, by their place in `messages`, those
            that were refused were; no other was run either.

        Raises:
            KernelError: the socket is dead; they may or may not have run.
        """
        if not messages:
            return {}
        last = len(messages)
        batch = [BEGIN, *messages[:-1], asking_for_ack(messages[-1]), END]
        first = self._send(batch)
        refused: dict[int, Ack] = {}
        while True:
            try:
                datagram = self._endpoint.receive(_DATAGRAM_BYTES)
            except AnswersLostError:
                return dict.fromkeys(range(last), _LOST)
            for kind, flags, sequence, start, end in iter_messages(datagram):
                place = sequence - first
                if kind != MessageType.ERROR or not 0 <= place <= last:
                    continue
                ack = decode_ack(datagram, flags, start, end)
                if place == 0 and ack.errno:
                    # About all of them: not permitted, no memory, not committed.
                    return dict.fromkeys(range(last), ack)
                if ack.errno:
                    refused[place - 1] = ack
                if place == last:
                    return refused
