"""What the daemon answers over HTTP, as it is at different moments."""

import asyncio
import json
import threading
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from ipvsctl.cluster.config.config_file import parse_config
from ipvsctl.cluster.events import Invalid
from ipvsctl.cluster.store import Store
from ipvsctl.controller.gauges import Gauges
from ipvsctl.controller.http_routes import HttpRoutes
from ipvsctl.controller.loop import Loop
from ipvsctl.controller.observers import Nobody
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.worker import ThreadWorker, Worker
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.net import IPFamily
from ipvsctl.model.parts import Part
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.source_state import SourceState
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.watch_health import WatchHealth
from ipvsctl.plan.diff.ops import Plan, Report
from ipvsctl.serve.metrics import CONTENT_TYPE, Metrics
from ipvsctl.serve.probes import Health, healthz, livez
from tests.builders import node
from tests.cluster.test_store import put
from tests.controller.cluster import FIRST, ListSource
from tests.fakes.clock import FakeClock
from tests.fakes.inline import InlineWorker
from tests.fakes.kernel import FakeKernel
from tests.serve.test_metrics import samples


class LostSource(ListSource):
    """A source whose server is away."""

    def health(self) -> tuple[WatchHealth, ...]:
        """See `Source`."""
        lost = WatchHealth(
            kind=Kind.SERVICE,
            is_complete=True,
            is_connected=False,
            since_s=12.34,
            heard_s=13.0,
            reason="connection refused",
        )
        return (lost,)


class World:
    """HttpRoutes of a loop that stands still."""

    def __init__(
        self, kernel: FakeKernel | None = None, worker: Worker | None = None
    ) -> None:
        self.clock = FakeClock()
        self.clock.advance(1000.5)
        self.store = Store("node-0")
        self.config = ProxyConfig(masquerade_all=True)
        self.metrics = Metrics()
        self.reconciler = reconciler = Reconciler(
            kernel=kernel or FakeKernel(),
            config=self.config,
            store=self.store,
            clock=self.clock,
        )
        source = LostSource(FIRST)
        self.loop = Loop(
            reconciler=reconciler,
            worker=worker or InlineWorker(),
            source=source,
            config=self.config,
            observer=Nobody(),
            sleep=self.clock.sleep,
            clock=self.clock,
            wall_clock=self.clock,
        )
        self.endpoints = HttpRoutes(
            loop=self.loop,
            store=self.store,
            source=source,
            config=self.config,
            metrics=self.metrics,
            gauges=Gauges(self.metrics, self.loop, reconciler, self.store),
            clock=self.clock,
        )

    async def probe(self, path: str) -> tuple[int, Mapping[str, Any]]:
        """Status and body."""
        answer = await self.endpoints.probes[path]()
        assert answer.content_type == "application/json"
        assert isinstance(answer.body, bytes)
        return answer.status, json.loads(answer.body)


@pytest.fixture
def world() -> World:
    """A daemon that has just started."""
    return World()


LIMIT_S = 60
NOW = "1970-01-01T00:16:40.500000Z"


async def test_a_daemon_that_starts(world: World) -> None:
    """It is alive and healthy, as in kube-proxy, and not ready yet."""
    assert await world.probe("/healthz") == (
        200,
        {"lastUpdated": NOW, "currentTime": NOW, "nodeEligible": True},
    )
    assert await world.probe("/livez") == (
        200,
        {"lastUpdated": NOW, "currentTime": NOW},
    )
    status, body = await world.probe("/readyz")
    assert (status, body["ready"]) == (503, False)


async def test_a_daemon_whose_server_is_away(world: World) -> None:
    """It serves what it knows, and is ready; the detail says what is wrong."""
    world.loop.state.synced = True
    status, body = await world.probe("/readyz")
    assert status == 200
    assert body["source"] == "a list"
    assert body["watches"] == [
        {
            "kind": "Service",
            "complete": True,
            "connected": False,
            "sinceSeconds": 12.3,
            "heardSecondsAgo": 13.0,
            "reason": "connection refused",
        }
    ]
    assert body["sourceHeardSecondsAgo"] == 13.0
    assert body["sourceFresh"] is True
    assert body["sourceError"] == "connection refused"
    assert (body["notKnown"], body["deletionsHeld"]) == ([], False)


async def test_a_daemon_over_broken_input(world: World) -> None:
    """It serves what it can, and is ready; the detail names what it cannot read."""
    world.loop.state.synced = True
    file = ObjectRef("", "/m/b.yaml")
    problem = Problem(
        kind=Kind.MANIFEST, ref=file, field="", value="", reason="is no YAML"
    )
    broken = Invalid(kind=Kind.MANIFEST, ref=file, problems=(problem, problem))
    world.reconciler.take_event(broken)
    world.reconciler.prepare()
    status, body = await world.probe("/readyz")
    assert status == 200
    assert body["notKnown"] == ["Manifest /m/b.yaml: is no YAML (and 1 more)"]
    assert body["deletionsHeld"] is True
    answer = await world.endpoints.scrapes["/metrics"]()
    assert isinstance(answer.body, bytes)
    assert b"\nipvsctl_input_unread 1.0\n" in answer.body
    assert b"\nipvsctl_deletions_held 1.0\n" in answer.body
    assert b"\nipvsctl_source_age_seconds 13.0\n" in answer.body
    for number in range(100):
        other = msgspec.structs.replace(broken, ref=ObjectRef("", f"/m/{number}.yaml"))
        world.reconciler.take_event(other)
    _, body = await world.probe("/readyz")
    assert len(body["notKnown"]) == 21
    assert body["notKnown"][-1] == "and 81 more that cannot be read"


