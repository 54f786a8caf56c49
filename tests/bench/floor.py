"""The kernel's own cost: the same messages, encoded beforehand, in the same batches."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from unittest.mock import patch

from ipvsctl.kernel.endpoint import Endpoint, open_endpoint
from ipvsctl.wire.netlink import MessageType, NetlinkProtocol, iter_messages
from tests.lab.netns import create, inside


class Sent(NamedTuple):
    """One `send`: which socket, what, and how many answers it has."""

    protocol: NetlinkProtocol
    data: bytes
    answers: int


@contextmanager
def recording() -> Iterator[list[Sent]]:
    """Sockets opened in the block note what they send."""
    sent: list[Sent] = []

    class Recorder:
        """An endpoint that keeps a copy of what is sent."""

        def __init__(self, protocol: NetlinkProtocol) -> None:
            self._protocol = protocol
            self._endpoint: Endpoint = open_endpoint(protocol)

        def send(self, data: bytes | bytearray) -> int:
            sent.append(Sent(self._protocol, bytes(data), _count(data)))
            return self._endpoint.send(data)

        def recv(self, size: int) -> bytes:
            return self._endpoint.recv(size)

        def close(self) -> None:
            self._endpoint.close()

    with patch("ipvsctl.kernel.netlink.open_endpoint", Recorder):
        yield sent


def replay(sent: list[Sent], vip_link: str) -> tuple[int, float]:
    """Send it all again in a fresh namespace; the messages and seconds it took.

    Args:
        sent: change requests, each with an ack.
        vip_link: the link that addresses are bound to; it gets the number that it had
            where they were recorded, as the first link of its namespace.
    """
    with create("floor") as netns, inside(netns):
        netns.add_dummy(vip_link)
        netns.link_up(vip_link)
        sockets = {p: open_endpoint(p) for p in {s.protocol for s in sent}}
        begun = time.perf_counter()
        for protocol, data, answers in sent:
            sock = sockets[protocol]
            sock.send(data)
            left = answers
            while left > 0:
                left -= _count_acks(sock.recv(65536))
        elapsed = time.perf_counter() - begun
        for sock in sockets.values():
            sock.close()
    return sum(s.answers for s in sent), elapsed


def _count(data: bytes | bytearray) -> int:
    return sum(1 for _ in iter_messages(bytes(data)))


def _count_acks(datagram: bytes) -> int:
    return sum(1 for kind, *_ in iter_messages(datagram) if kind == MessageType.ERROR)
