"""The fake answers in the very words of kube-apiserver 1.36.

Each recorded answer has here the question it was the answer to. The cluster is put
together from the recorded lists, so that not only the structure but every byte of a
body has to agree; what a server makes up for each answer (`Audit-Id`, `Date`) does not.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.fakes.apiserver import SERVICES, SLICES, FakeApiServer
from tests.fakes.apiserver.conftest import connect, until
from tests.fakes.apiserver.kinds import Resource

GOLDEN = Path("tests/golden/apiserver-1.36")

SERVICE_PATH = "/api/v1/namespaces/default/services"
SLICE_PATH = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"

STRANGER = "nobody's"

STREAMED = {
    "watch": "true",
    "sendInitialEvents": "true",
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": "true",
}

Raw = dict[str, Any]


class Answer(msgspec.Struct, frozen=True):
    """What came back.

    Attributes:
        code: of HTTP.
        headers: without those that are of HTTP/1.1 or differ each time.
        text: the body.
    """

    code: int
    headers: dict[str, str]
    text: str


def golden(name: str) -> str:
    """A recorded file."""
    return (GOLDEN / name).read_text()


def recorded_objects() -> list[Raw]:
    """What was in the recorded cluster, at resource version 299."""
    found = []
    for name in ("services", "endpointslices", "nodes"):
        listed = json.loads(golden(f"{name}-list.json"))
        kind = listed["kind"].removesuffix("List")
        found += [{"kind": kind, **item} for item in listed["items"]]
    return found


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    """A server that holds the recorded cluster."""
    async with FakeApiServer() as server:
        server.load(recorded_objects(), revision=299)
        yield server


async def ask(
    server: FakeApiServer, path: str, *, token: str | None = None, **query: str
) -> Answer:
    """Get a path, for people to read."""
    async with connect(server, token=token) as session:
        return await answer_of(session.get(path, params={**query, "pretty": "true"}))


async def answer_of(
    asked: "aiohttp.client._RequestContextManager",
) -> Answer:
    """The answer to a request."""
    async with asked as response:
        changing = {"Date", "Server", "Audit-Id", "Content-Length"}
        headers = {
            name.lower(): "some" if "-Pf-" in name else value
            for name, value in response.headers.items()
            if name not in changing
        }
        assert response.headers["Audit-Id"]
        return Answer(response.status, headers, await response.text())


async def first_page(server: FakeApiServer) -> Answer:
    """Ten slices of 26."""
    return await ask(server, SLICES.root + "/endpointslices", limit="10")


async def second_page(server: FakeApiServer) -> Answer:
    """The next ten."""
    token = json.loads((await first_page(server)).text)["metadata"]["continue"]
    path = SLICES.root + "/endpointslices"
    return await ask(server, path, limit="10", **{"continue": token})


async def expired_page(server: FakeApiServer) -> Answer:
    """A page whose beginning was read too long ago."""
    path = SLICES.root + "/endpointslices"
    page = json.loads((await ask(server, path, limit="2")).text)
    server.store.tick()
    server.compact()
    return await ask(
        server, path, limit="2", **{"continue": page["metadata"]["continue"]}
    )


async def invalid_address(server: FakeApiServer) -> Answer:
    """A slice with an address that is none."""
    entry = server.store.shelf(SLICES).get("default", "ext-a")
    assert entry is not None
    raw = entry.decode()
    raw["endpoints"][0]["addresses"] = ["999.1.1.1"]
    async with connect(server) as session:
        path = f"{SLICE_PATH}/ext-a"
        return await answer_of(session.put(path, json=raw, params={"pretty": "true"}))


async def expired_watch(server: FakeApiServer) -> Answer:
    """A watch from before anyone remembers."""
    server.load([], revision=328)
    return await ask(server, SLICE_PATH, watch="true", resourceVersion="10")


async def watch_slices(server: FakeApiServer) -> Answer:
    """What happens to slices, from a list on."""
    return await watch(server, SLICES, {"watch": "true", "resourceVersion": "299"})


async def stream_slices(server: FakeApiServer) -> Answer:
    """All slices and what happens to them."""
    return await watch(server, SLICES, STREAMED)


async def stream_services(server: FakeApiServer) -> Answer:
    """All Services that are not another proxy's, and what happens to them."""
    labels = "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless"
    return await watch(server, SERVICES, {**STREAMED, "labelSelector": labels})


