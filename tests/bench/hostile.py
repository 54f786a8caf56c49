"""Two Services that want 20,000 virtual servers each, the same ones, and all others.

Each is an object of some 32 KB: 1,000 ports, 20 external IPs. They come, one endpoint
of theirs changes, and they go, while endpoints of other Services change all the time
and `/livez` is asked from another process.
"""

import asyncio
import contextlib
import json
import logging
import random
import sys
import time
from collections.abc import AsyncIterator

import structlog
from structlog.typing import EventDict, WrappedLogger

from ipvsctl.cli import interpreter
from ipvsctl.cluster.events import Deleted, Event
from ipvsctl.cluster.objects.parse import parse_object
from ipvsctl.cluster.store import Store
from ipvsctl.controller.gauges import Gauges
from ipvsctl.controller.http_routes import HttpRoutes
from ipvsctl.controller.loop import Loop
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.worker import ThreadWorker
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.problem import Kind, ObjectRef
from ipvsctl.plan.union.node import sysctl_names
from ipvsctl.serve.metrics import Metrics
from tests import builders
from tests.bench.churn import NotingKernel, Watcher
from tests.bench.cluster import NODE, raw_slice, virtual_server
from tests.bench.floor import node_netns
from tests.bench.sizes import Figures, Size
from tests.bench.source import BenchSource
from tests.lab.netns import inside

PER_SECOND = 50
PORTS = 1000
ADDRESSES = 20
ENDPOINTS = 3
NAMES = ("mallory-a", "mallory-b")


def raw_pair(number: int) -> bytes:
    """One of the two Services."""
    ports = [
        {"name": f"p{port}", "port": port, "targetPort": port}
        for port in range(1000, 1000 + PORTS)
    ]
    return builders.to_json(
        builders.raw_service(
            NAMES[number],
            namespace="mallory",
            clusterIP=f"10.111.0.{number + 1}",
            externalIPs=[f"203.0.113.{place + 1}" for place in range(ADDRESSES)],
            ports=ports,
        )
    )


def raw_pair_slice(number: int, endpoints: int = ENDPOINTS) -> bytes:
    """Its endpoints, each with all ports."""
    found = [
        builders.raw_endpoint(f"10.120.{number}.{place + 1}", nodeName="node-1")
        for place in range(endpoints)
    ]
    ports = [
        {"name": f"p{port}", "port": port, "protocol": "TCP"}
        for port in range(1000, 1000 + PORTS)
    ]
    return builders.to_json(
        builders.raw_slice(
            f"{NAMES[number]}-abcde",
            *found,
            service=NAMES[number],
            namespace="mallory",
            ports=ports,
        )
    )


class _Lines:
    """Counts warnings; nothing is written."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(
        self, _logger: WrappedLogger, method: str, _event: EventDict
    ) -> EventDict:
        """See structlog's processors."""
        self.count += method == "warning"
        raise structlog.DropEvent


