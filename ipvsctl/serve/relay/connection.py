"""One connection that is relayed: from a client on localhost to an endpoint.

Nothing is kept between the two. What has come from one side is looked at, given to the
other as far as that takes it, and only then taken out of the kernel's buffer. So who
does not read stops who sends, over both connections, and ten thousand who do not read
cost no more memory than ten thousand who say nothing.
"""

import errno
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from typing import Final, Protocol

from ipvsctl.model.ipvs import RealServerKey
from ipvsctl.model.net import family_of

CHUNK_BYTES: Final = 256 * 1024
"""What is given on in one go."""

_IN_A_TURN: Final = 4
"""Chunks of one direction before other connections have their turn: some 0.3 ms."""

_TROUBLE: Final = EPOLLERR | EPOLLHUP

# A closed socket sends a reset. Whoever reads until the end would take the end of a
# process for the end of an answer.
_RESET: Final = struct.pack("ii", 1, 0)
_FINISH: Final = struct.pack("ii", 0, 0)

_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
"""An endpoint whose node has gone says nothing any more; two minutes tell."""


class Watch(Protocol):
    """Who tells a connection what happens at its sockets.

    Attributes:
        buffer: of `CHUNK_BYTES`, shared by all connections of a thread.
        bytes_in: counts what comes from clients.
        bytes_out: counts what goes to them.
    """

    buffer: memoryview
    bytes_in: "Tally"
    bytes_out: "Tally"

    def watch(
        self, side: socket.socket, mask: int, told: Callable[[int], None]
    ) -> None:
        """Have `told` called with what happens, of `mask`, and with trouble."""
        ...

    def unwatch(self, side: socket.socket) -> None:
        """Tell no more of a socket; fine if nothing is told of it."""
        ...


