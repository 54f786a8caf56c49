"""Single packets through a node, one at a time, so that it can be said what each met.

For code that runs inside the lab.
"""

import itertools
import socket
import struct
from collections.abc import Callable
from ctypes import addressof, create_string_buffer
from typing import Final, NamedTuple

from ipvsctl.model.net import IPAddress, IPFamily, Protocol, family_of
from tests.lab.netns import Netns, inside

_WAIT_S: Final = 30.0
_ETHERTYPES: Final = {IPFamily.IPV4: 0x0800, IPFamily.IPV6: 0x86DD}
_NEXT_HEADER_OFFSETS: Final = {IPFamily.IPV4: 9, IPFamily.IPV6: 6}
_SO_ATTACH_FILTER: Final = 26
_PORTS: Final = itertools.count(32_000)


class Place(NamedTuple):
    """Where something is asked, or answered."""

    address: IPAddress
    tcp: int
    udp: int

    @property
    def family(self) -> IPFamily:
        """Of the address."""
        return family_of(self.address)


class Counts(NamedTuple):
    """What a count has grown by with each of three packets.

    Attributes:
        first: of a connection.
        later: from the client, once it was answered.
        answer: from the endpoint.
    """

    first: int
    later: int
    answer: int


def count_packets(
    read: Callable[[], int], client: Netns, asked: Place, pod: Netns, endpoint: Place
) -> Counts:
    """Send the packets, and read a count before and after each of them.

    The first is one of TCP that nobody answers. The others are of UDP, where it is the
    pod that says when it answers; for the rules of a node that have to do with all
    packets TCP and UDP are the same.

    Args:
        read: the count.
        client: who asks.
        asked: whom.
        pod: who is to answer.
        endpoint: there.
    """
    before = read()
    _send_first(client, asked, pod, endpoint)
    first = read() - before
    later, answer = _converse(read, client, asked, pod, endpoint)
    return Counts(first, later, answer)


def _send_first(client: Netns, asked: Place, pod: Netns, endpoint: Place) -> None:
    family = asked.family
    deaf = _socket(pod, family, socket.SOCK_STREAM)
    seeing = _seeing(pod, family)
    asking = _socket(client, family, socket.SOCK_STREAM)
    with deaf, seeing, asking:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        deaf.bind((str(endpoint.address), endpoint.tcp))
        # A program that lets nothing in: struct sock_fprog with "return 0".
        program = create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
        deaf.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("HL", 1, addressof(program)),
        )
        deaf.listen()
        _bind(asking, family)
        asking.setblocking(False)  # noqa: FBT003 - the name of what it sets
        asking.connect_ex((str(asked.address), asked.tcp))
        _wait_for_tcp(seeing, family)


def _converse(
    read: Callable[[], int], client: Netns, asked: Place, pod: Netns, endpoint: Place
) -> tuple[int, int]:
    """What the second question of UDP and an answer add to a count."""
    family = asked.family
    answering = _socket(pod, family, socket.SOCK_DGRAM)
    asking = _socket(client, family, socket.SOCK_DGRAM)
    with answering, asking:
        answering.bind((str(endpoint.address), endpoint.udp))
        _bind(asking, family)
        asking.connect((str(asked.address), asked.udp))
        asking.send(b"?")
        _, peer = answering.recvfrom(1)
        begun = read()
        answering.sendto(b"!", peer)
        asking.recv(1)
        answered = read()
        asking.send(b"?")
        answering.recv(1)
        return read() - answered, answered - begun


def _socket(netns: Netns, family: IPFamily, kind: socket.SocketKind) -> socket.socket:
    with inside(netns):
        made = socket.socket(family, kind)
    made.settimeout(_WAIT_S)
    return made


def _bind(asking: socket.socket, family: IPFamily) -> None:
    unspecified = "0.0.0.0" if family is IPFamily.IPV4 else "::"
    asking.bind((unspecified, next(_PORTS)))


def _seeing(pod: Netns, family: IPFamily) -> socket.socket:
    """A socket that gets a copy of all that comes to a pod."""
    ethertype = socket.htons(_ETHERTYPES[family])
    with inside(pod):
        seeing = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, ethertype)
    seeing.settimeout(_WAIT_S)
    return seeing


def _wait_for_tcp(seeing: socket.socket, family: IPFamily) -> None:
    while seeing.recv(64)[_NEXT_HEADER_OFFSETS[family]] != Protocol.TCP:
        pass
