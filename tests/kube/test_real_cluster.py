"""The API source as seen from a cluster: the fake one, and any real one.

`IPVSCTL_TEST_KUBECONFIG` names a kubeconfig of a real cluster, as administrator. Every
test makes a namespace and a Node of its own there, and removes them. It needs an API
server and no more: no controllers, no kubelet.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import pytest

from ipvsctl.cluster.events import Replaced, Upserted
from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kube.connect.access import Access, Address
from ipvsctl.kube.list_watch import ListWatch
from ipvsctl.kube.recorder import EventRecorder
from ipvsctl.kube.resources import endpoint_slices, services
from ipvsctl.kube.source import ApiSource
from ipvsctl.kube.transport import Api
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import ApiError
from ipvsctl.model.net import parse_address
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.kernel import FakeKernel

Raw = dict[str, Any]

REAL: Final = os.environ.get("IPVSCTL_TEST_KUBECONFIG", "")

_LIMIT_S: Final = 60
_PATHS: Final = {
    "Service": "/api/v1/namespaces/{}/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
    "Event": "/apis/events.k8s.io/v1/namespaces/{}/events",
    "Node": "/api/v1/nodes",
    "Namespace": "/api/v1/namespaces",
}


class Cluster:
    """A namespace and a Node of a cluster, and requests to change them."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.namespace = f"ipvsctl-test-{secrets.token_hex(4)}"
        self.node_name = self.namespace
        self._made: list[str] = []

    async def ask(self, method: str, path: str, body: Raw | None = None) -> Any:
        """One request."""
        async with self.api.request(method, path, body=body) as answer:
            return msgspec.json.decode(await answer.read())

    def path(self, kind: str) -> str:
        """Where objects of a kind are."""
        return _PATHS[kind].format(self.namespace)

    async def create(self, raw: Raw) -> Any:
        """Create an object, in the namespace if its kind has one."""
        kind = raw["kind"]
        metadata = {k: v for k, v in raw["metadata"].items() if v is not None}
        if kind in {"Service", "EndpointSlice"}:
            metadata["namespace"] = self.namespace
        path = self.path(kind)
        made = await self.ask("POST", path, {**raw, "metadata": metadata})
        self._made.append(f"{path}/{metadata['name']}")
        return made

    async def change(self, raw: Raw, change: Callable[[Raw], None]) -> None:
        """Change an object as it is now."""
        path = f"{self.path(raw['kind'])}/{raw['metadata']['name']}"
        now = await self.ask("GET", path)
        change(now)
        await self.ask("PUT", path, now)

    async def delete(self, kind: str, name: str) -> None:
        """Delete an object."""
        await self.ask("DELETE", f"{self.path(kind)}/{name}")

    async def service(self, name: str = "web", **fields: Any) -> Any:
        """Create a Service whose cluster IP the server chooses."""
        raw = raw_service(name, **fields)
        del raw["spec"]["clusterIP"], raw["status"]
        return await self.create(raw)

    async def slice(self, *addresses: str, name: str = "web-a", **fields: Any) -> Any:
        """Create an EndpointSlice of `web`."""
        endpoints = [raw_endpoint(a, nodeName=self.node_name) for a in addresses]
        return await self.create(raw_slice(name, *endpoints, **fields))

    async def clear(self) -> None:
        """Remove everything, also where no controller does its part."""
        events = await self.ask("GET", self.path("Event"))
        named = [
            f"{self.path('Event')}/{e['metadata']['name']}" for e in events["items"]
        ]
        for path in (*named, *reversed(self._made)):
            with suppress(ApiError):
                await self.ask("DELETE", path)
        path = f"{_PATHS['Namespace']}/{self.namespace}"
        with suppress(ApiError):
            left = await self.ask("GET", path)
            left["spec"]["finalizers"] = []
            await self.ask("PUT", f"{path}/finalize", left)


@pytest.fixture(params=["fake", "real"] if REAL else ["fake"])
async def cluster(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Cluster]:
    """A cluster with a namespace and a Node."""
    async with FakeApiServer() as fake:
        path = Path(REAL)
        if request.param == "fake":
            path = fake.kubeconfig(tmp_path / "kubeconfig")
        made = Cluster(Api(Access(Address(kubeconfig=str(path)))))
        namespace = {"kind": "Namespace", "metadata": {"name": made.namespace}}
        await made.create({"apiVersion": "v1", **namespace})
        try:
            await made.create(raw_node(made.node_name, "192.0.2.10"))
            yield made
        finally:
            await made.clear()


class Reader:
    """Reads a source into a store in a task."""

    def __init__(self, cluster: Cluster, proxy_name: str = "") -> None:
        self._cluster = cluster
        self.store = Store(cluster.node_name)
        self._source = ApiSource(cluster.api, cluster.node_name, proxy_name)
        self._news = asyncio.Condition()
        self._task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async with aclosing(self._source.events()) as events:
            async for event in events:
                self.store.apply(event)
                async with self._news:
                    self._news.notify_all()

    async def __aenter__(self) -> Self:
        await self.until(lambda: self.store.is_synced)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for events until this is so."""
        async with asyncio.timeout(_LIMIT_S), self._news:
            await self._news.wait_for(is_so)

    @property
    def names(self) -> list[str]:
        """The Services of the namespace that are served, sorted."""
        return sorted(
            ref.name
            for ref, service in self.store.services.items()
            if ref.namespace == self._cluster.namespace and service.proxied
        )

    @property
    def endpoints(self) -> list[str]:
        """The endpoints of `web`, sorted."""
        pieces = self.store.slices_of(ObjectRef(self._cluster.namespace, "web"))
        return sorted(str(e.address) for piece in pieces for e in piece.endpoints)


async def test_first_state(cluster: Cluster) -> None:
    """What is there before is told first, and this node's Node is among it."""
    await cluster.service()
    await cluster.slice("198.51.100.1", "198.51.100.2")
    async with Reader(cluster) as reader:
        assert reader.names == ["web"]
        assert reader.endpoints == ["198.51.100.1", "198.51.100.2"]
        node = reader.store.nodes[cluster.node_name]
        assert node.zone == "zone-a"
        assert node.addresses == (parse_address("192.0.2.10"),)