@pytest.mark.parametrize("part", Part)
async def test_a_part_that_is_not_read_any_more(part: Part, world: World) -> None:
    """Not ready after three periods, not alive after ten: a new process may do better.

    But for the parts that no client needs.
    """
    state, period_s = world.loop.state, world.config.sync_period_s
    state.begin()
    state.audited(Observed(state=ALL_RULES), 0)
    assert await statuses(world) == (200, 200)
    world.clock.advance(2 * period_s)
    state.audited(Observed(state=ALL_RULES, unread={part: "EIO"}), 0)
    world.clock.advance(period_s)
    assert await statuses(world) == (200, 200)
    world.clock.advance(0.1)
    assert await statuses(world) == (503 if part.is_needed else 200, 200)
    _, body = await world.probe("/readyz")
    assert body["kernelReadSecondsAgo"] == {
        each: 3 * period_s + 0.1 if each is part else period_s + 0.1 for each in Part
    }
    world.clock.advance(7 * period_s - 0.1)
    state.audited(Observed(state=ALL_RULES, unread={part: "EIO"}), 0)
    assert (await statuses(world))[1] == 200
    world.clock.advance(0.1)
    assert (await statuses(world))[1] == (503 if part.is_needed else 200)
    state.audited(Observed(state=ALL_RULES), 0)
    assert await statuses(world) == (200, 200)


async def test_a_daemon_that_could_read_nothing_yet(world: World) -> None:
    """It is alive for five minutes, however short the period is."""
    world.loop.state.begin()
    world.clock.advance(300)
    assert await statuses(world) == (503, 200)
    world.clock.advance(0.1)
    assert await statuses(world) == (503, 503)


async def statuses(world: World) -> tuple[int, int]:
    """Of `/readyz` and `/livez`."""
    return (await world.probe("/readyz"))[0], (await world.probe("/livez"))[0]


ALL_RULES = NodeState(chains={family: {} for family in IPFamily})


async def test_a_node_that_leaves(world: World) -> None:
    """Load balancers are told; a restart would not help."""
    world.store.apply(put(node("node-1", is_leaving=True)))
    assert (await world.probe("/healthz"))[0] == 200
    world.store.apply(put(node("node-0", is_leaving=True)))
    status, body = await world.probe("/healthz")
    assert (status, body["nodeEligible"]) == (503, False)
    assert (await world.probe("/livez"))[0] == 200


async def test_probes_are_counted(world: World) -> None:
    """By code."""
    await world.probe("/healthz")
    world.store.apply(put(node("node-0", is_leaving=True)))
    await world.probe("/healthz")
    await world.probe("/livez")
    found = samples(world.metrics)
    assert found["kubeproxy_proxy_healthz_total", ("200",)] == 1
    assert found["kubeproxy_proxy_healthz_total", ("503",)] == 1
    assert found["kubeproxy_proxy_livez_total", ("200",)] == 1


@pytest.mark.parametrize("path", ["/healthz", "/livez"])
def test_a_daemon_that_is_late(path: str) -> None:
    """Neither healthy nor alive, with the time of what was imposed last."""
    late = Health(
        is_healthy=False,
        is_ready=True,
        is_node_leaving=False,
        imposed_at_s=900,
        now_s=1000.5,
        source=SourceState(description="a list"),
    )
    answer = {"/healthz": healthz, "/livez": livez}[path](late)
    assert answer.status == 503
    assert isinstance(answer.body, bytes)
    body = json.loads(answer.body)
    assert body["lastUpdated"] == "1970-01-01T00:15:00Z"
    assert body["currentTime"] == NOW


async def test_scrapes(world: World) -> None:
    """Metrics as text, the mode, and that the server is there."""
    answer = await world.endpoints.scrapes["/metrics"]()
    assert answer.headers["Content-Type"] == CONTENT_TYPE
    assert isinstance(answer.body, bytes)
    assert b"\nipvsctl_ready 0.0\n" in answer.body
    assert b'\nipvsctl_watch_connected{kind="Service"} 0.0\n' in answer.body
    for path, text in (("/proxyMode", "ipvs"), ("/healthz", "ok")):
        assert (await world.endpoints.scrapes[path]()).text == text


async def test_configz(world: World) -> None:
    """The settings in force, under kube-proxy's name for them."""
    answer = await world.endpoints.scrapes["/configz"]()
    assert isinstance(answer.body, bytes)
    document = json.loads(answer.body)["kubeproxy.config.k8s.io"]
    assert document["mode"] == "ipvs"
    assert parse_config(json.dumps(document), "configz") == (world.config, ())


class HangingKernel(FakeKernel):
    """Somebody holds a lock, and a call waits for it: the first one that writes."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = threading.Event()
        self.is_free = threading.Event()

    def apply(self, plan: Plan) -> Report:
        """See `Kernel`."""
        self.hangs.set()
        assert self.is_free.wait(LIMIT_S)
        return super().apply(plan)


async def test_a_call_to_the_kernel_that_hangs() -> None:
    """Probes and scrapes are answered meanwhile, and tell how things are."""
    kernel = HangingKernel()
    async with asyncio.timeout(LIMIT_S), ThreadWorker().running() as worker:
        world = World(kernel, worker)
        running = asyncio.ensure_future(world.loop.run())
        try:
            assert await asyncio.to_thread(kernel.hangs.wait, LIMIT_S)
            for path in ("/healthz", "/livez", "/readyz"):
                await world.probe(path)
            scraped = await world.endpoints.scrapes["/metrics"]()
            assert isinstance(scraped.body, bytes)
            assert b"ipvsctl_ready 0" in scraped.body
            assert not running.done()
        finally:
            running.cancel()
            kernel.is_free.set()
            await asyncio.gather(running, return_exceptions=True)
