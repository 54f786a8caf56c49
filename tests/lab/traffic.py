"""Servers that say who answered whom, and clients that ask them.

For code that runs inside the lab. Servers and clients share one process: their sockets
are what places them in namespaces.
"""

import itertools
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ipvsctl.model.net import IPAddress, Protocol, family_of, parse_address
from tests.lab.netns import Netns, inside

ANSWER_S = 30.0
"""Long enough for an answer that comes, whatever else the machine does; to see that
none comes takes less."""

_MAX_BYTES = 4096
# Up to tcpi_total_retrans (include/uapi/linux/tcp.h:struct tcp_info).
_TCP_INFO = struct.Struct("=100xI")
# Close sends RST (socket(7), SO_LINGER with a time of 0).
_NO_LINGERING = struct.pack("ii", 1, 0)
_TYPES = {
    Protocol.TCP: socket.SOCK_STREAM,
    Protocol.UDP: socket.SOCK_DGRAM,
    Protocol.SCTP: socket.SOCK_STREAM,
}

# Two connections of one client that share a port are one connection to IPVS, and the
# kernel picks ports at random: it would do so once in some thousand tests. Below the
# ephemeral range and the node ports, above those of the tests' servers.
_SOURCE_PORTS = itertools.cycle(range(12_000, 30_000))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says.

    Attributes:
        server: its name.
        source: the address the question seemed to come from, as the server saw it.
        source_port: likewise.
    """

    server: str
    source: IPAddress
    source_port: int


class Servers:
    """Any number of servers, served by one thread until the end of the block."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="servers", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._woken)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        os.write(self._wake_write, b"x")
        self._thread.join()
        for key in tuple(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def add(
        self,
        netns: Netns,
        address: IPAddress,
        port: int,
        *,
        protocol: Protocol = Protocol.TCP,
        name: str | None = None,
    ) -> None:
        """Open a server in a namespace.

        Every message to it is answered by one line with its name (that of the namespace
        by default) and the source of the message.
        """
        server = _socket(netns, address, protocol)
        try:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((str(address), port))
        except OSError:
            server.close()
            raise
        server.settimeout(0)
        label = name or netns.name
        if protocol is Protocol.UDP:
            self._watch(server, lambda: _answer_datagram(server, label))
        else:
            server.listen(128)
            self._watch(server, lambda: self._accept(server, label))

    def _watch(self, sock: socket.socket, act: Callable[[], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, act)
        # A selection under way does not notice registrations of other threads.
        os.write(self._wake_write, b"x")

    def _serve(self) -> None:
        while not self._stopping.is_set():
            for key, _ in self._selector.select():
                key.data()

    def _woken(self) -> None:
        os.read(self._wake_read, _MAX_BYTES)

    def _accept(self, server: socket.socket, label: str) -> None:
        connection, peer = server.accept()
        line = _line(label, peer)
        self._watch(connection, lambda: self._answer(connection, line))

    def _answer(self, connection: socket.socket, line: bytes) -> None:
        try:
            if connection.recv(_MAX_BYTES):
                connection.sendall(line)
                return
        except ConnectionError:
            pass
        self._selector.unregister(connection)
        connection.close()


class Connection:
    """A client's socket, connected, that may ask more than once.

    Its errors are the operating system's: ConnectionRefusedError when something on
    the way rejects, TimeoutError when the question or the answer is lost.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __enter__(self) -> Self:
        """The connection is closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sock.close()

    @property
    def source_port(self) -> int:
        """The client's own port."""
        return int(self._sock.getsockname()[1])

    def sent_again(self) -> int:
        """How many packets a TCP connection has sent more than once, SYN included."""
        info = self._sock.getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size
        )
        (total_retrans,) = _TCP_INFO.unpack(info)
        return int(total_retrans)

    def reset(self) -> None:
        """End a TCP connection at once: neither side waits for anything."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        self._sock.close()

    def send(self) -> None:
        """Send a message, and wait for nothing."""
        self._sock.sendall(b"who?")

    def ask(self) -> Answer:
        """Send a message and wait for the answer."""
        self.send()
        data = self._sock.recv(_MAX_BYTES)
        if not data:
            raise ConnectionResetError("closed by the server")
        server, source, source_port = data.decode().split()
        return Answer(server, parse_address(source), int(source_port))


def connect(
    netns: Netns,
    address: IPAddress,
    port: int,
    *,
    protocol: Protocol = Protocol.TCP,
    source: IPAddress | None = None,
    source_port: int = 0,
    timeout_s: float = ANSWER_S,
) -> Connection:
    """Open a connection from a namespace; for UDP only the socket is connected.

    Args:
        netns: where the client is.
        address: whom to ask.
        port: where.
        protocol: how.
        source: the client's address; the kernel's choice by default.
        source_port: the client's port; by default one no other connection had lately.
        timeout_s: for each step: connecting, and every question.

    Raises:
        OSError: see `Connection`.
    """
    sock = _socket(netns, address, protocol)
    sock.settimeout(timeout_s)
    try:
        unspecified = "0.0.0.0" if address.version == 4 else "::"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(source or unspecified), source_port or next(_SOURCE_PORTS)))
        sock.connect((str(address), port))
    except OSError:
        sock.close()
        raise
    return Connection(sock)


def ask(
    netns: Netns,
    address: IPAddress,
    port: int,
    *,
    protocol: Protocol = Protocol.TCP,
    source: IPAddress | None = None,
    timeout_s: float = ANSWER_S,
) -> Answer:
    """Ask one question on a new connection, as `connect` and `Connection.ask` do."""
    with connect(
        netns, address, port, protocol=protocol, source=source, timeout_s=timeout_s
    ) as connection:
        return connection.ask()


def _socket(netns: Netns, address: IPAddress, protocol: Protocol) -> socket.socket:
    with inside(netns):
        return socket.socket(family_of(address), _TYPES[protocol], protocol)


def _answer_datagram(server: socket.socket, label: str) -> None:
    _, peer = server.recvfrom(_MAX_BYTES)
    server.sendto(_line(label, peer), peer)


def _line(label: str, peer: tuple[str, int]) -> bytes:
    return f"{label} {peer[0]} {peer[1]}\n".encode()
