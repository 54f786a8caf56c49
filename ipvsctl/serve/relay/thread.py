"""The thread that relays: what happens at its sockets, and when time is up.

A thread of its own, with an epoll of its own, and not the daemon's event loop: a busy
relay would delay probes and syncs there by as much as it has to do. Every call that
moves bytes lets go of Python, so that the event loop has its turn between any two of
them; and the threads that compute have theirs, see `cli.interpreter`.
"""

import heapq
import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from select import EPOLLIN, epoll
from typing import Final

from ipvsctl.model.config import Listener
from ipvsctl.model.relay import Refusal, RelayFigures
from ipvsctl.plan.service.program import LocalhostPort
from ipvsctl.serve.complaints import Complaints
from ipvsctl.serve.relay.connection import CHUNK_BYTES, Connection, Tally, refuse
from ipvsctl.serve.relay.served import Served

_EVENTS: Final = 256
"""What is told in one round."""

_ACCEPTED_AT_ONCE: Final = 64
_ACCEPT_PAUSE_S: Final = 0.5
"""How long to leave clients waiting when no descriptor is free."""

CONNECT_S: Final = 2.0
"""How long an endpoint may take to take a connection: two SYNs are lost then."""

TRIES: Final = 4
"""Endpoints that are tried for one connection."""

Told = Callable[[int], None]


