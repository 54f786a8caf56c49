"""Everything that goes wrong on demand does, and nothing else."""

import asyncio
import json

import aiohttp
import pytest

from tests import builders
from tests.fakes.apiserver import (
    Alter,
    Cut,
    Door,
    Expire,
    FakeApiServer,
    Garble,
    Hang,
    Refuse,
    Throttle,
    When,
)
from tests.fakes.apiserver.conftest import connect, until
from tests.fakes.apiserver.faults import Script
from tests.fakes.clock import FakeClock

ALL = "/api/v1/services"
WATCH = {"watch": "true"}
STRANGER = "nobody's"


@pytest.fixture
def server(server: FakeApiServer) -> FakeApiServer:
    """A server with two Services."""
    server.put(builders.raw_service("a"))
    server.put(builders.raw_service("b"))
    return server


@pytest.mark.parametrize(
    ("rule", "verbs", "hits"),
    [
        (When(fault=Expire()), "lw", [0, 1]),
        (When(fault=Expire(), verb="watch"), "lwlw", [1, 3]),
        (When(fault=Expire(), verb="watch", every=2), "wwlww", [0, 3]),
        (When(fault=Expire(), skip=1, every=2), "wwwww", [1, 3]),
        (When(fault=Expire(), times=1), "www", [0]),
        (When(fault=Expire(), resource="nodes"), "www", []),
    ],
)
def test_which_requests_are_hit(rule: When, verbs: str, hits: list[int]) -> None:
    """By verb, resource, place and number."""
    script = Script()
    script.set(rule)
    asked = [{"l": "list", "w": "watch"}[letter] for letter in verbs]
    found = [script.next(verb, "services") for verb in asked]
    assert [place for place, faults in enumerate(found) if faults] == hits


@pytest.mark.parametrize("code", [500, 503, 504])
async def test_errors_are_statuses(
    server: FakeApiServer, client: aiohttp.ClientSession, code: int
) -> None:
    """Once, and then all is well."""
    server.script(When(fault=Refuse(code=code), times=1))
    async with client.get(ALL) as response:
        assert (response.status, (await response.json())["code"]) == (code, code)
    async with client.get(ALL) as response:
        assert response.status == 200


