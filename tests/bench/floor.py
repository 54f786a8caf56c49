"""The kernel's own cost: the same messages, encoded beforehand, in the same batches."""

import contextlib
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Interface
from typing import NamedTuple
from unittest.mock import patch

from ipvsctl.kernel.ipvs_options import IpvsOptions
from ipvsctl.kernel.socket import RawSocket, open_socket
from ipvsctl.wire.netlink.messages import MessageType, NetlinkProtocol, iter_messages
from tests.bench.cluster import NODE_ADDRESS
from tests.lab.netns import Netns, create

_ENDS = frozenset({MessageType.ERROR, MessageType.DONE})

_DONE_BEGINS = struct.pack("=IH", 20, MessageType.DONE)
"""What a message that ends a dump begins with; its payload is an errno."""


class Sent(NamedTuple):
    """One `send`: which socket, what, and how many messages end its answers.

    Without a protocol it is a socket option of IPVS, with its number in place of that.
    """

    protocol: NetlinkProtocol | None
    data: bytes
    answers: int


@contextmanager
def recording() -> Iterator[list[Sent]]:
    """Sockets opened in the block note what they send, and options what they ask."""
    sent: list[Sent] = []
    fill = IpvsOptions._fill

    def ask(options: IpvsOptions, option: int, buffer: bytearray) -> None:
        sent.append(Sent(None, bytes(buffer), option))
        fill(options, option, buffer)

    class Recorder:
        """An endpoint that keeps a copy of what is sent."""

        def __init__(self, protocol: NetlinkProtocol) -> None:
            self._protocol = protocol
            self._endpoint: RawSocket = open_socket(protocol)

        def send(self, data: bytes | bytearray) -> int:
            sent.append(Sent(self._protocol, bytes(data), _count(data)))
            return self._endpoint.send(data)

        def recv(self, size: int) -> bytes:
            return self._endpoint.recv(size)

        def close(self) -> None:
            self._endpoint.close()

    with (
        patch("ipvsctl.kernel.netlink.open_socket", Recorder),
        patch.object(IpvsOptions, "_fill", ask),
    ):
        yield sent


@contextmanager
def node_netns(name: str) -> Iterator[Netns]:
    """A namespace with the node's address, where the next link gets the number 3."""
    with create(name) as netns:
        netns.add_dummy("uplink")
        netns.link_up("uplink")
        netns.add_address("uplink", IPv4Interface(f"{NODE_ADDRESS}/24"))
        yield netns


def replay(sent: Iterable[Sent]) -> float:
    """Send it all again in the caller's namespace, read all answers; the seconds."""
    sent = tuple(sent)
    protocols = {s.protocol for s in sent if s.protocol is not None}
    sockets = {p: open_socket(p) for p in protocols}
    options = IpvsOptions()
    begun = time.perf_counter()
    for protocol, data, answers in sent:
        if protocol is None:
            with contextlib.suppress(OSError):
                options._fill(answers, bytearray(data))
            continue
        sock = sockets[protocol]
        sock.send(data)
        left = answers
        while left > 0:
            left -= _count_ends(sock.recv(65536))
    elapsed = time.perf_counter() - begun
    options.close()
    for sock in sockets.values():
        sock.close()
    return elapsed


def messages(sent: Iterable[Sent]) -> int:
    """How many messages were sent."""
    return sum(item.answers for item in sent)


def _count(data: bytes | bytearray) -> int:
    return sum(1 for _ in iter_messages(bytes(data)))


def _count_ends(datagram: bytes) -> int:
    """Messages that end an answer; of a dump's, only the last message is looked at."""
    if int.from_bytes(datagram[4:6], sys.byteorder) not in _ENDS:
        if datagram[-20:-14] == _DONE_BEGINS:
            return 1
        if len(datagram) > 4096:
            return 0
    return sum(1 for kind, *_ in iter_messages(datagram) if kind in _ENDS)
