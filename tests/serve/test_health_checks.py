"""Health-check node ports, over real connections on loopback."""

import random
import socket
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import dataclass

import aiohttp
import pytest

from ipvsctl.model.net import IPAddress, family_of, parse_address
from ipvsctl.plan.union.health_checks import ServiceHealth, port_problem
from ipvsctl.serve.health_checks import HealthCheckServer
from tests.builders import ref

LOOPBACK: tuple[IPAddress, ...] = (parse_address("127.0.0.1"), parse_address("::1"))
WEB = ServiceHealth(ref("web"), 2)
BODY = """\
{
\t"service": {
\t\t"namespace": "default",
\t\t"name": "web"
\t},
\t"localEndpoints": 2,
\t"serviceProxyHealthy": true
}"""


@dataclass
class World:
    """A server, and how the proxy is."""

    server: HealthCheckServer
    is_healthy: bool = True


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A server of nothing; closed at the end."""
    made = World(HealthCheckServer(lambda: made.is_healthy))
    yield made
    await made.server.close()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A load balancer, which keeps its connections."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def port() -> int:
    """A port that nobody has at either loopback address."""
    return free_port()


# Below those that clients are given, so that no connection takes one in the meantime.
_PORTS = iter(random.sample(range(10_000, 32_000), 20_000))


def free_port() -> int:
    """One that nobody has, and no test had before; found by having it for a moment."""
    for number in _PORTS:
        with suppress(OSError), closing(listener(LOOPBACK[0], number)):
            return number
    raise AssertionError("no port is free")


def listener(address: IPAddress, port: int = 0) -> socket.socket:
    """A port that is in use."""
    opened = socket.socket(family_of(address), socket.SOCK_STREAM)
    opened.bind((str(address), port))
    opened.listen(1)
    return opened


def url(port: int, address: IPAddress = LOOPBACK[0], path: str = "/") -> str:
    """Where to ask."""
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"http://{host}:{port}{path}"


async def is_closed(client: aiohttp.ClientSession, port: int) -> bool:
    """Nobody listens."""
    try:
        async with client.get(url(port)):
            return False
    except aiohttp.ClientConnectionError:
        return True


@pytest.mark.parametrize("address", LOOPBACK, ids=str)
@pytest.mark.parametrize("path", ["/", "/healthz", "/a/b?c=d"])
async def test_it_answers_as_kube_proxy_does(
    world: World,
    client: aiohttp.ClientSession,
    port: int,
    address: IPAddress,
    path: str,
) -> None:
    """To the letter, at every address, whatever the path."""
    await world.server.replace({port: WEB}, LOOPBACK)
    async with client.get(url(port, address, path)) as answer:
        assert answer.status == 200
        assert await answer.text() == BODY
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Load-Balancing-Endpoint-Weight"] == "2"


async def test_head_has_the_headers_alone(
    world: World, client: aiohttp.ClientSession, port: int
) -> None:
    """Some load balancers ask for no more."""
    await world.server.replace({port: WEB}, LOOPBACK)
    async with client.head(url(port)) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Length"] == str(len(BODY))
        assert await answer.read() == b""


@pytest.mark.parametrize(
    ("count", "is_healthy", "status"),
    [(1, True, 200), (0, True, 503), (3, False, 503), (0, False, 503)],
)
async def test_when_traffic_may_come(
    world: World,
    client: aiohttp.ClientSession,
    port: int,
    count: int,
    is_healthy: bool,  # noqa: FBT001 - a column of the table
    status: int,
) -> None:
    """There is an endpoint on this node, and the proxy keeps up."""
    await world.server.replace({port: ServiceHealth(ref("web"), count)}, LOOPBACK)
    world.is_healthy = is_healthy
    async with client.get(url(port)) as answer:
        assert answer.status == status
        assert await answer.json() == {
            "service": {"namespace": "default", "name": "web"},
            "localEndpoints": count,
            "serviceProxyHealthy": is_healthy,
        }
        assert answer.headers["X-Load-Balancing-Endpoint-Weight"] == str(count)


async def test_another_answer_keeps_connections(world: World, port: int) -> None:
    """A load balancer that asks again on its connection hears the news there."""
    made = []
    trace = aiohttp.TraceConfig()

    async def count(*_: object) -> None:
        made.append(1)

    trace.on_connection_create_end.append(count)
    await world.server.replace({port: WEB}, LOOPBACK)
    async with aiohttp.ClientSession(trace_configs=[trace]) as client:
        for status in (200, 503):
            async with client.get(url(port)) as answer:
                assert answer.status == status
                await answer.read()
            await world.server.update({port: ServiceHealth(ref("web"), 0)})
    assert len(made) == 1


async def test_ports_come_and_go(world: World, client: aiohttp.ClientSession) -> None:
    """Each on its own; a port that is told to go twice is gone."""
    first, second = free_port(), free_port()
    await world.server.replace({first: WEB}, LOOPBACK)
    await world.server.update({second: WEB})
    assert not await is_closed(client, second)
    await world.server.update({first: None})
    await world.server.update({first: None})
    assert await is_closed(client, first)
    assert not await is_closed(client, second)
    await world.server.replace({first: WEB}, LOOPBACK)
    assert await is_closed(client, second)
    assert not await is_closed(client, first)
    await world.server.close()
    assert await is_closed(client, first)


async def test_addresses_come_and_go(
    world: World, client: aiohttp.ClientSession, port: int
) -> None:
    """A port stays open at the addresses that stay."""
    await world.server.replace({port: WEB}, LOOPBACK[:1])
    async with client.get(url(port)) as answer:
        await answer.read()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(url(port, LOOPBACK[1]))
    await world.server.replace({port: WEB}, LOOPBACK)
    async with client.get(url(port, LOOPBACK[1])) as answer:
        assert answer.status == 200
    await world.server.replace({port: WEB}, LOOPBACK[1:])
    async with client.get(url(port, LOOPBACK[1])) as answer:
        assert answer.status == 200
    async with aiohttp.ClientSession() as other:
        assert await is_closed(other, port)


async def test_a_port_in_use_is_a_problem_of_its_service_alone(
    world: World, client: aiohttp.ClientSession, port: int
) -> None:
    """It is tried again with the next replacement; the other ports answer."""
    other = free_port()
    with closing(listener(LOOPBACK[0], port)):
        await world.server.replace({port: WEB, other: WEB}, LOOPBACK)
        reason = f"cannot listen on 127.0.0.1:{port}: Address already in use"
        expected = (port_problem(WEB.service, port, reason),)
        assert world.server.problems() == expected
        await world.server.replace({port: WEB, other: WEB}, LOOPBACK)
        assert world.server.problems() == expected
        async with client.get(url(other)) as answer:
            assert answer.status == 200
        async with client.get(url(port, LOOPBACK[1])) as answer:
            assert answer.status == 200, "the other family's is free"
    await world.server.replace({port: WEB, other: WEB}, LOOPBACK)
    assert world.server.problems() == ()
    async with client.get(url(port)) as answer:
        assert answer.status == 200


async def test_a_refused_port_that_goes_is_no_problem(world: World, port: int) -> None:
    """The problem goes with it."""
    with closing(listener(LOOPBACK[0], port)):
        await world.server.replace({}, LOOPBACK)
        await world.server.update({port: WEB})
        assert len(world.server.problems()) == 1
        await world.server.update({port: None})
        assert world.server.problems() == ()


async def test_both_families_at_once(
    world: World, client: aiohttp.ClientSession, port: int
) -> None:
    """The two unspecified addresses do not get in each other's way."""
    everywhere = (parse_address("0.0.0.0"), parse_address("::"))
    await world.server.replace({port: WEB}, everywhere)
    assert world.server.problems() == ()
    for address in LOOPBACK:
        async with client.get(url(port, address)) as answer:
            assert answer.status == 200
