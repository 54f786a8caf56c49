"""Clients that never stop asking, and connections that stay open."""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Self

from ipvsctl.model.net import IPAddress, Protocol
from tests.lab.topology import Host
from tests.lab.traffic import Connection, connect

_LIMIT_S = 180.0
_PORTS_OF_HELD = 1100
_PORTS_OF_LOAD = 11000
"""Above those that pods listen on: a pod is a client, too."""


@dataclass(frozen=True)
class Way:
    """One way into a Service."""

    name: str
    address: IPAddress
    port: int
    protocol: Protocol


class Load:
    """Asks by every way, from every client, one after the other, until the end.

    Attributes:
        asked: requests that were answered.
        failures: what went wrong, by client, way and error.
    """

    def __init__(self, clients: Mapping[str, Host], ways: Iterable[Way]) -> None:
        self._clients = clients
        self._ways = tuple(ways)
        self._stopping = threading.Event()
        self._round = threading.Condition()
        self._rounds = 0
        self._ports = count(_PORTS_OF_LOAD)
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.asked = 0
        self.failures: Counter[str] = Counter()

    def __enter__(self) -> Self:
        """Begin, and go once round."""
        self._thread.start()
        self.go_round()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def go_round(self) -> None:
        """Wait until every way was asked by every client from now on."""
        with self._round:
            wanted = self._rounds + 2
            assert self._round.wait_for(lambda: self._rounds >= wanted, _LIMIT_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            for way in self._ways:
                for name, client in self._clients.items():
                    self._ask(name, client, way)
            with self._round:
                self._rounds += 1
                self._round.notify_all()

    def _ask(self, name: str, client: Host, way: Way) -> None:
        try:
            with _connection(client, way, next(self._ports)) as connection:
                connection.ask()
        except OSError as error:
            self.failures[f"{name} {way.name}: {error!r}"] += 1
        else:
            self.asked += 1


class Held:
    """Connections that stay open to the end of the block, with the server each met."""

    def __init__(self) -> None:
        self._connections: dict[str, tuple[Connection, str]] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """None is open yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def open(self, clients: Mapping[str, Host], ways: Iterable[Way]) -> None:
        """Open one by every way from every client; UDP flows count as well."""
        ports = count(_PORTS_OF_HELD)
        for way in ways:
            for name, client in clients.items():
                connection = _connection(client, way, next(ports))
                self._open.enter_context(connection)
                server = connection.ask().server
                self._connections[f"{name} {way.name}"] = connection, server

    def broken(self) -> dict[str, str]:
        """What became of those that do not answer from the same server."""
        found = {}
        for name, (connection, server) in self._connections.items():
            try:
                answer = connection.ask().server
            except OSError as error:
                found[name] = repr(error)
            else:
                if answer != server:
                    found[name] = f"{server} became {answer}"
        return found


def _connection(client: Host, way: Way, port: int) -> Connection:
    """Connect from a port that this client has never used.

    The system may choose one port for two addresses, and IPVS cannot tell the answers
    to both apart when they come from one pod (ip_vs_conn.c:ip_vs_conn_out_get).
    """
    return connect(
        client.netns,
        way.address,
        way.port,
        protocol=way.protocol,
        source_port=port,
    )
