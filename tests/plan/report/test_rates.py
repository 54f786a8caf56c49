"""Rates of Services from those of virtual servers."""

import pytest

from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.rate_kind import RateKind
from ipvsctl.model.rates import EndpointRates, Rates, RealServerRates
from ipvsctl.model.status import (
    NodeStatus,
    RealServerStatus,
    ServiceStatus,
    Standing,
    Summary,
    VirtualServerStatus,
)
from ipvsctl.plan.report.rates import Busy, busiest, owners_of, service_rates, spread


def key(address: str, port: int = 80) -> VirtualServerKey:
    """A virtual server of TCP."""
    return VirtualServerKey(
        family=IPFamily.IPV4,
        protocol=Protocol.TCP,
        address=parse_address(address),
        port=port,
    )


CLUSTER, NODE, OTHER = key("10.96.0.10"), key("10.0.0.10", 30080), key("10.96.0.20")
OWNERS = {CLUSTER: "shop/web:http", NODE: "shop/web:http"}
A, B = (RealServerKey(parse_address(f"10.244.0.{n}"), 8080) for n in (1, 2))
ONE = Rates(connections=1, packets_in=2, packets_out=3, bytes_in=4, bytes_out=5)


def test_ways_in_of_a_service_are_one() -> None:
    """What nobody owns has its own name; ties are in the order of names."""
    found = {CLUSTER: ONE, NODE: ONE, OTHER: Rates(packets_out=90, bytes_in=99)}
    web, other = busiest(found, OWNERS, RateKind.CONNECTIONS)
    assert (web.name, web.rates, set(web.keys)) == (
        "shop/web:http",
        Rates(connections=2, packets_in=4, packets_out=6, bytes_in=8, bytes_out=10),
        {CLUSTER, NODE},
    )
    assert (other.name, other.rates.packets, other.rates.bytes) == (str(OTHER), 90, 99)
    for by in (RateKind.PACKETS, RateKind.BYTES):
        assert [one.name for one in busiest(found, OWNERS, by)] == [
            other.name,
            web.name,
        ]
    idle = busiest(dict.fromkeys(found, Rates()), OWNERS, RateKind.BYTES)
    assert [one.name for one in idle] == ["shop/web:http", str(OTHER)]


def test_endpoints_are_counted_over_all_ways_in() -> None:
    """The busiest first; active ones are added up as well, and weights are not."""

    def real(connections: int, active: int = 0, weight: int = 1) -> RealServerRates:
        return RealServerRates(
            weight=weight, active=active, rates=Rates(connections=connections)
        )

    found = {
        CLUSTER: {A: real(2, 1), B: real(9, 2)},
        NODE: {A: real(1, 3, weight=0)},
        OTHER: {A: real(1000)},
    }
    web = Busy("shop/web:http", (CLUSTER, NODE), Rates(connections=12))
    rates = service_rates(web, found, RateKind.CONNECTIONS)
    assert (rates.name, rates.rates.connections) == ("shop/web:http", 12)
    assert [
        (e.address, e.rates.connections, e.active, e.weight) for e in rates.endpoints
    ] == [("10.244.0.2", 9, 2, 1), ("10.244.0.1", 3, 4, 1)]
    assert spread(rates.endpoints, RateKind.CONNECTIONS) == 1.5
    gone = service_rates(web, {}, RateKind.CONNECTIONS)
    assert gone.endpoints == ()


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ([(10, 1), (10, 1)], 1.0),
        ([(20, 2), (10, 1)], 1.0),
        ([(30, 1), (0, 1), (0, 1)], 3.0),
        # One that drains has what it had.
        ([(10, 1), (10, 1), (30, 0)], 1.0),
        ([(10, 1)], None),
        ([(0, 1), (0, 1)], None),
    ],
)
def test_spread(endpoints: list[tuple[int, int]], expected: float | None) -> None:
    """The busiest one's part of a fair share."""
    made = [
        EndpointRates(
            address=str(A.address),
            port=1,
            weight=weight,
            active=0,
            rates=Rates(connections=rate),
        )
        for rate, weight in endpoints
    ]
    assert spread(made, RateKind.CONNECTIONS) == expected


def test_owners() -> None:
    """By the keys that the kernel has; a fwmark is of its real servers' family."""
    servers = (
        VirtualServerStatus(
            service_port="http",
            protocol="tcp",
            address="fd00:10:96::10",
            port=80,
            scheduler="rr",
            standing=Standing.OK,
        ),
        *(
            VirtualServerStatus(
                service_port="http",
                protocol="",
                address="",
                port=0,
                fwmark=mark,
                scheduler="rr",
                standing=Standing.OK,
                real_servers=reals,
            )
            for mark, reals in (
                (
                    7,
                    (
                        RealServerStatus(
                            address="fd00:10:244::1",
                            port=1,
                            weight=1,
                            standing=Standing.OK,
                        ),
                    ),
                ),
                (8, ()),
            )
        ),
    )
    status = NodeStatus(
        summary=Summary(version="1", node="n", scheduler="rr", compatibility=""),
        services=(
            ServiceStatus(
                namespace="shop", name="web", type="", virtual_servers=servers
            ),
        ),
    )
    assert owners_of(status) == {
        VirtualServerKey(
            family=IPFamily.IPV6,
            protocol=Protocol.TCP,
            address=parse_address("fd00:10:96::10"),
            port=80,
        ): "shop/web:http",
        VirtualServerKey(family=IPFamily.IPV6, fwmark=7): "shop/web:http",
    }