async def test_changes(cluster: Cluster) -> None:
    """What is created, changed and deleted is told as it happens."""
    async with Reader(cluster) as reader:
        await cluster.service()
        piece = await cluster.slice("198.51.100.1")
        await reader.until(lambda: reader.names == ["web"])
        await reader.until(lambda: reader.endpoints == ["198.51.100.1"])

        def move(raw: Raw) -> None:
            raw["endpoints"][0]["addresses"] = ["198.51.100.7"]

        await cluster.change({**piece, "kind": "EndpointSlice"}, move)
        await reader.until(lambda: reader.endpoints == ["198.51.100.7"])
        await cluster.delete("EndpointSlice", "web-a")
        await cluster.delete("Service", "web")
        await reader.until(lambda: not reader.names and not reader.endpoints)


async def test_selection(cluster: Cluster) -> None:
    """A Service is another proxy's from the moment its label says so, and back."""
    label = "service.kubernetes.io/service-proxy-name"
    made = await cluster.service()
    await cluster.service("other", labels={label: "other"})
    await cluster.service("bare", labels={"service.kubernetes.io/headless": ""})

    def give_away(raw: Raw) -> None:
        raw["metadata"]["labels"] = {label: "other"}

    async with (
        Reader(cluster) as reader,
        Reader(cluster, proxy_name="other") as other,
    ):
        assert reader.names == ["web"]
        assert other.names == ["other"]
        await cluster.change({**made, "kind": "Service"}, give_away)
        await reader.until(lambda: reader.names == [])
        await other.until(lambda: other.names == ["other", "web"])


class Nobody:
    """Does not care how it goes."""

    def connected(self) -> None:
        """See `list_watch.Listener`."""

    def heard(self) -> None:
        """See `list_watch.Listener`."""


async def test_both_ways_to_list(cluster: Cluster) -> None:
    """A streaming list and pages tell the same objects."""
    await cluster.service()
    for number in range(5):
        await cluster.slice(f"198.51.100.{number}", name=f"web-{number}")
    found = []
    for can_stream in (True, False):
        watch = ListWatch(cluster.api, endpoint_slices(), Nobody())
        watch._can_stream = can_stream
        events = [event async for event in watch.objects()]
        (replaced,) = (event for event in events if isinstance(event, Replaced))
        found.append({r for r in replaced.refs if r.namespace == cluster.namespace})
    assert len(found[0]) == 5
    assert found[0] == found[1]


async def test_an_old_place(cluster: Cluster) -> None:
    """A watch from long ago goes on from there, or everything is listed anew."""
    await cluster.service()
    watch = ListWatch(cluster.api, services(), Nobody())
    watch._version = "1"
    ref = ObjectRef(cluster.namespace, "web")
    async with asyncio.timeout(_LIMIT_S):
        while True:
            try:
                async with aclosing(watch.events()) as events:
                    async for event in events:
                        if isinstance(event, Upserted) and event.ref == ref:
                            return
            except ApiError as error:
                if error.word != "expired":
                    raise


async def test_events(cluster: Cluster) -> None:
    """A problem is an Event that the server takes as it is."""
    made = await cluster.service()
    recorder = EventRecorder(cluster.api, cluster.node_name)
    problem = Problem(
        kind=Kind.SERVICE,
        ref=ObjectRef(cluster.namespace, "web"),
        field="spec.externalIPs[0]",
        value="192.0.2.10",
        reason="is the address of a Node",
    )
    node = Problem(
        kind=Kind.NODE,
        ref=ObjectRef("", cluster.node_name),
        field="status.addresses[0]",
        value="x",
        reason="not an address",
    )
    running = asyncio.ensure_future(recorder.run())
    recorder.tell((problem, node))
    async with asyncio.timeout(_LIMIT_S):
        while recorder.posted + recorder.dropped < 2:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait({running})
    assert recorder.posted == 2
    events = (await cluster.ask("GET", cluster.path("Event")))["items"]
    assert [e["regarding"]["uid"] for e in events] == [made["metadata"]["uid"]]
    assert events[0]["reason"] == "VIPRefused"
    path = _PATHS["Event"].format("default")
    mine = [
        event["metadata"]["name"]
        for event in (await cluster.ask("GET", path))["items"]
        if event["regarding"].get("name") == cluster.node_name
    ]
    assert len(mine) == 1
    await cluster.ask("DELETE", f"{path}/{mine[0]}")


async def test_to_the_kernel(cluster: Cluster) -> None:
    """The cluster IP that the server chose becomes a virtual server."""
    made = await cluster.service()
    await cluster.slice("198.51.100.1", "198.51.100.2")
    async with Reader(cluster) as reader:
        kernel = FakeKernel(host_addresses=[parse_address("192.0.2.10")])
        reconciler = Reconciler(kernel=kernel, config=ProxyConfig(), store=reader.store)
        reconciler.survey()
        reconciler.impose(reconciler.observe())
    state = kernel.observe().state
    address = parse_address(made["spec"]["clusterIP"])
    (key,) = (key for key in state.virtual_servers if key.address == address)
    assert sorted(str(real.address) for real in state.real_servers[key]) == [
        "198.51.100.1",
        "198.51.100.2",
    ]