async def test_too_many_requests(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """429 is plain text and says when to come back."""
    server.script(When(fault=Refuse(code=429, retry_after_s=7)))
    async with client.get(ALL) as response:
        assert response.status == 429
        assert response.headers["Retry-After"] == "7"
        assert response.content_type == "text/plain"


@pytest.mark.parametrize("query", [{}, WATCH])
async def test_a_cut_leaves_so_many_bytes(
    server: FakeApiServer, client: aiohttp.ClientSession, query: dict[str, str]
) -> None:
    """The connection ends in the middle of the body, which the client notices."""
    server.script(When(fault=Cut(after_bytes=70)))
    async with client.get(ALL, params=query) as response:
        assert len(await response.content.readexactly(70)) == 70
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.readany()


async def test_hanging_before_the_answer(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """Not even headers; what waits is dropped with the client."""
    server.script(When(fault=Hang(), times=1))
    asked = asyncio.ensure_future(client.get(ALL))
    await until(lambda: server.requests)
    async with client.get(ALL) as response:
        assert response.status == 200
    assert not asked.done()
    asked.cancel()


async def test_hanging_in_the_middle(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """After so many bytes nothing comes, and the connection stays."""
    server.script(When(fault=Hang(after_bytes=70)))
    async with client.get(ALL, params=WATCH) as response:
        assert len(await response.content.readexactly(70)) == 70
        server.put(builders.raw_service("c"))
        waiting = asyncio.ensure_future(response.content.readany())
        async with connect(server) as other, other.get("/healthz") as healthy:
            assert healthy.status == 200
        assert not waiting.done()
        waiting.cancel()


async def test_a_slow_answer_takes_its_time() -> None:
    """So many bytes a second, on the server's clock."""
    clock = FakeClock()
    async with (
        FakeApiServer(clock=clock, sleep=clock.sleep) as server,
        connect(server) as client,
    ):
        server.script(When(fault=Throttle(bytes_per_s=40)))
        async with client.get(ALL) as response:
            whole = asyncio.ensure_future(response.read())
            async with asyncio.timeout(30):
                while not whole.done():
                    if clock.sleeping:
                        clock.advance(clock.sleeping[0])
                    await asyncio.sleep(0)
            assert clock.now_s == pytest.approx(len(await whole) / 40)


async def test_garbage_in_a_watch_is_a_line_of_its_own(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """What comes before and after it is good."""
    server.script(When(fault=Garble(text=b"{nonsense", after_lines=1)))
    async with client.get(ALL, params=WATCH) as response:
        lines = [await response.content.readline() for _ in range(3)]
    assert lines[1] == b"{nonsense\n"
    names = [json.loads(line)["object"]["metadata"]["name"] for line in lines[::2]]
    assert names == ["a", "b"]


async def test_garbage_instead_of_a_list(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """As from a proxy in between."""
    server.script(When(fault=Garble(text=b"<html>")))
    async with client.get(ALL) as response:
        assert (await response.text()).strip() == "<html>"


async def test_one_object_has_other_fields(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """In lists and events, while the object itself stays as it is."""
    server.script(When(fault=Alter(name="a", patch={"spec": {"ports": "none"}})))
    async with client.get(ALL) as response:
        items = (await response.json())["items"]
    assert [item["spec"]["ports"] == "none" for item in items] == [True, False]
    async with client.get(ALL, params=WATCH) as response:
        event = json.loads(await response.content.readline())
    assert event["object"]["spec"]["ports"] == "none"
    server.script()
    async with client.get(ALL) as response:
        assert (await response.json())["items"][0]["spec"]["ports"] != "none"


async def test_expired_on_demand(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """In the stream for a watch, as the answer for a list."""
    server.script(When(fault=Expire()))
    query = {**WATCH, "resourceVersion": str(server.store.revision)}
    async with client.get(ALL, params=query) as response:
        event = json.loads(await response.text())
    assert (response.status, event["type"]) == (200, "ERROR")
    assert event["object"]["code"] == 410
    async with client.get(ALL) as response:
        assert response.status == 410


async def test_refused_connections(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """Nobody listens for a while, and then on the same port again."""
    url = server.url
    await server.set_door(Door.REFUSED)
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(ALL)
    await server.set_door(Door.OPEN)
    async with client.get(f"{url}{ALL}") as response:
        assert response.status == 200


async def test_silent_connections(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """They are accepted, and that is all: no TLS, no answer."""
    await server.set_door(Door.SILENT)
    asked = asyncio.ensure_future(client.get(ALL))
    await until(lambda: server.connections)
    assert not asked.done()
    await server.set_door(Door.REFUSED)
    with pytest.raises(aiohttp.ClientError):
        await asked


@pytest.mark.parametrize("keeps_history", [True, False])
async def test_a_restart_drops_watches(
    server: FakeApiServer, client: aiohttp.ClientSession, *, keeps_history: bool
) -> None:
    """Objects stay; whether changes of before can be watched is up to the test."""
    since = server.store.revision
    async with client.get(ALL, params=WATCH) as response:
        await response.content.readline()
        server.put(builders.raw_service("c"))
        await server.restart(keeps_history=keeps_history)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    query = {**WATCH, "resourceVersion": str(since)}
    async with client.get(ALL, params=query) as response:
        event = json.loads(await response.content.readline())
    assert event["type"] == ("ADDED" if keeps_history else "ERROR")


async def test_requests_are_remembered() -> None:
    """Each with its time, question and user, and also those that failed."""
    clock = FakeClock()
    async with (
        FakeApiServer(clock=clock, sleep=clock.sleep) as server,
        connect(server) as client,
        connect(server, token=STRANGER) as stranger,
    ):
        await client.get(ALL, params={"limit": "5"})
        clock.advance(3)
        await stranger.get(ALL, params=WATCH)
    first, second = server.requests
    assert (first.at_s, first.verb, first.resource) == (0, "list", "services")
    assert (first.method, first.path, first.query) == ("GET", ALL, {"limit": "5"})
    assert first.user == "system:node-proxier"
    assert (second.at_s, second.verb, second.user) == (3, "watch", "")
