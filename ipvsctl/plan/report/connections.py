"""Connections by name: who still talks to the endpoint that drains."""

from collections.abc import Iterable, Iterator
from typing import Final

from ipvsctl.model.connections import ConnectionCount, NamedConnection
from ipvsctl.model.count_by import By
from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.neighbours import Connection
from ipvsctl.model.net import Protocol, parse_address
from ipvsctl.model.status import NodeStatus, Standing, VirtualServerStatus
from ipvsctl.model.target import AddressTarget, NamedTarget, Target

MOST_GROUPS: Final = 50_000
"""Endpoints or clients that are told apart; what comes after them is counted as one,
so that a table of millions of clients takes no more memory."""


class Names:
    """The Services of a node, to find those of its connections in.

    Args:
        status: of the node.
    """

    def __init__(self, status: NodeStatus) -> None:
        self._services: dict[tuple[Protocol, str, int], str] = {}
        self._draining: set[tuple[Protocol, str, int, RealServerKey]] = set()
        for service in status.services:
            for server in service.virtual_servers:
                port = f":{server.service_port}" if server.service_port else ""
                self._add(server, f"{service.namespace}/{service.name}{port}")
        for server in status.unclaimed:
            self._add(server, "")

    def _add(self, server: VirtualServerStatus, name: str) -> None:
        # Those of a fwmark are told by the address that the client has asked.
        if server.fwmark:
            return
        place = (Protocol[server.protocol.upper()], server.address, server.port)
        self._services[place] = name
        for real in server.real_servers:
            if real.standing is Standing.DRAINING:
                key = RealServerKey(parse_address(real.address), real.port)
                self._draining.add((*place, key))

    def of(self, connection: Connection) -> NamedConnection:
        """A connection with its Service."""
        place = _place(connection.virtual_server)
        return NamedConnection(
            connection=connection,
            service=self._services.get(place, ""),
            is_draining=(*place, connection.real_server) in self._draining,
        )


def chosen(
    found: Iterable[NamedConnection], target: Target | None, *, draining: bool
) -> Iterator[NamedConnection]:
    """Those that somebody asks about.

    Args:
        found: all of them.
        target: a Service, or the address of a VIP, a client or an endpoint; None is
            all.
        draining: only those of endpoints that drain.
    """
    for one in found:
        if draining and not one.is_draining:
            continue
        if target is None or _is_meant(one, target):
            yield one


def count(found: Iterable[NamedConnection], by: By) -> list[ConnectionCount]:
    """How many there are of each, the most first."""
    groups: dict[tuple[str, str, bool], dict[str, int]] = {}
    rest: dict[str, int] = {}
    for one in found:
        row = one.connection
        key = (str(row.client.address), "", False)
        if by is By.ENDPOINT:
            key = (str(row.real_server), one.service, one.is_draining)
        states = groups.get(key)
        if states is None:
            states = rest if len(groups) >= MOST_GROUPS else groups.setdefault(key, {})
        states[row.state] = states.get(row.state, 0) + 1
    counts = [
        ConnectionCount(name=name, service=service, is_draining=drains, states=states)
        for (name, service, drains), states in groups.items()
    ]
    counts.sort(key=lambda one: (-one.count, one.service, one.name))
    return [*counts, *([ConnectionCount(name="", states=rest)] if rest else [])]


def _is_meant(one: NamedConnection, target: Target) -> bool:
    if isinstance(target, NamedTarget):
        service, _, port = one.service.partition(":")
        name = f"{target.namespace}/{target.name}"
        if not target.namespace:
            service, name = service.rpartition("/")[2], target.name
        return service == name and target.port in {"", port}
    row = one.connection
    return (
        _has(target, row.client)
        or _has(target, row.real_server)
        or (
            row.virtual_server.address == target.address
            and target.port in {0, row.virtual_server.port}
        )
    )


def _has(target: AddressTarget, key: RealServerKey) -> bool:
    return key.address == target.address and target.port in {0, key.port}


def _place(key: VirtualServerKey) -> tuple[Protocol, str, int]:
    if key.protocol is None:
        raise TypeError(key)
    return key.protocol, str(key.address), key.port
