"""How busy each Service is, and how even its endpoints."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.net import Protocol, family_of, parse_address
from ipvsctl.model.rate_kind import RateKind
from ipvsctl.model.rates import (
    EndpointRates,
    Rates,
    RealServers,
    ServiceRates,
    VirtualServerRates,
)
from ipvsctl.model.status import NodeStatus, VirtualServerStatus

Owners = Mapping[VirtualServerKey, str]
"""Virtual server -> the Service's port, `shop/web:http`."""


def owners_of(status: NodeStatus) -> dict[VirtualServerKey, str]:
    """Whose each virtual server is."""
    owners: dict[VirtualServerKey, str] = {}
    for service in status.services:
        for server in service.virtual_servers:
            port = f":{server.service_port}" if server.service_port else ""
            for key in _keys(server):
                owners[key] = f"{service.namespace}/{service.name}{port}"
    return owners


def _keys(server: VirtualServerStatus) -> Iterable[VirtualServerKey]:
    """Its key; one of a fwmark has the family of its real servers."""
    if server.fwmark:
        addresses = (parse_address(real.address) for real in server.real_servers[:1])
        return [
            VirtualServerKey(family=family_of(address), fwmark=server.fwmark)
            for address in addresses
        ]
    address = parse_address(server.address)
    return [
        VirtualServerKey(
            family=family_of(address),
            protocol=Protocol[server.protocol.upper()],
            address=address,
            port=server.port,
        )
    ]


class Busy(NamedTuple):
    """A Service's port.

    Attributes:
        keys: of its virtual servers.
    """

    name: str
    keys: tuple[VirtualServerKey, ...]
    rates: Rates


def busiest(found: VirtualServerRates, owners: Owners, by: RateKind) -> list[Busy]:
    """All that there are, those with most first.

    Args:
        found: rates.
        owners: names; what nobody owns has its own.
        by: what they are compared by, then by their names.
    """
    keys: defaultdict[str, list[VirtualServerKey]] = defaultdict(list)
    sums: defaultdict[str, Rates] = defaultdict(Rates)
    for key, rates in found.items():
        name = owners.get(key) or str(key)
        keys[name].append(key)
        sums[name] += rates
    order = sorted(sums, key=lambda name: (-measure(sums[name], by), name))
    return [Busy(name, tuple(keys[name]), sums[name]) for name in order]


def service_rates(one: Busy, real_servers: RealServers, by: RateKind) -> ServiceRates:
    """A Service's port with its endpoints.

    Args:
        one: the Service's port.
        real_servers: at least its own.
        by: which endpoint is first.
    """
    rates: defaultdict[RealServerKey, Rates] = defaultdict(Rates)
    weights: defaultdict[RealServerKey, int] = defaultdict(int)
    active: defaultdict[RealServerKey, int] = defaultdict(int)
    for key in one.keys:
        for real, found in real_servers.get(key, {}).items():
            # Several virtual servers have it.
            rates[real] += found.rates
            weights[real] = max(weights[real], found.weight)
            active[real] += found.active
    endpoints = [
        EndpointRates(
            address=str(real.address),
            port=real.port,
            weight=weights[real],
            active=active[real],
            rates=summed,
        )
        for real, summed in rates.items()
    ]
    endpoints.sort(key=lambda e: (-measure(e.rates, by), e.address, e.port))
    return ServiceRates(name=one.name, rates=one.rates, endpoints=tuple(endpoints))


def spread(endpoints: Iterable[EndpointRates], by: RateKind) -> float | None:
    """What the busiest endpoint gets, in fair shares: 1 when all get what they should.

    A fair share is that of its weight. None if there is nothing to compare.
    """
    weighted = [(measure(one.rates, by), one.weight) for one in endpoints if one.weight]
    whole = sum(amount for amount, _ in weighted)
    if len(weighted) < 2 or not whole:  # one has all of it, always
        return None
    weights = sum(weight for _, weight in weighted)
    return max(amount / weight for amount, weight in weighted) * weights / whole


def measure(rates: Rates, by: RateKind) -> int:
    """The one that is asked for."""
    match by:
        case RateKind.CONNECTIONS:
            return rates.connections
        case RateKind.PACKETS:
            return rates.packets
        case RateKind.BYTES:
            return rates.bytes