def measure(size: Size, seconds: float) -> Figures:
    """Latencies in seconds."""
    lines = _Lines()
    structlog.configure(
        processors=[lines],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    with node_netns("hostile") as netns, inside(netns), interpreter.held_back():
        netns.link_up("lo")
        kernel = NotingKernel.open(
            vip_link=size.config.vip_link, sysctl_names=sysctl_names()
        )
        store = Store(NODE)
        try:
            reconciler = Reconciler(kernel=kernel, config=size.config, store=store)
            figures = asyncio.run(_measure(reconciler, store, size, seconds))
        finally:
            kernel.close()
    return {**figures, "hostile, warnings": lines.count}


class _World:
    """The loop, and those who change Services under it."""

    def __init__(
        self, loop: Loop, reconciler: Reconciler, source: BenchSource, watcher: Watcher
    ) -> None:
        self.loop = loop
        self.source = source
        self._reconciler = reconciler
        self._watcher = watcher

    async def settle(self) -> None:
        """Return when everything that was told is in the kernel."""
        while not self._is_settled():
            await self._watcher.next_sync()

    def _is_settled(self) -> bool:
        return (
            self.source.feed.empty()
            and self.loop.pending_s() is None
            and not self._reconciler.has_parts
            and not self._reconciler.has_large
            and not self._reconciler.unfinished
        )

    async def change_others(self, size: Size) -> None:
        """Endpoints of all other Services change, by chance, until cancelled."""
        chance = random.Random(1)
        due = time.perf_counter()
        for round_ in range(1000):
            for number in range(size.services):
                due += chance.expovariate(PER_SECOND)
                late = due - time.perf_counter()
                if late > 0:
                    await asyncio.sleep(late)
                raw = raw_slice(number, size.endpoints, spare=round_ % 2 == 0)
                self._watcher.sent_s[virtual_server(number)] = due
                event = parse_object(Kind.ENDPOINT_SLICE, raw)
                self.source.feed.put_nowait(event)

    async def phase(self, *events: Event) -> tuple[float, list[float]]:
        """How long some events take, and how long others meanwhile."""
        self._watcher.waits.clear()
        begun = time.perf_counter()
        for event in events:
            self.source.feed.put_nowait(event)
        await asyncio.sleep(0.1)
        await self.settle()
        took = time.perf_counter() - begun
        await self._watcher.wait_for_all()
        return took, sorted(wait for _, wait in self._watcher.waits)


async def _measure(
    reconciler: Reconciler, store: Store, size: Size, seconds: float
) -> Figures:
    source, watcher = BenchSource(size), Watcher()
    worker = ThreadWorker()
    loop = Loop(
        reconciler=reconciler,
        worker=worker,
        source=source,
        config=size.config,
        observer=watcher,
    )
    world = _World(loop, reconciler, source, watcher)
    gone = [
        Deleted(kind=kind, ref=ObjectRef("mallory", f"{name}{suffix}"))
        for name in NAMES
        for kind, suffix in ((Kind.SERVICE, ""), (Kind.ENDPOINT_SLICE, "-abcde"))
    ]
    come = [
        parse_object(kind, raw)
        for number in range(2)
        for kind, raw in (
            (Kind.SERVICE, raw_pair(number)),
            (Kind.ENDPOINT_SLICE, raw_pair_slice(number)),
        )
    ]
    one_more = raw_pair_slice(0, ENDPOINTS + 1)
    phases: dict[str, tuple[Event, ...]] = {
        "alone": (),
        "they come": tuple(come),
        "one endpoint": (parse_object(Kind.ENDPOINT_SLICE, one_more),),
        "they are there": (),
        "they go": tuple(gone),
    }
    figures: Figures = {}
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(worker.running())
        probe = await stack.enter_async_context(
            _probed(loop, store, source, size.config, reconciler)
        )
        running = asyncio.create_task(loop.run())
        stack.push_async_callback(_end, running)
        first = asyncio.create_task(watcher.first.wait())
        await asyncio.wait({running, first}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        others = asyncio.create_task(world.change_others(size))
        stack.push_async_callback(_end, others)
        for name, events in phases.items():
            if not events:
                await asyncio.sleep(seconds / 10)
            took, waits = await world.phase(*events)
            if not events:
                await asyncio.sleep(seconds / 6)
                waits = sorted(wait for _, wait in watcher.waits)
            figures[f"{name}, seconds"] = took if events else float("nan")
            figures[f"{name}, others"] = len(waits)
            figures[f"{name}, median"] = waits[len(waits) // 2]
            figures[f"{name}, p99"] = waits[min(len(waits) - 1, len(waits) * 99 // 100)]
            figures[f"{name}, worst"] = waits[-1]
        told, _ = await probe.communicate(b"\n")
    for name, value in json.loads(told).items():
        figures[f"livez, {name}"] = value
    return {f"hostile, {name}": value for name, value in figures.items()}


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def _probed(
    loop: Loop,
    store: Store,
    source: BenchSource,
    config: ProxyConfig,
    reconciler: Reconciler,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The daemon's own HTTP servers, and somebody who asks `/livez`."""
    metrics = Metrics()
    endpoints = HttpRoutes(
        loop=loop,
        store=store,
        source=source,
        config=config,
        metrics=metrics,
        gauges=Gauges(metrics, loop, reconciler, store),
    )
    port = config.serve.healthz.port
    async with endpoints.served():
        words = (sys.executable, "-m", "tests.bench.prober", str(port))
        pipe = asyncio.subprocess.PIPE
        yield await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe)
