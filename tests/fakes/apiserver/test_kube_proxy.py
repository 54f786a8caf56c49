"""What kube-proxy asks, header by header and word by word, from 1.30 to 1.37."""

import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import pytest

from tests import builders
from tests.fakes.apiserver import FakeApiServer

PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
ACCEPT: Final = {"Accept": f"{PROTOBUF}, */*"}
"""What client-go sends when it is set to protobuf, as kube-proxy's is by default."""

SERVICES: Final = "/api/v1/services"
SLICES: Final = "/apis/discovery.k8s.io/v1/endpointslices"
NODES: Final = "/api/v1/nodes"
CIDRS: Final = "/apis/networking.k8s.io/v1/servicecidrs"
EVENTS: Final = "/apis/events.k8s.io/v1/namespaces/default/events"

FIRST: Final = {"limit": "500", "resourceVersion": "0"}
NOT_HEADLESS: Final = "!service.kubernetes.io/headless"
OURS: Final = "!service.kubernetes.io/service-proxy-name"
BOTH: Final = f"{NOT_HEADLESS},{OURS}"
NO_NONE: Final = "spec.clusterIP!=None"
ONE_NODE: Final = {"fieldSelector": "metadata.name=node-0"}
STREAMED: Final = {
    "watch": "true",
    "allowWatchBookmarks": "true",
    "sendInitialEvents": "true",
    "resourceVersionMatch": "NotOlderThan",
    "timeoutSeconds": "420",
}


@pytest.fixture
def server(server: FakeApiServer) -> FakeApiServer:
    """A cluster with what kube-proxy is to see, and what it is not to see."""
    server.put(builders.raw_service("web", clusterIP="10.96.0.1"))
    server.put(builders.raw_service("headless", clusterIP="None"))
    theirs = {"service.kubernetes.io/service-proxy-name": "other"}
    server.put(builders.raw_service("theirs", labels=theirs))
    server.put(builders.raw_slice("web-1", service="web"))
    of_none = builders.raw_slice("headless-1", service="headless")
    of_none["metadata"]["labels"]["service.kubernetes.io/headless"] = ""
    server.put(of_none)
    for number in range(2):
        server.put(builders.raw_node(f"node-{number}", f"10.0.0.1{number}"))
    spec = {"cidrs": ["10.96.0.0/12"]}
    metadata: dict[str, object] = {"name": "kubernetes"}
    server.put({"kind": "ServiceCIDR", "metadata": metadata, "spec": spec})
    return server


async def listed(
    client: aiohttp.ClientSession, path: str, query: Mapping[str, str]
) -> list[str]:
    """Names in the answer to a list."""
    question = {**FIRST, **query}
    async with client.get(path, params=question, headers=ACCEPT) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        body = await response.json()
    return [item["metadata"]["name"] for item in body["items"]]


async def streamed(
    client: aiohttp.ClientSession, path: str, query: Mapping[str, str]
) -> list[str]:
    """Names in a streaming list, up to the bookmark that ends it."""
    found: list[str] = []
    question = {**STREAMED, **query}
    async with client.get(path, params=question, headers=ACCEPT) as response:
        assert response.status == 200
        async for line in response.content:
            event = json.loads(line)
            metadata = event["object"]["metadata"]
            if event["type"] == "BOOKMARK":
                assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
                return found
            found.append(metadata["name"])
    raise AssertionError(found)


@pytest.mark.parametrize("ask", [listed, streamed])
@pytest.mark.parametrize(
    ("path", "query", "names"),
    [
        (SERVICES, {"labelSelector": BOTH}, ["headless", "web"]),
        (
            SERVICES,
            {"labelSelector": OURS, "fieldSelector": NO_NONE},
            ["web"],
        ),
        (SLICES, {"labelSelector": BOTH}, ["web-1"]),
        (SLICES, {"labelSelector": NOT_HEADLESS}, ["web-1"]),
        (NODES, ONE_NODE, ["node-0"]),
        (CIDRS, {}, ["kubernetes"]),
    ],
)
async def test_what_it_lists(
    client: aiohttp.ClientSession,
    ask: Any,
    path: str,
    query: Mapping[str, str],
    names: list[str],
) -> None:
    """It gets what it selected, whichever of the two ways its version asks in."""
    assert await ask(client, path, query) == names


async def test_what_it_watches(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """A Service that becomes headless is gone, one that was not told before comes."""
    query = {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": str(server.store.revision),
        "timeoutSeconds": "420",
        "fieldSelector": NO_NONE,
    }
    async with client.get(SERVICES, params=query, headers=ACCEPT) as response:
        server.put(builders.raw_service("web", clusterIP="None"))
        server.put(builders.raw_service("headless", clusterIP="10.96.0.2"))
        lines = [json.loads(await response.content.readline()) for _ in range(2)]
    told = [(line["type"], line["object"]["metadata"]["name"]) for line in lines]
    assert told == [("DELETED", "web"), ("ADDED", "headless")]


async def test_its_node_and_the_version(client: aiohttp.ClientSession) -> None:
    """What it gets before it lists anything."""
    async with client.get(f"{NODES}/node-0", headers=ACCEPT) as response:
        assert (await response.json())["metadata"]["name"] == "node-0"
    async with client.get("/version", headers=ACCEPT) as response:
        assert (await response.json())["major"] == "1"


@pytest.mark.parametrize(
    ("content_type", "code"),
    [("application/json", 201), ("", 201), (PROTOBUF, 415)],
)
async def test_what_it_tells(
    client: aiohttp.ClientSession, content_type: str, code: int
) -> None:
    """An event in JSON is taken; in protobuf it is refused as what it is."""
    event = {
        "kind": "Event",
        "apiVersion": "events.k8s.io/v1",
        "metadata": {"name": "node-0.1", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reason": "Starting",
        "regarding": {"kind": "Node", "name": "node-0"},
        "type": "Normal",
    }
    body = json.dumps(event).encode()
    headers = {"Content-Type": content_type} if content_type else {}
    leave_out = ("Content-Type",) if not content_type else ()
    async with client.post(
        EVENTS, data=body, headers=headers, skip_auto_headers=leave_out
    ) as response:
        assert response.status == code


@pytest.mark.parametrize(
    ("accept", "code"),
    [
        (f"{PROTOBUF}, */*", 200),
        (f"{PROTOBUF},application/json", 200),
        ("application/json", 200),
        ("application/json;stream=watch", 200),
        ("application/json;as=Table;v=v1;g=meta.k8s.io, application/json", 200),
        ("application/json;as=Table;v=v1;g=meta.k8s.io", 406),
        (PROTOBUF, 406),
        (f"{PROTOBUF};stream=watch", 406),
        ("text/plain", 406),
    ],
)
async def test_what_it_reads(
    client: aiohttp.ClientSession, accept: str, code: int
) -> None:
    """JSON is sent to who reads it, and to nobody else."""
    headers = {"Accept": accept}
    async with client.get(NODES, headers=headers) as response:
        assert response.status == code
    async with client.get(
        NODES, params={"watch": "true", "timeoutSeconds": "1"}, headers=headers
    ) as response:
        assert response.status == code


@pytest.mark.parametrize("name", ["labelSelector", "fieldSelector"])
@pytest.mark.parametrize("manner", [{}, STREAMED])
async def test_a_selector_that_is_not_understood(
    client: aiohttp.ClientSession, name: str, manner: Mapping[str, str]
) -> None:
    """It is refused, in a list and in a watch; it never selects everything."""
    async with client.get(
        SERVICES, params={name: "spec.unheard of", **manner}, headers=ACCEPT
    ) as response:
        assert response.status == 400