class RelayThread:
    """Relays the connections of listeners; started when it is made.

    All but the figures are for its own thread; others have `do`.

    Args:
        most: connections at once, of all Services.
        most_of_one: of one listener.
        clock: seconds, never backwards.

    Raises:
        RuntimeError: there is no thread for it.
        OSError: there is no descriptor for it.
    """

    def __init__(
        self,
        most: int,
        most_of_one: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.buffer = memoryview(bytearray(CHUNK_BYTES))
        self.most = most
        self._most_of_one = most_of_one
        self._complaints = Complaints("node ports on localhost", clock)
        self._served: dict[Listener, Served] = {}
        self._told: dict[int, tuple[int, Told]] = {}
        self._closed: set[int] = set()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._to_do: deque[Callable[[], object]] = deque()
        self._is_over = False
        self._connections = 0
        self._relayed = 0
        self._refused: Counter[Refusal] = Counter()
        self.bytes_in = Tally()
        self.bytes_out = Tally()
        self._epoll = epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, EPOLLIN)
        self._told[self._wake] = EPOLLIN, self._woken
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    # In any thread.

    def do(self, something: Callable[[], object]) -> None:
        """Have the thread do something, after all it was told before."""
        self._to_do.append(something)
        if self._wake >= 0:
            with suppress(OSError):
                os.eventfd_write(self._wake, 1)

    def serve(
        self, listener: Listener, port: LocalhostPort, opened: socket.socket | None
    ) -> None:
        """Relay what comes at a listener to the endpoints of a port.

        Args:
            listener: has one port at a time; connections of another Service's end.
            port: whose endpoints.
            opened: where to accept from now on; None leaves that as it is.
        """
        self.do(lambda: self._serve(listener, port, opened))

    def shut(self, opened: socket.socket) -> None:
        """Accept no more at a socket, at once; its connections go on."""
        # What waits to be accepted is reset.
        with suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)
        if self.is_alive:
            self.do(lambda: self._shut(opened))
        else:
            opened.close()

    def forget(self, listener: Listener) -> None:
        """Reset the connections of a listener, which is no more."""
        self.do(lambda: self._forget(listener))

    def stop(self, limit_s: float) -> None:
        """Reset all connections, close everything, and end.

        Args:
            limit_s: how long to wait for that.
        """
        self.do(self._stop)
        self._thread.join(limit_s)
        if self._wake >= 0 and not self.is_alive:
            os.close(self._wake)
            self._wake = -1

    @property
    def is_alive(self) -> bool:
        """Whether it relays; it ends when it is stopped, or by a fault of its own."""
        return self._thread.is_alive()

    def find(self, listener: Listener) -> Served | None:
        """What is served at a listener."""
        return self._served.get(listener)

    def figures(self) -> RelayFigures:
        """How much has been relayed; numbers of about one moment."""
        return RelayFigures(
            connections=self._connections,
            relayed=self._relayed,
            refused=dict(self._refused),
            bytes_in=self.bytes_in.count,
            bytes_out=self.bytes_out.count,
        )

    # In its own thread.

    def watch(self, side: socket.socket, mask: int, told: Told) -> None:
        """See `Watch`."""
        number = side.fileno()
        known = self._told.get(number)
        if known is None:
            self._epoll.register(number, mask)
        elif known[0] != mask:
            self._epoll.modify(number, mask)
        else:
            return
        self._told[number] = mask, told

    def unwatch(self, side: socket.socket) -> None:
        """See `Watch`."""
        number = side.fileno()
        if self._told.pop(number, None) is not None:
            self._epoll.unregister(number)
            # Its number may be another's before the round is over.
            self._closed.add(number)

    def later(self, delay_s: float, something: Callable[[], None]) -> None:
        """Do something after some seconds."""
        at_s = self.clock() + delay_s
        heapq.heappush(self._timers, (at_s, next(self._numbers), something))

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - the next audit starts another one
            self._complaints.failed(error)
        finally:
            for listener in tuple(self._served):
                self._try(partial(self._forget, listener))
            self._epoll.close()

    def _work(self) -> None:
        while not self._is_over:
            timeout_s = -1.0
            if self._timers:
                timeout_s = max(0.0, self._timers[0][0] - self.clock())
            self._closed.clear()
            for number, events in self._epoll.poll(timeout_s, _EVENTS):
                self._tell(number, events)
            while self._to_do:
                self._try(self._to_do.popleft())
            while self._timers and self._timers[0][0] <= self.clock():
                self._try(heapq.heappop(self._timers)[2])

    def _tell(self, number: int, events: int) -> None:
        known = self._told.get(number)
        if known is None or number in self._closed:
            return
        try:
            known[1](events)
        except Exception as error:  # noqa: BLE001 - see `_try`
            self._complaints.failed(error)
            # It would be told again at once.
            if self._told.pop(number, None) is not None:
                self._epoll.unregister(number)

    def _woken(self, _events: int) -> None:
        with suppress(OSError):
            os.eventfd_read(self._wake)

    def _try(self, something: Callable[[], object]) -> None:
        """One connection that goes wrong is not to end all others."""
        try:
            something()
        except Exception as error:  # noqa: BLE001 - of whatever kind
            self._complaints.failed(error)

    def _serve(
        self, listener: Listener, port: LocalhostPort, opened: socket.socket | None
    ) -> None:
        served = self._served.get(listener)
        if served is not None and not served.is_of(port):
            served.end()
            served = None
        if served is None:
            served = self._served[listener] = Served(self, port)
        else:
            served.aim(port)
        if opened is not None:
            self._accept_at(listener, opened)

    def _shut(self, opened: socket.socket) -> None:
        self.unwatch(opened)
        opened.close()

    def _forget(self, listener: Listener) -> None:
        served = self._served.pop(listener, None)
        if served is not None:
            served.end()

    def _stop(self) -> None:
        self._is_over = True

    def _accept_at(self, listener: Listener, opened: socket.socket) -> None:
        if opened.fileno() >= 0:
            self.watch(opened, EPOLLIN, lambda _events: self._accept(listener, opened))

    def _accept(self, listener: Listener, opened: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, _ = opened.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                # It was reset before it was accepted.
                continue
            except OSError:
                # It is shut, and about to be closed, or there is no descriptor.
                self.unwatch(opened)
                self.later(_ACCEPT_PAUSE_S, lambda: self._accept_at(listener, opened))
                return
            self._admit(listener, client)

    def _admit(self, listener: Listener, client: socket.socket) -> None:
        served = self._served.get(listener)
        if (
            served is None
            or self._connections >= self.most
            or len(served.connections) >= self._most_of_one
        ):
            self._note(Refusal.LIMIT)
            refuse(client)
            return
        try:
            client.settimeout(0)
            connection = Connection(
                client,
                self,
                connected=self._connected,
                failed=lambda one: self._choose(served, one),
                ended=lambda one: self._ended(served, one),
            )
        except OSError:
            self.unwatch(client)
            client.close()
            return
        self._connections += 1
        served.add(connection)
        self._choose(served, connection)

    def _choose(self, served: Served, connection: Connection) -> None:
        """Try the next endpoint, or refuse the client."""
        served.left(connection)
        is_tired = len(connection.tried) >= TRIES
        found = Refusal.UNREACHABLE if is_tired else served.choose(connection)
        if isinstance(found, Refusal):
            self._note(found)
            connection.reset()
            return
        served.took(found)
        attempt = len(connection.tried)
        self.later(CONNECT_S, lambda: _give_up(connection, attempt))
        connection.connect(found)

    def _connected(self, _connection: Connection) -> None:
        self._relayed += 1

    def _ended(self, served: Served, connection: Connection) -> None:
        self._connections -= 1
        served.remove(connection)

    def _note(self, why: Refusal) -> None:
        self._refused[why] += 1
        self._complaints.note(why.value)


def _give_up(connection: Connection, attempt: int) -> None:
    is_this = attempt == len(connection.tried)
    if is_this and not (connection.is_relayed or connection.is_closed):
        connection.give_up()
