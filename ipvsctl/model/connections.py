"""Connections by the names of Services, and how many there are of what."""

import msgspec

from ipvsctl.model.neighbours import Connection


class NamedConnection(msgspec.Struct, frozen=True, kw_only=True):
    """A connection, and whose it is.

    Attributes:
        service: the Service's port, `shop/web:http`; "" if nobody knows.
        is_draining: its real server drains.
    """

    connection: Connection
    service: str = ""
    is_draining: bool = False


class ConnectionCount(msgspec.Struct, frozen=True, kw_only=True):
    """Connections of one endpoint of a Service's port, or of one client.

    Attributes:
        name: the endpoint, or the client's address; "" for all others.
        service: of an endpoint.
        states: the kernel's word -> how many.
    """

    name: str
    service: str = ""
    is_draining: bool = False
    states: dict[str, int]

    @property
    def count(self) -> int:
        """How many connections."""
        return sum(self.states.values())
