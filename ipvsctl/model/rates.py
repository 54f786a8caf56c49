"""How busy Services and their endpoints are, as IPVS estimates it.

The kernel looks at its counters every 2 s and gives each new rate a quarter of the
weight (ip_vs_est.c), so what is over fades in some ten seconds.
"""

from collections.abc import Mapping

import msgspec

from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey


class Rates(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Each in its unit a second."""

    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    @property
    def packets(self) -> int:
        """Both ways."""
        return self.packets_in + self.packets_out

    @property
    def bytes(self) -> int:
        """Both ways."""
        return self.bytes_in + self.bytes_out

    def __add__(self, other: "Rates") -> "Rates":
        return Rates(
            connections=self.connections + other.connections,
            packets_in=self.packets_in + other.packets_in,
            packets_out=self.packets_out + other.packets_out,
            bytes_in=self.bytes_in + other.bytes_in,
            bytes_out=self.bytes_out + other.bytes_out,
        )


class RealServerRates(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A real server's.

    Attributes:
        active: as in `RealServerStats`.
    """

    weight: int
    active: int = 0
    rates: Rates = Rates()


VirtualServerRates = Mapping[VirtualServerKey, Rates]
RealServers = Mapping[VirtualServerKey, Mapping[RealServerKey, RealServerRates]]


class EndpointRates(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """An endpoint of a Service's port, over all ways in.

    Attributes:
        weight: the greatest one that it has.
        active: connections.
    """

    address: str
    port: int
    weight: int
    active: int
    rates: Rates


class ServiceRates(msgspec.Struct, frozen=True, kw_only=True):
    """A Service's port, over all ways in.

    Attributes:
        name: `shop/web:http`; of a virtual server that nobody knows its own.
        endpoints: those that get most first.
    """

    name: str
    rates: Rates
    endpoints: tuple[EndpointRates, ...] = ()


class NodeRates(msgspec.Struct, frozen=True, kw_only=True):
    """The node's.

    Attributes:
        is_estimating: if not, all rates are 0.
        total: of all virtual servers.
        services: those with most first.
    """

    is_estimating: bool
    total: Rates
    services: tuple[ServiceRates, ...]
