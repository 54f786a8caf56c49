"""What is served at one listener: its connections, and the endpoints they have."""

from collections.abc import Callable
from typing import Protocol

from ipvsctl.model.ipvs import RealServerKey
from ipvsctl.model.relay import Refusal
from ipvsctl.plan.service.program import LocalhostPort
from ipvsctl.serve.relay.balance import Balance
from ipvsctl.serve.relay.connection import Connection


class Timers(Protocol):
    """Who knows the time."""

    def clock(self) -> float:
        """Seconds, never backwards."""
        ...

    def later(self, delay_s: float, something: Callable[[], None]) -> None:
        """Do something after some seconds."""
        ...


class Served:
    """The connections of one Service port in one family.

    Attributes:
        counts: connections to each endpoint that has any; a dict that others may copy.
    """

    def __init__(self, timers: Timers, port: LocalhostPort) -> None:
        self._timers = timers
        self._port = port
        self._balance = Balance(port)
        self._leaving: dict[RealServerKey, float] = {}
        """Endpoint that has gone -> since when."""
        self._check_at_s = float("inf")
        self.connections: set[Connection] = set()
        self.counts: dict[RealServerKey, int] = {}

    def is_of(self, port: LocalhostPort) -> bool:
        """Whether these are connections of the same port of the same Service."""
        return self._port.port_name == port.port_name

    def aim(self, port: LocalhostPort) -> None:
        """Have these endpoints.

        Connections to others go on until they end, at the latest as long as virtual
        servers of the Service drain.
        """
        self._port = port
        self._balance.aim(port)
        now_s = self._timers.clock()
        self._leaving = {
            key: self._leaving.get(key, now_s)
            for key in self.counts
            if key not in port.real_servers
        }
        self._end_drains()

    def choose(self, connection: Connection) -> RealServerKey | Refusal:
        """The endpoint that a connection is to try next, or why there is none."""
        now_s = self._timers.clock()
        return self._balance.choose(now_s, self.counts, connection.tried)

    def add(self, connection: Connection) -> None:
        """A client has come."""
        self.connections.add(connection)

    def took(self, endpoint: RealServerKey) -> None:
        """An endpoint has one connection more."""
        self.counts[endpoint] = self.counts.get(endpoint, 0) + 1

    def left(self, connection: Connection) -> None:
        """An endpoint has lost one, or has not taken it."""
        endpoint, connection.endpoint = connection.endpoint, None
        if endpoint is None:
            return
        left = self.counts[endpoint] - 1
        if left:
            self.counts[endpoint] = left
        else:
            del self.counts[endpoint]

    def remove(self, connection: Connection) -> None:
        """A client has gone."""
        self.left(connection)
        self.connections.discard(connection)

    def end(self) -> None:
        """Reset all of them."""
        self._leaving = {}
        for connection in tuple(self.connections):
            connection.reset()

    def _end_drains(self) -> None:
        now_s = self._timers.clock()
        over = {
            key
            for key, since_s in self._leaving.items()
            if now_s >= since_s + self._port.drain_timeout_s
        }
        for connection in tuple(self.connections) if over else ():
            if connection.endpoint in over:
                connection.reset()
        self._leaving = {
            key: since_s for key, since_s in self._leaving.items() if key in self.counts
        }
        if not self._leaving:
            return
        next_s = min(self._leaving.values()) + self._port.drain_timeout_s
        if next_s < self._check_at_s:
            self._check_at_s = next_s
            self._timers.later(next_s - now_s, lambda: self._check(next_s))

    def _check(self, at_s: float) -> None:
        if at_s == self._check_at_s:
            self._check_at_s = float("inf")
            self._end_drains()
