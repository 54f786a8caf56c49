"""What a packet costs by each way in: without a proxy, with kube-proxy's, with ours.

All of them are there at once, each in namespaces of its own, and take turns, so that
what else the machine does meets all alike. Both ends of a connection are in this one
thread: a guest has one CPU, and nobody waits for anybody's turn on it.
"""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, count, product
from statistics import median, quantiles
from typing import Final, NamedTuple

from tests.bench.packet_worlds import TCP_PORT, WAYS, Way, World, worlds
from tests.bench.sizes import Figures
from tests.lab.netns import inside
from tests.lab.single_packets import count_packets

SIZES: Final = (1, 1_000)
"""Numbers of Services."""

_TURNS: Final = 40
_WARMING: Final = 3
"""Connections that a turn begins with, and that are not counted: the others' turns have
filled the processor's caches, so that the first takes twice as long."""
_CONNECTIONS: Final = 30
_QUESTIONS: Final = 25
_SENDING_S: Final = 0.03
_CHUNK: Final = bytes(1 << 18)
_WAIT_S: Final = 30.0
# Close sends RST (socket(7), SO_LINGER with a time of 0): nothing stays of it.
_NO_LINGERING: Final = struct.pack("ii", 1, 0)
_FIRST_PORT: Final = 10_000


class Samples(NamedTuple):
    """What was measured by one way, turn by turn.

    Attributes:
        connect_s: until a new connection is there, each of a turn's.
        answer_s: until a question on an open connection is answered, a turn's mean.
        rates: bytes a second.
    """

    connect_s: list[list[float]]
    answer_s: list[float]
    rates: list[float]


class Ends(NamedTuple):
    """What connections of a world begin and end at.

    Attributes:
        listener: of the pod.
        ports: of clients; none comes twice, for IPVS and conntrack remember it a while.
    """

    listener: socket.socket
    ports: Iterator[int]


def measure() -> Figures:
    """Seconds, bytes a second and numbers of rules, by `name_of`."""
    with worlds(SIZES) as found:
        samples = {
            (at, name): Samples([], [], [])
            for at, world in enumerate(found)
            for name in world.ways
        }
        with ExitStack() as stack:
            ends = [stack.enter_context(_ends(world)) for world in found]
            for turn, name in product(range(_TURNS), WAYS):
                for place in range(len(found)):
                    # Nobody always comes first.
                    at = (turn + place) % len(found)
                    if name in found[at].ways:
                        way = found[at].ways[name]
                        _take_turn(way, ends[at], samples[at, name])
        figures: Figures = {}
        for at, world in enumerate(found):
            read = world.begin_count()
            for name, way in world.ways.items():
                begin = name_of(world.proxy, world.services, name)
                # The first world is the one without a proxy.
                figures |= _figures(begin, samples[at, name], samples[0, name])
                asked = (way.client, way.asked, way.pod, way.endpoint)
                counts = count_packets(read, *asked)._asdict()
                figures |= {f"{begin}, rules, {k}": n for k, n in counts.items()}
    return figures


def name_of(proxy: str, services: int, way: str) -> str:
    """What figures begin with."""
    return f"{proxy}, {services}, {way}"


def _figures(name: str, found: Samples, without: Samples) -> Figures:
    each = list(chain.from_iterable(found.connect_s))
    # The same turn was in the same noise.
    beside = [
        median(one) / median(other)
        for one, other in zip(found.connect_s, without.connect_s, strict=True)
    ]
    return {
        f"{name}, connect": median(each),
        f"{name}, beside none": median(beside),
        f"{name}, connect, p99": quantiles(each, n=100)[98],
        f"{name}, answer": median(found.answer_s),
        f"{name}, bytes/s": median(found.rates),
    }


@contextmanager
def _ends(world: World) -> Iterator[Ends]:
    pod = next(iter(world.ways.values())).pod
    with inside(pod), socket.create_server(("0.0.0.0", TCP_PORT)) as listener:
        listener.settimeout(_WAIT_S)
        yield Ends(listener, count(_FIRST_PORT))


def _take_turn(way: Way, ends: Ends, samples: Samples) -> None:
    with inside(way.client):
        each = [_connect(way, ends) for _ in range(_WARMING + _CONNECTIONS)]
        samples.connect_s.append(each[_WARMING:])
        with _client(ends) as client:
            client.connect((str(way.asked.address), way.asked.tcp))
            server, _peer = ends.listener.accept()
            with server:
                samples.answer_s.append(_ask(client, server))
                samples.rates.append(_send(client, server))


def _connect(way: Way, ends: Ends) -> float:
    """Seconds until a new connection is there."""
    with _client(ends) as client:
        begun = time.perf_counter()
        client.connect((str(way.asked.address), way.asked.tcp))
        passed = time.perf_counter() - begun
        server, _peer = ends.listener.accept()
        server.close()
    return passed


def _client(ends: Ends) -> socket.socket:
    client = socket.socket()
    client.settimeout(_WAIT_S)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.bind(("0.0.0.0", next(ends.ports)))
    return client


def _ask(client: socket.socket, server: socket.socket) -> float:
    """Seconds for a byte there and one back."""
    server.settimeout(_WAIT_S)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    begun = time.perf_counter()
    for _ in range(_QUESTIONS):
        client.send(b"?")
        server.recv(1)
        server.send(b"!")
        client.recv(1)
    return (time.perf_counter() - begun) / _QUESTIONS


def _send(client: socket.socket, server: socket.socket) -> float:
    """Bytes a second, from the client."""
    client.setblocking(False)  # noqa: FBT003 - the name of what it sets
    server.setblocking(False)  # noqa: FBT003 - likewise
    buffer = bytearray(1 << 20)
    passed = 0
    begun = time.perf_counter()
    end = begun + _SENDING_S
    while time.perf_counter() < end:
        with suppress(BlockingIOError):
            client.send(_CHUNK)
        with suppress(BlockingIOError):
            while received := server.recv_into(buffer):
                passed += received
    return passed / (time.perf_counter() - begun)