async def watch(
    server: FakeApiServer, resource: Resource, query: dict[str, str]
) -> Answer:
    """Everything a watch says while the recorded changes are made."""
    async with connect(server) as session:
        path = f"{resource.root}/{resource.plural}"
        asked = asyncio.ensure_future(answer_of(session.get(path, params=query)))
        await until(lambda: server.watching(resource))
        await change(server, session)
        server.end_watches()
        return await asked


async def change(server: FakeApiServer, session: aiohttp.ClientSession) -> None:
    """Make the changes that were recorded, from resource version 300 to 305."""
    server.store.tick()
    for line in golden("endpointslices-watch.jsonl").splitlines():
        event = json.loads(line)
        raw = event["object"]
        if event["type"] == "DELETED":
            break
        set_by_server = ("uid", "resourceVersion", "generation", "creationTimestamp")
        for field in set_by_server:
            del raw["metadata"][field]
        path = f"{SLICE_PATH}/{raw['metadata']['name']}"
        async with session.put(path, json=raw) as response:
            assert response.status == 200
    label = {"service.kubernetes.io/service-proxy-name": "other"}
    async with session.patch(
        f"{SERVICE_PATH}/web",
        data=json.dumps({"metadata": {"labels": label}}),
        headers={"Content-Type": "application/merge-patch+json"},
    ) as response:
        assert response.status == 200
    for path in (f"{SLICE_PATH}/np-a", f"{SERVICE_PATH}/np"):
        async with session.delete(path) as response:
            assert response.status == 200


Question = Callable[[FakeApiServer], Awaitable[Answer]]

QUESTIONS: dict[str, Question] = {
    "services-list.json": lambda s: ask(s, "/api/v1/services"),
    "nodes-list.json": lambda s: ask(s, "/api/v1/nodes"),
    "endpointslices-list.json": lambda s: ask(s, SLICE_PATH),
    "endpointslices-list-page1.json": first_page,
    "endpointslices-list-page2.json": second_page,
    "endpointslices-watch.jsonl": watch_slices,
    "endpointslices-watchlist.jsonl": stream_slices,
    "services-watchlist-labelselector.jsonl": stream_services,
    "watch-expired-410.jsonl": expired_watch,
    "list-expired-continue-410.http": expired_page,
    "list-bad-continue-400.json": lambda s: ask(
        s, "/api/v1/services", limit="10", **{"continue": "bogus"}
    ),
    "invalid-422.json": invalid_address,
    "unauthorized-401.http": lambda s: ask(s, "/api/v1/services", token=STRANGER),
    "forbidden-403.http": lambda s: ask(s, "/api/v1/services", token=""),
    "notfound-404.http": lambda s: ask(s, "/api/v1/nosuch"),
}


def recorded_answer(name: str) -> Answer:
    """A recorded file as an answer; the file's name tells the code if nothing else."""
    text = golden(name)
    headers = {"content-type": "application/json", "cache-control": "no-cache, private"}
    if not name.endswith(".http"):
        # An error inside of a stream comes after a 200.
        code = name.removesuffix(".json").rpartition("-")[2]
        return Answer(int(code) if code.isdecimal() else 200, headers, text)
    head, _, body = text.partition("\n\n")
    first, *lines = head.splitlines()
    found = dict(line.split(": ", 1) for line in lines if ": " in line)
    changing = {"date", "audit-id", "content-length"}
    return Answer(
        int(first.split()[1]),
        {
            name: "some" if "-pf-" in name else value
            for name, value in found.items()
            if name not in changing
        },
        body,
    )


@pytest.mark.parametrize("name", sorted(QUESTIONS))
async def test_the_answer_is_the_recorded_one(server: FakeApiServer, name: str) -> None:
    """Status, headers and every byte of the body."""
    answer = await QUESTIONS[name](server)
    recorded = recorded_answer(name)
    assert answer.text == recorded.text
    assert answer.code == recorded.code
    if name.endswith(".http"):
        assert answer.headers == recorded.headers
    else:
        assert answer.headers.items() >= recorded.headers.items()


def test_every_recorded_answer_has_its_question() -> None:
    """No file is left out, and none is asked for that is not there."""
    assert {path.name for path in GOLDEN.iterdir()} == set(QUESTIONS)
