"""Lists that were not recorded."""

import json
from typing import Any

import aiohttp
import pytest

from tests import builders
from tests.fakes.apiserver import FakeApiServer

ALL = "/api/v1/services"


@pytest.fixture
def server(server: FakeApiServer) -> FakeApiServer:
    """A server with five Services, one of them elsewhere."""
    for name in "abcd":
        server.put(builders.raw_service(name, labels={"name": name}))
    server.put(builders.raw_service("a", namespace="other"))
    return server


async def get(
    client: aiohttp.ClientSession, path: str = ALL, **query: str
) -> tuple[int, dict[str, Any]]:
    """Status and body."""
    async with client.get(path, params=query) as response:
        body: dict[str, Any] = await response.json()
        return response.status, body


def names(body: dict[str, Any]) -> list[str]:
    """The objects of a list."""
    found = [item["metadata"] for item in body["items"]]
    return [f"{meta['namespace']}/{meta['name']}" for meta in found]


async def test_a_namespace_or_a_selector_narrows(client: aiohttp.ClientSession) -> None:
    """By path, by label, by field."""
    assert names((await get(client))[1])[-1] == "other/a"
    _, here = await get(client, "/api/v1/namespaces/other/services")
    assert names(here) == ["other/a"]
    _, labelled = await get(client, labelSelector="name in (b,c)")
    assert names(labelled) == ["default/b", "default/c"]
    _, named = await get(client, fieldSelector="metadata.name=a")
    assert names(named) == ["default/a", "other/a"]


async def test_pages_show_one_moment(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """What changes between two pages is not in the second."""
    _, first = await get(client, limit="2")
    server.delete("Service", "c")
    server.put(builders.raw_service("e"))
    server.put(builders.raw_service("d", labels={"name": "changed"}))
    token = first["metadata"]["continue"]
    _, second = await get(client, limit="2", **{"continue": token})
    assert names(second) == ["default/c", "default/d"]
    assert second["items"][1]["metadata"]["labels"] == {"name": "d"}
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert second["metadata"]["remainingItemCount"] == 1


async def test_a_selector_hides_how_many_remain(client: aiohttp.ClientSession) -> None:
    """The server does not count what it would have to look at."""
    _, page = await get(client, limit="2", labelSelector="name")
    assert "remainingItemCount" not in page["metadata"]
    assert page["metadata"]["continue"]


async def test_an_expired_token_brings_one_for_the_rest_as_it_is(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """With the token of the refusal the list goes on, at a later moment."""
    _, first = await get(client, limit="2")
    server.delete("Service", "c")
    server.compact()
    token = first["metadata"]["continue"]
    code, refusal = await get(client, limit="2", **{"continue": token})
    assert (code, refusal["reason"]) == (410, "Expired")
    token = refusal["metadata"]["continue"]
    _, rest = await get(client, limit="2", **{"continue": token})
    assert names(rest) == ["default/d", "other/a"]
    assert int(rest["metadata"]["resourceVersion"]) == server.store.revision


async def test_version_0_comes_whole_from_the_cache(
    client: aiohttp.ClientSession,
) -> None:
    """The limit is ignored."""
    _, body = await get(client, limit="1", resourceVersion="0")
    assert len(body["items"]) == 5
    assert "continue" not in body["metadata"]


async def test_exact_versions(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """The past can be listed as long as it is remembered; the future cannot."""
    then = server.store.revision
    server.delete("Service", "a")
    asked = {"resourceVersion": str(then), "resourceVersionMatch": "Exact"}
    _, body = await get(client, **asked)
    assert len(body["items"]) == 5
    server.compact()
    code, refusal = await get(client, **asked)
    assert (code, refusal["reason"]) == (410, "Expired")
    code, refusal = await get(client, resourceVersion=str(then + 100))
    assert code == 504
    causes = [cause["reason"] for cause in refusal["details"]["causes"]]
    assert causes == ["ResourceVersionTooLarge"]


@pytest.mark.parametrize(
    ("query", "code", "told"),
    [
        ({"limit": "x"}, 400, "invalid syntax"),
        ({"resourceVersionMatch": "Exact"}, 422, "forbidden unless resourceVersion"),
        ({"sendInitialEvents": "true"}, 422, "sendInitialEvents is forbidden for list"),
        ({"labelSelector": "a b"}, 400, "unable to parse requirement"),
        ({"watch": "1", "resourceVersionMatch": "Exact"}, 422, "forbidden for watch"),
        ({"watch": "1", "sendInitialEvents": "true"}, 422, "requires setting"),
    ],
)
async def test_questions_that_make_no_sense(
    client: aiohttp.ClientSession, query: dict[str, str], code: int, told: str
) -> None:
    """They are refused with the reason."""
    answered, body = await get(client, **query)
    assert answered == code
    assert told in body["message"]


async def test_only_large_bodies_are_compressed(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """From 128 KiB on, and for clients that say they can read it."""
    big = {"note": "x" * 200_000}
    for path, encoding in ((ALL, None), ("/api/v1/nodes", "gzip")):
        server.put({"kind": "Node", "metadata": {"name": "big", "annotations": big}})
        async with client.get(path, headers={"Accept-Encoding": "gzip"}) as response:
            assert response.headers.get("Content-Encoding") == encoding
            assert json.loads(await response.text())["items"]
    async with client.get("/api/v1/nodes", headers={"Accept-Encoding": ""}) as response:
        assert "Content-Encoding" not in response.headers