class Tally:
    """A count of bytes; to be read by any thread."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Way:
    """One of the two directions.

    Args:
        tally: counts what is passed on.

    Attributes:
        is_over: the end has been passed on, too.
        is_blocked: the taker has no room.
        is_shut: the source is closed in both directions; it may have more to say.
    """

    __slots__ = ("is_blocked", "is_over", "is_shut", "tally")

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.is_over = False
        self.is_blocked = False
        self.is_shut = False

    def pump(
        self, source: socket.socket, sink: socket.socket, buffer: memoryview
    ) -> None:
        """Pass on what has come.

        Raises:
            OSError: one of the two has been reset.
        """
        self.is_blocked = False
        for _ in range(_IN_A_TURN):
            try:
                count = source.recv_into(buffer, CHUNK_BYTES, socket.MSG_PEEK)
            except BlockingIOError:
                break
            if not count:
                sink.shutdown(socket.SHUT_WR)
                self.is_over = True
                break
            try:
                taken = sink.send(buffer[:count])
            except BlockingIOError:
                taken = 0
            self.tally.count += taken
            left = taken
            while left:
                # Frees them without copying (tcp.c:tcp_recvmsg_locked).
                left -= source.recv_into(buffer, left, socket.MSG_TRUNC)
            if taken < count:
                self.is_blocked = True
                break
            if count < CHUNK_BYTES:
                break


class Connection:
    """A client and the endpoint it has, or is to have.

    Attributes:
        endpoint: None before the first is tried.
        tried: endpoints that have not taken it.
        is_relayed: an endpoint has taken it.
        is_closed: nothing more comes of it.

    Args:
        client: accepted, in no blocking mode.
        watch: tells what happens.
        connected: is called when an endpoint has taken it.
        failed: is called when the endpoint has not taken it.
        ended: is called when it is over, in whatever way.
    """

    __slots__ = (
        "_client",
        "_connected",
        "_ended",
        "_failed",
        "_server",
        "_watch",
        "answers",
        "endpoint",
        "is_closed",
        "is_relayed",
        "requests",
        "tried",
    )

    def __init__(
        self,
        client: socket.socket,
        watch: Watch,
        *,
        connected: "Callable[[Connection], None]",
        failed: "Callable[[Connection], None]",
        ended: "Callable[[Connection], None]",
    ) -> None:
        self._client = client
        self._watch = watch
        self._connected = connected
        self._failed = failed
        self._ended = ended
        self._server: socket.socket | None = None
        self.requests = Way(watch.bytes_in)
        self.answers = Way(watch.bytes_out)
        self.endpoint: RealServerKey | None = None
        self.tried: tuple[RealServerKey, ...] = ()
        self.is_relayed = False
        self.is_closed = False
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # A client that gives up is trouble.
        watch.watch(client, 0, self._client_told)

    def connect(self, endpoint: RealServerKey) -> None:
        """Try an endpoint; `connected` or `failed` is called, at once or later."""
        self.endpoint = endpoint
        with suppress(OSError):
            self._server = server = _open(endpoint)
            error = server.connect_ex((str(endpoint.address), endpoint.port))
            if error in {0, errno.EINPROGRESS}:
                self._watch.watch(server, EPOLLOUT, self._server_told)
                return
        self.give_up()

    def give_up(self) -> None:
        """The endpoint has not taken it, and is not to be waited for any longer."""
        if self._server is not None:
            self._watch.unwatch(self._server)
            self._server.close()
            self._server = None
        if self.endpoint is not None:
            self.tried = (*self.tried, self.endpoint)
        self._failed(self)

    def reset(self) -> None:
        """End it for both, at once, so that they can tell it from an end of theirs."""
        self._close()

    def _close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        for side in (self._client, self._server):
            if side is not None:
                self._watch.unwatch(side)
                side.close()
        self._ended(self)

    def _finish(self) -> None:
        """Close it after both have said all they had to say."""
        for side in (self._client, self._server):
            if side is not None:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FINISH)
        self._close()

    def _client_told(self, events: int) -> None:
        server = self._server
        if server is None or not self.is_relayed:
            if events & _TROUBLE:
                self.reset()
            return
        self._told(events, self._client, server, self.requests, self.answers)

    def _server_told(self, events: int) -> None:
        server = self._server
        if server is None:
            return
        if not self.is_relayed:
            self._try_over(server)
            return
        self._told(events, server, self._client, self.answers, self.requests)

    def _try_over(self, server: socket.socket) -> None:
        if _error(server):
            self.give_up()
            return
        self.is_relayed = True
        self._connected(self)
        self._follow(server)

    def _told(
        self,
        events: int,
        side: socket.socket,
        other: socket.socket,
        said: Way,
        heard: Way,
    ) -> None:
        """Go on, after something has happened at one side.

        Args:
            events: at that side.
            side: where.
            other: the other one.
            said: the direction from that side.
            heard: the direction to it.
        """
        if events & _TROUBLE:
            if _error(side):
                self.reset()
                return
            said.is_shut = True
        try:
            if events & EPOLLOUT and heard.is_blocked:
                heard.pump(other, side, self._watch.buffer)
            if events & (EPOLLIN | _TROUBLE) and not (said.is_over or said.is_blocked):
                said.pump(side, other, self._watch.buffer)
        except OSError:
            self.reset()
            return
        if said.is_over and heard.is_over:
            self._finish()
        elif self._server is not None:
            self._follow(self._server)

    def _follow(self, server: socket.socket) -> None:
        """Wait for what each side is to do next."""
        requests, answers = self.requests, self.answers
        for side, said, heard, told in (
            (self._client, requests, answers, self._client_told),
            (server, answers, requests, self._server_told),
        ):
            mask = _mask(said, heard)
            if not mask and said.is_shut:
                # The kernel would tell all the time that it is shut.
                self._watch.unwatch(side)
                continue
            try:
                self._watch.watch(side, mask, told)
            except OSError:
                # Nobody would hear of it again.
                self.reset()
                return


def refuse(client: socket.socket) -> None:
    """Reset a client that was accepted."""
    with suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    client.close()


def _mask(said: Way, heard: Way) -> int:
    is_to_say = not (said.is_over or said.is_blocked)
    return (EPOLLIN if is_to_say else 0) | (EPOLLOUT if heard.is_blocked else 0)


def _open(endpoint: RealServerKey) -> socket.socket:
    made = socket.socket(family_of(endpoint.address), socket.SOCK_STREAM)
    try:
        made.settimeout(0)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        for option in _KEEPALIVE:
            made.setsockopt(*option)
    except OSError:
        made.close()
        raise
    return made


def _error(side: socket.socket) -> int:
    return side.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
