"""Watches that were not recorded."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests import builders
from tests.fakes.apiserver import SERVICES, FakeApiServer, Streaming
from tests.fakes.apiserver.conftest import connect, until
from tests.fakes.clock import FakeClock

ALL = "/api/v1/services"

STREAMED = {
    "sendInitialEvents": "true",
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": "true",
}


class Reader:
    """The events of one watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> tuple[str, str, dict[str, Any]]:
        """Type, name, and the whole object of the next event."""
        async with asyncio.timeout(30):
            line = await self.response.content.readline()
        event = json.loads(line)
        raw: dict[str, Any] = event["object"]
        return event["type"], raw["metadata"].get("name", ""), raw

    async def is_over(self) -> bool:
        """Whether nothing comes any more; waits for it."""
        async with asyncio.timeout(30):
            return await self.response.content.readline() == b""


@asynccontextmanager
async def watching(
    client: aiohttp.ClientSession, path: str = ALL, **query: str
) -> AsyncIterator[Reader]:
    """A watch that has begun."""
    async with client.get(path, params={"watch": "true", **query}) as response:
        assert response.status == 200
        yield Reader(response)


async def test_an_object_that_stops_matching_is_deleted_and_may_come_back(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """A watch with a selector sees its objects only, in their last matching state."""
    server.put(builders.raw_service("web", labels={"app": "web"}))
    since = str(server.store.revision)
    query = {"labelSelector": "app=web", "resourceVersion": since}
    async with watching(client, **query) as events:
        server.put(builders.raw_service("other"))
        server.put(builders.raw_service("web", labels={"app": "db"}))
        kind, name, raw = await events.next()
        assert (kind, name) == ("DELETED", "web")
        assert raw["metadata"]["labels"] == {"app": "web"}
        assert int(raw["metadata"]["resourceVersion"]) == server.store.revision
        server.put(builders.raw_service("web", labels={"app": "nobody"}))
        server.put(builders.raw_service("web", labels={"app": "web"}))
        assert (await events.next())[:2] == ("ADDED", "web")
        server.put(builders.raw_service("web", labels={"app": "web"}, ports=[]))
        assert (await events.next())[:2] == ("MODIFIED", "web")


async def test_a_namespace_or_a_name_narrows(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """Nothing else is told."""
    path = "/api/v1/namespaces/default/services"
    async with watching(client, path, fieldSelector="metadata.name=b") as events:
        for name, namespace in (("a", "default"), ("b", "other"), ("b", "default")):
            server.put(builders.raw_service(name, namespace=namespace))
        kind, _, raw = await events.next()
        assert (kind, raw["metadata"]["namespace"]) == ("ADDED", "default")


async def test_a_watch_goes_on_where_another_ended(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """Every change after a resource version comes once, in order, across kinds."""
    server.put(builders.raw_service("a"))
    since = server.store.revision
    server.put(builders.raw_slice("a-1"))
    server.put(builders.raw_service("b"))
    server.delete("Service", "a")
    async with watching(client, resourceVersion=str(since)) as events:
        found = [await events.next() for _ in range(2)]
    assert [event[:2] for event in found] == [("ADDED", "b"), ("DELETED", "a")]
    versions = [int(raw["metadata"]["resourceVersion"]) for _, _, raw in found]
    assert versions == [since + 2, since + 3]


@pytest.mark.parametrize("forgotten", [0, 1])
async def test_compaction_ends_where_it_says(
    server: FakeApiServer, client: aiohttp.ClientSession, forgotten: int
) -> None:
    """A watch from a forgotten version is told so in the stream, which ends there."""
    server.put(builders.raw_service("a"))
    since = server.store.revision
    server.put(builders.raw_service("b"))
    server.compact(since + forgotten)
    async with watching(client, resourceVersion=str(since)) as events:
        kind, _, raw = await events.next()
        if forgotten:
            assert (kind, raw["code"], raw["reason"]) == ("ERROR", 410, "Expired")
            assert await events.is_over()
        else:
            assert kind == "ADDED"


async def test_a_client_that_is_ahead_waits(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """When the server lost its history, versions that are lower are not told."""
    ahead = str(server.store.revision + 1)
    async with watching(client, resourceVersion=ahead) as events:
        server.put(builders.raw_service("unseen"))
        server.put(builders.raw_service("seen"))
        assert (await events.next())[1] == "seen"


async def test_bookmarks_come_on_demand_to_who_asked(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """A bookmark carries the version of the whole server and no annotation."""
    since = str(server.store.revision)
    asked = {"resourceVersion": since, "allowWatchBookmarks": "true"}
    async with (
        watching(client, **asked) as events,
        watching(client, resourceVersion=since) as others,
    ):
        server.store.tick()
        server.send_bookmarks()
        server.put(builders.raw_service("a"))
        kind, _, raw = await events.next()
        assert kind == "BOOKMARK"
        assert raw["metadata"] == {"resourceVersion": str(int(since) + 1)}
        assert (await others.next())[0] == "ADDED"


async def test_a_streaming_list_of_nothing_is_complete(
    client: aiohttp.ClientSession,
) -> None:
    """The bookmark comes all the same."""
    async with watching(client, **STREAMED) as events:
        kind, _, raw = await events.next()
    assert kind == "BOOKMARK"
    assert raw["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_without_the_feature_gate_streaming_lists_are_refused(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """422 with the field, for the client to fall back on."""
    server.streaming = Streaming.OFF
    query = {"watch": "true", **STREAMED}
    async with client.get(ALL, params=query) as response:
        body = await response.json()
    assert response.status == body["code"] == 422
    assert body["message"] == (
        'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: '
        "sendInitialEvents is forbidden for watch unless the WatchList feature gate is "
        "enabled"
    )


async def test_an_old_server_ignores_the_parameter(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """There comes the state, as events, and no bookmark that says it is complete."""
    server.streaming = Streaming.UNKNOWN
    server.put(builders.raw_service("a"))
    query = {"sendInitialEvents": "true", "allowWatchBookmarks": "true"}
    async with watching(client, **query) as events:
        assert (await events.next())[:2] == ("ADDED", "a")
        server.put(builders.raw_service("b"))
        assert (await events.next())[:2] == ("ADDED", "b")


async def test_timeout_seconds_end_a_watch_cleanly() -> None:
    """After that long on the server's clock, and not before."""
    clock = FakeClock()
    async with (
        FakeApiServer(clock=clock, sleep=clock.sleep) as server,
        connect(server) as client,
        watching(client, timeoutSeconds="300") as events,
    ):
        clock.advance(299)
        server.put(builders.raw_service("a"))
        assert (await events.next())[0] == "ADDED"
        clock.advance(1)
        assert await events.is_over()
        await until(lambda: not server.watching(SERVICES))


async def test_a_client_that_goes_away_is_forgotten(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """Its watch costs nothing any more."""
    async with watching(client) as events:
        assert server.watching(SERVICES) == 1
        events.response.close()
        await until(lambda: not server.watching(SERVICES))
    assert not server.store.shelf(SERVICES).listeners
