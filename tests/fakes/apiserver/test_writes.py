"""Objects that are made over HTTP, and who may."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kubernetes_asyncio import client as kubernetes
from kubernetes_asyncio import config

from tests import builders
from tests.fakes.apiserver import SERVICES, FakeApiServer

SERVICE_PATH = "/api/v1/namespaces/default/services"
MERGE = {"Content-Type": "application/merge-patch+json"}


async def send(
    client: aiohttp.ClientSession, method: str, path: str, body: Any = None
) -> tuple[int, dict[str, Any]]:
    """Status and body of an answer."""
    headers = MERGE if method == "PATCH" else {}
    asked = client.request(method, path, json=body, headers=headers)
    async with asked as response:
        return response.status, await response.json()


async def test_what_is_created_is_filled_in(client: aiohttp.ClientSession) -> None:
    """Uid, version, creation, and a Service's usual fields."""
    raw = builders.raw_service("web", clusterIP=None, type="NodePort")
    code, made = await send(client, "POST", SERVICE_PATH, raw)
    assert code == 201
    metadata, spec = made["metadata"], made["spec"]
    assert metadata["uid"]
    assert metadata["creationTimestamp"]
    assert metadata["namespace"] == "default"
    assert spec["clusterIPs"] == [spec["clusterIP"]] != [None]
    assert spec["ports"][0]["protocol"] == "TCP"
    assert 30000 <= spec["ports"][0]["nodePort"] <= 32767
    assert spec["externalTrafficPolicy"] == "Cluster"
    other = builders.raw_service("other", clusterIP=None, type="NodePort")
    _, made = await send(client, "POST", SERVICE_PATH, other)
    assert made["spec"]["clusterIP"] != spec["clusterIP"]
    assert made["spec"]["ports"][0]["nodePort"] != spec["ports"][0]["nodePort"]


async def test_a_name_is_taken_once(client: aiohttp.ClientSession) -> None:
    """409 with the name; `generateName` finds one that is free."""
    await send(client, "POST", SERVICE_PATH, builders.raw_service("web"))
    code, body = await send(client, "POST", SERVICE_PATH, builders.raw_service("web"))
    assert (code, body["message"]) == (409, 'services "web" already exists')
    event = {"metadata": {"generateName": "web."}, "reason": "Refused"}
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    for _ in range(2):
        code, body = await send(client, "POST", path, event)
        assert code == 201
        assert body["metadata"]["name"].startswith("web.")


async def test_a_stale_version_conflicts(client: aiohttp.ClientSession) -> None:
    """A replacement of what has changed since is refused."""
    _, made = await send(client, "POST", SERVICE_PATH, builders.raw_service("web"))
    code, _ = await send(client, "PUT", f"{SERVICE_PATH}/web", {**made, "spec": {}})
    assert code == 200
    code, body = await send(client, "PUT", f"{SERVICE_PATH}/web", made)
    assert (code, body["reason"]) == (409, "Conflict")


async def test_status_has_a_path_of_its_own(client: aiohttp.ClientSession) -> None:
    """Each path leaves what belongs to the other as it is."""
    await send(client, "POST", SERVICE_PATH, builders.raw_service("web"))
    ingress = {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}
    given = {"status": ingress, "spec": {"type": "LoadBalancer"}}
    _, body = await send(client, "PATCH", f"{SERVICE_PATH}/web/status", given)
    assert (body["status"], body["spec"]["type"]) == (ingress, "ClusterIP")
    given["status"] = {}
    _, body = await send(client, "PATCH", f"{SERVICE_PATH}/web", given)
    assert (body["status"], body["spec"]["type"]) == (ingress, "LoadBalancer")


async def test_a_change_that_changes_nothing_is_none(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """No new version, and so no event."""
    await send(client, "POST", SERVICE_PATH, builders.raw_service("web"))
    before = server.store.revision
    labels = {"metadata": {"labels": {"a": "b"}}}
    for _ in range(2):
        await send(client, "PATCH", f"{SERVICE_PATH}/web", labels)
    assert server.store.revision == before + 1


async def test_what_is_not_there(client: aiohttp.ClientSession) -> None:
    """404 names the object, or the namespace that is missing."""
    code, body = await send(client, "GET", f"{SERVICE_PATH}/web")
    assert (code, body["message"]) == (404, 'services "web" not found')
    path = "/api/v1/namespaces/none/services"
    code, body = await send(client, "POST", path, builders.raw_service("web"))
    assert (code, body["message"]) == (404, 'namespaces "none" not found')


async def test_with_a_namespace_goes_what_is_in_it(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """As the namespace controller would have it, at once."""
    space = {"metadata": {"name": "mine"}}
    await send(client, "POST", "/api/v1/namespaces", space)
    path = "/api/v1/namespaces/mine/services"
    await send(client, "POST", path, builders.raw_service("web"))
    await send(client, "POST", SERVICE_PATH, builders.raw_service("web"))
    code, body = await send(client, "DELETE", "/api/v1/namespaces/mine")
    assert (code, body["status"]) == (200, "Success")
    left = [entry.key for entry in server.store.shelf(SERVICES).entries()]
    assert left == ["default/web"]


@pytest.mark.parametrize(
    ("content_type", "code"),
    [
        ("application/merge-patch+json", 200),
        ("application/strategic-merge-patch+json", 200),
        ("application/apply-patch+yaml", 415),
    ],
)
async def test_formats_of_patches(
    client: aiohttp.ClientSession, content_type: str, code: int
) -> None:
    """Merge patches are read, others refused."""
    await send(client, "POST", SERVICE_PATH, builders.raw_service("web"))
    headers = {"Content-Type": content_type}
    path = f"{SERVICE_PATH}/web"
    async with client.patch(path, data=b"{}", headers=headers) as response:
        assert response.status == code


async def test_a_body_that_is_no_object(client: aiohttp.ClientSession) -> None:
    """400, whatever it is."""
    for body in (b"{", b"[]", b"{}"):
        async with client.post(
            SERVICE_PATH, data=body, headers={"Content-Type": "application/json"}
        ) as response:
            assert response.status == 400


async def test_a_verb_can_be_denied(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """403 says who may not do what where."""
    server.access.denied.add(("list", "services"))
    code, body = await send(client, "GET", SERVICE_PATH)
    assert code == 403
    assert body["message"] == (
        'services is forbidden: User "system:node-proxier" cannot list resource '
        '"services" in API group "" in the namespace "default"'
    )
    assert (await send(client, "GET", "/api/v1/nodes"))[0] == 200


async def test_a_token_can_be_replaced(
    server: FakeApiServer, client: aiohttp.ClientSession
) -> None:
    """The old one is not accepted any more."""
    server.access.users = {"new": "system:node-proxier"}
    assert (await send(client, "GET", SERVICE_PATH))[0] == 401


@pytest.mark.parametrize("user", [None, "node-0"])
async def test_a_kubeconfig_works(
    server: FakeApiServer, tmp_path: Path, user: str | None
) -> None:
    """The official client gets in by token and by certificate."""
    path = server.kubeconfig(tmp_path / "kubeconfig", user=user)
    configuration = kubernetes.Configuration()
    await config.load_kube_config(str(path), client_configuration=configuration)
    server.put(builders.raw_service("web"))
    async with kubernetes.ApiClient(configuration) as api:
        found = await kubernetes.CoreV1Api(api).list_service_for_all_namespaces()
    assert [item.metadata.name for item in found.items] == ["web"]
    assert server.requests[-1].user == (user or "system:node-proxier")
