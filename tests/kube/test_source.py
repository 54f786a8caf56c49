"""`kube.source`: the whole way from an API server over HTTPS to the store."""

import asyncio
import time
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ipvsctl.cluster.events import Replaced, Synced
from ipvsctl.kube.connect.access import Access, Address
from ipvsctl.kube.source import ApiSource
from ipvsctl.kube.transport import Api
from ipvsctl.model.errors import ApiError
from ipvsctl.model.problem import Kind
from tests.builders import raw_endpoint, raw_lease, raw_node, raw_service, raw_slice
from tests.fakes.apiserver import (
    Alter,
    Cut,
    Door,
    Expire,
    FakeApiServer,
    Garble,
    Hang,
    Refuse,
    Streaming,
    When,
)
from tests.fakes.clock import FakeClock
from tests.kube.cluster import WEB, Watched, minutes, watched

WAYS = pytest.mark.parametrize("way", list(Streaming))


def lists(server: FakeApiServer, resource: str) -> int:
    """How often everything was asked for."""
    return sum(
        request.resource == resource
        and (request.verb == "list" or "sendInitialEvents" in request.query)
        and request.query.get("fieldSelector")
        not in {"metadata.name!=node-0", "metadata.name=kubernetes"}
        and "continue" not in request.query
        for request in server.requests
    )


def health_of(made: Watched, kind: Kind) -> Any:
    """How a watch is doing."""
    return next(h for h in made.source.health() if h.kind is kind)


@WAYS
async def test_first_state(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock, way: Streaming
) -> None:
    """Services, EndpointSlices and Nodes are told before `Synced`, on any server."""
    server.streaming = way
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        assert made.names == ["default/web"]
        assert made.endpoints == ["172.16.0.1", "172.16.1.1"]
        assert set(made.store.nodes) == {"node-0", "node-1"}
        assert made.events.count(Synced()) == 1
        assert all(h.is_complete and h.is_connected for h in made.source.health())


@WAYS
async def test_changes(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock, way: Streaming
) -> None:
    """What is added, changed and deleted later is told, without another list."""
    server.streaming = way
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        asked = lists(server, "endpointslices")
        server.put(raw_service("api"))
        server.put(raw_slice("web-a", raw_endpoint("172.16.0.7")))
        await made.until(lambda: made.endpoints == ["172.16.0.7"])
        await made.until(lambda: made.names == ["default/api", "default/web"])
        server.delete("Service", "api")
        server.delete("EndpointSlice", "web-a")
        await made.until(lambda: made.names == ["default/web"] and not made.endpoints)
        assert lists(server, "endpointslices") == asked


async def test_pages(server: FakeApiServer, kubeconfig: Path, clock: FakeClock) -> None:
    """Without streaming lists, they come 500 at a time."""
    server.streaming = Streaming.OFF
    for number in range(1001):
        server.put(raw_slice(f"web-{number:04}", raw_endpoint("172.16.0.1")))
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        assert len(made.store.slices_of(WEB)) == 1002
    pages = [
        request.query
        for request in server.requests
        if (request.verb, request.resource) == ("list", "endpointslices")
    ]
    assert [query["limit"] for query in pages] == ["500"] * 3
    assert ["continue" in query for query in pages] == [False, True, True]


async def test_expired_page(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """A list that expires between two pages is read in one piece instead."""
    server.streaming = Streaming.OFF
    for number in range(501):
        server.put(raw_slice(f"web-{number:04}", raw_endpoint("172.16.0.1")))
    server.script(
        When(fault=Expire(), verb="list", resource="endpointslices", skip=1, times=1)
    )
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        replaced = [e for e in made.events if isinstance(e, Replaced)]
        assert {len(e.refs) for e in replaced} == {1, 2, 502}
        assert health_of(made, Kind.ENDPOINT_SLICE).restarts == {}


async def test_selectors(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """Headless Services and those of other proxies are not asked for, nor slices."""
    label = "service.kubernetes.io/service-proxy-name"
    server.put(raw_service("mine", labels={label: "ipvsctl"}))
    server.put(raw_service("bare", labels={"service.kubernetes.io/headless": ""}))
    server.put(raw_slice("mine-a", service="mine", labels={label: "ipvsctl"}))
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        assert made.names == ["default/web"]
    async with watched(kubeconfig, clock, proxy_name="ipvsctl") as made:
        await made.synced()
        assert made.names == ["default/mine"]
        service = made.store.service(next(iter(made.store.services)))
        assert service is not None
        assert service.proxied
        assert len(made.store.slices_of(service.ref)) == 1


async def test_deletion_during_absence(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """What was deleted while nobody could be told is gone after the next list."""
    server.put(raw_service("api"))
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        await server.set_door(Door.REFUSED)
        server.delete("Service", "api")
        server.put(raw_service("new"))
        server.compact()
        await made.pass_time(3)
        assert made.names == ["default/api", "default/web"]
        await server.set_door(Door.OPEN)
        await made.until(lambda: made.names == ["default/new", "default/web"])
        assert health_of(made, Kind.SERVICE).restarts["expired"] >= 1


async def test_no_relist_after_an_end(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """A watch that was ended or broke off goes on where it was, and misses nothing."""
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        before = lists(server, "services")
        for name in ("a", "b", "c"):
            server.end_watches() if name == "a" else await server.restart()
            server.put(raw_service(name))
            await made.until(lambda name=name: f"default/{name}" in made.names)  # type: ignore[misc]  # binds the loop's variable
        assert lists(server, "services") == before


@WAYS
async def test_a_restored_backup(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock, way: Streaming
) -> None:
    """What was is again, at an older resource version: everything is listed anew."""
    server.streaming = way
    kept, revision = [raw_service("old"), raw_service("web")], server.store.revision
    server.load(kept, revision=revision)
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        server.delete("Service", "old")
        server.put(raw_service("new"))
        await made.until(lambda: made.names == ["default/new", "default/web"])
        await server.restore(
            [*kept, raw_node("node-0"), raw_node("node-1")], revision=revision
        )
        await made.until(lambda: made.names == ["default/old", "default/web"])
        server.put(raw_service("newer"))
        await made.until(lambda: "default/newer" in made.names)


async def test_late_server(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """A server that is there after a minute is found, and was not pestered."""
    await server.set_door(Door.REFUSED)
    async with watched(kubeconfig, clock) as made:
        await made.pass_time(60)
        assert not made.store.is_synced
        health = health_of(made, Kind.SERVICE)
        assert not health.is_connected
        assert health.since_s >= 60
        assert health.reason
        assert 3 <= health.restarts["connection_lost"] <= 20
        await server.set_door(Door.OPEN)
        await made.synced()
        assert made.endpoints == ["172.16.0.1", "172.16.1.1"]


async def test_restarting_server(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """A server that restarts every 5 s is followed, and asked a few times a minute."""
    async with watched(kubeconfig, clock) as made:
        for number in range(24):
            await made.pass_time(5)
            await server.restart(keeps_history=bool(number % 2))
            server.put(raw_service(f"s{number}"))
        await made.until(lambda: len(made.names) == 25 and made.store.is_synced)
    # Four lists and watches at most, each some ten times a minute.
    assert max(minutes(server)) < 60


async def test_expiry_of_every_second_watch(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """410 on every second watch: everything is told all the same, without haste."""
    server.script(When(fault=Expire(), verb="watch", every=2))
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        for number in range(8):
            server.end_watches()
            server.put(raw_service(f"s{number}"))
            await made.until(lambda n=number: f"default/s{n}" in made.names)  # type: ignore[misc]  # binds the loop's variable
        await made.pass_time(180)
    assert max(minutes(server)) < 60


@WAYS
async def test_cut_anywhere(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock, way: Streaming
) -> None:
    """Wherever a stream or a list breaks off, nothing is lost in the end."""
    server.streaming = way
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        for number, size in enumerate((0, 1, 7, 40, 150, 400, 900, 1500, 2500)):
            server.script(When(fault=Cut(after_bytes=size), times=3))
            await server.restart(keeps_history=number % 2 == 0)
            for name in (f"a{size}", f"b{size}"):
                server.put(raw_service(name))
            await made.until(lambda s=size: f"default/b{s}" in made.names)  # type: ignore[misc]  # binds the loop's variable
        assert len(made.names) == 19
        assert not made.broken


async def test_half_open(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """A connection on which nothing comes any more is given up."""
    server.script(When(fault=Hang(after_bytes=10), resource="services", times=2))
    async with watched(kubeconfig, clock, read_timeout_s=0.3) as made:
        await made.synced()
        assert health_of(made, Kind.SERVICE).restarts["timeout"] >= 2


async def test_broken_object(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """An object of wrong types is named and skipped; its last state stays in force."""
    server.put(raw_service("api"))
    server.script(When(fault=Alter(name="api", patch={"spec": {"ports": "none"}})))
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        assert made.names == ["default/web"]
        assert made.broken == ["default/api"]
        problem = made.store.problems()[0]
        assert (str(problem.ref), problem.field) == ("default/api", "spec.ports")
        server.put(raw_service("later"))
        await made.until(lambda: "default/later" in made.names)


async def test_garbage(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """What is no watch line ends the watch; everything is listed anew."""
    server.script(When(fault=Garble(after_lines=1), resource="services", times=2))
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        assert made.names == ["default/web"]
        assert health_of(made, Kind.SERVICE).restarts["garbage"] == 2


async def test_garbage_pages(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """So is a list that is none."""
    server.streaming = Streaming.OFF
    server.script(When(fault=Garble(), verb="list", resource="services", times=2))
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        assert health_of(made, Kind.SERVICE).restarts["garbage"] == 2


@pytest.mark.parametrize(
    ("code", "word"),
    [(429, "too_many_requests"), (500, "server_error"), (503, "server_error")],
)
async def test_overload(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock, code: int, word: str
) -> None:
    """The server's own word on when to come back is kept to."""
    refused = Refuse(code=code, retry_after_s=40)
    server.script(When(fault=refused, resource="services", times=2))
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        assert health_of(made, Kind.SERVICE).restarts == {word: 2}
    asked = [r.at_s for r in server.requests if r.resource == "services"]
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert min(pauses) >= 40
    assert max(pauses) < 90


async def test_forbidden_nodes(
    server: FakeApiServer,
    kubeconfig: Path,
    clock: FakeClock,
    log: list[dict[str, Any]],
) -> None:
    """Without the right to Nodes the rest is served, and the log says what lacks."""
    server.access.denied |= {("list", "nodes"), ("watch", "nodes")}
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        assert "go on without nodes" not in [entry["event"] for entry in log]
        await made.pass_time(300)
    assert any(
        entry["log_level"] == "warning"
        and entry.get("resource") == "nodes"
        and "forbidden" in str(entry["reason"])
        for entry in log
    )
    asked = [r for r in server.requests if r.resource == "nodes"]
    assert 4 < len(asked) < 2 * 300 / 30


async def test_silent_nodes(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """Nodes that do not come hold up the rest for half a minute, no longer."""
    server.script(When(fault=Hang(), resource="nodes"))
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        assert 30 <= clock.now_s < 60
        assert not made.store.nodes


async def test_forbidden_services(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """Nothing is complete without Services; they are asked for now and then."""
    server.access.denied |= {("list", "services"), ("watch", "services")}
    async with watched(kubeconfig, clock) as made:
        await made.pass_time(120)
        assert not made.store.is_synced
        server.access.denied.clear()
        await made.synced()
    assert sum(r.resource == "services" for r in server.requests) < 7


async def test_revoked_token(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """A token that is replaced in the file is used once the old one is refused."""
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        server.access.users.clear()
        await server.restart()
        await made.until(
            lambda: "unauthorized" in health_of(made, Kind.SERVICE).restarts
        )
        server.access.users["fresh"] = "system:node-proxier"
        server.token = "fresh"
        server.kubeconfig(kubeconfig)
        server.put(raw_service("api"))
        await made.until(lambda: "default/api" in made.names)


async def test_large_object(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """An object of several megabytes is one line of a watch like any other."""
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        server.put(raw_service("big", annotations={"note": "x" * 5_000_000}))
        await made.until(lambda: "default/big" in made.names)


async def test_other_nodes(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """This node's Node is watched, the others are listed every few minutes."""
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        server.put(raw_node("node-2", "10.0.0.12"))
        server.delete("Node", "node-1")
        server.delete("Node", "node-0")
        await made.until(lambda: "node-0" not in made.store.nodes)
        assert set(made.store.nodes) == {"node-1"}
        await made.pass_time(300)
        await made.until(lambda: set(made.store.nodes) == {"node-2"})
        assert clock.now_s < 2 * 361


async def test_offers_of_tunnels(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """They are watched; a Node that nobody knew of is asked for at once."""
    server.put(raw_lease("node-1"))
    async with watched(kubeconfig, clock, has_tunnel=True) as made:
        await made.synced()

        def offers() -> set[str]:
            return set(made.store.node_context().tunnel_offers)

        assert offers() == {"node-1"}
        server.put(raw_node("node-2", "10.0.0.12"))
        server.put(raw_lease("node-2", "10.0.0.12"))
        heard_s = clock.now_s
        await made.until(lambda: "node-2" in offers())
        assert clock.now_s - heard_s < 10
        server.delete("Lease", "node-1", namespace="ipvsctl-tunnels")
        await made.until(lambda: offers() == {"node-2"})
        server.delete("Node", "node-2")
        await made.pass_time(400)
        assert not offers()
        # Another one of that name.
        server.put(raw_node("node-2", "10.0.0.22"))
        server.put(raw_lease("node-2", "10.0.0.22"))
        heard_s = clock.now_s
        await made.until(lambda: "node-2" in offers())
        assert clock.now_s - heard_s < 10


async def test_offers_that_may_not_be_read(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """Everything else is served."""
    server.access.denied |= {("list", "leases"), ("watch", "leases")}
    async with watched(kubeconfig, clock, has_tunnel=True) as made:
        await made.synced()
        assert made.names == ["default/web"]
        assert "forbidden" in health_of(made, Kind.LEASE).reason


async def test_no_word_of_tunnels_where_there_are_none(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """Nobody asks for Leases."""
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        await made.pass_time(60)
    assert "leases" not in {request.resource for request in server.requests}


async def test_end_while_the_server_is_silent(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """It can be ended at once although nothing answers."""
    await server.set_door(Door.SILENT)
    async with watched(kubeconfig, clock) as made:
        await made.pass_time(5)
        begun = time.monotonic()
    # Whatever could be waited for takes ten seconds and more.
    assert time.monotonic() - begun < 8


async def test_impatient(server: FakeApiServer, kubeconfig: Path) -> None:
    """A command that reads once says at once why it cannot."""
    server.access.users.clear()
    source = ApiSource(_api(kubeconfig), "node-0", is_patient=False)
    async with asyncio.timeout(60), aclosing(source.events()) as events:
        with pytest.raises(ApiError, match="401: Unauthorized"):
            async for _ in events:
                pass


def _api(kubeconfig: Path) -> Api:
    return Api(Access(Address(kubeconfig=str(kubeconfig))))
