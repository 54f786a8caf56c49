"""How long changes of other Services wait while something floods a node.

Their endpoints change all the time, by chance, under the real loop and kernel, and
`/livez` is asked from another process.
"""

import asyncio
import contextlib
import json
import logging
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import structlog
from structlog.typing import EventDict, WrappedLogger

from ipvsctl.cli import interpreter
from ipvsctl.cluster.events import Event
from ipvsctl.cluster.objects.parse import parse_object
from ipvsctl.cluster.store import Store
from ipvsctl.controller.gauges import Gauges
from ipvsctl.controller.http_routes import HttpRoutes
from ipvsctl.controller.loop import Loop
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.worker import ThreadWorker
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.problem import Kind
from ipvsctl.plan.union.node import sysctl_names
from ipvsctl.serve.metrics import Metrics
from tests.bench.churn import NotingKernel, Watcher
from tests.bench.cluster import NODE, raw_slice, virtual_server
from tests.bench.floor import node_netns
from tests.bench.sizes import Figures, Size
from tests.bench.source import BenchSource
from tests.lab.netns import inside

PER_SECOND = 50

_LEAST_S = 1.0
"""For so long others are looked at, however soon a flood is over."""

Flood = Callable[[asyncio.Queue[Event | bytes]], Awaitable[None]]
"""Tells events, and returns when it has told the last one."""


def at_once(*events: Event) -> Flood:
    """These events, all at once."""

    async def tell(feed: asyncio.Queue[Event | bytes]) -> None:
        for event in events:
            feed.put_nowait(event)

    return tell


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


def measure_others(
    name: str, size: Size, seconds: float, phases: Mapping[str, Sequence[Flood]]
) -> Figures:
    """What others wait in each phase, and `/livez` in all of them, in seconds.

    Args:
        name: stands before that of each figure.
        size: of the cluster that there is.
        seconds: how much time there is to look.
        phases: in their order, each of floods that follow one another as soon as what
            the one before told is in the kernel; without any nothing else happens.
    """
    lines = _Lines()
    structlog.configure(
        processors=[lines],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    with node_netns(name) as netns, inside(netns), interpreter.held_back():
        netns.link_up("lo")
        kernel = NotingKernel.open(
            vip_link=size.config.vip_link, sysctl_names=sysctl_names()
        )
        store = Store(NODE)
        try:
            reconciler = Reconciler(kernel=kernel, config=size.config, store=store)
            figures = asyncio.run(_measure(reconciler, store, size, seconds, phases))
        finally:
            kernel.close()
    return {
        **{f"{name}, {figure}": value for figure, value in figures.items()},
        f"{name}, warnings": lines.count,
    }


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

    async def phase(self, floods: Sequence[Flood]) -> tuple[float, list[float]]:
        """How long a flood takes, the median of them, and how long others meanwhile."""
        self._watcher.waits.clear()
        took = []
        for flood in floods:
            begun = time.perf_counter()
            await flood(self.source.feed)
            await self.settle()
            took.append(time.perf_counter() - begun)
        await asyncio.sleep(_LEAST_S - sum(took))
        await self._watcher.wait_for_all()
        return statistics.median(took), sorted(w for _, w in self._watcher.waits)


async def _measure(
    reconciler: Reconciler,
    store: Store,
    size: Size,
    seconds: float,
    phases: Mapping[str, Sequence[Flood]],
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
        for name, floods in phases.items():
            if not floods:
                await asyncio.sleep(seconds / 10)
                watcher.waits.clear()
                await asyncio.sleep(seconds / 6)
                waits = sorted(wait for _, wait in watcher.waits)
            else:
                figures[f"{name}, seconds"], waits = await world.phase(floods)
            figures[f"{name}, others"] = len(waits)
            figures[f"{name}, median"] = waits[len(waits) // 2]
            figures[f"{name}, p99"] = waits[min(len(waits) - 1, len(waits) * 99 // 100)]
            figures[f"{name}, worst"] = waits[-1]
        told, _ = await probe.communicate(b"\n")
    for name, value in json.loads(told).items():
        figures[f"livez, {name}"] = value
    return figures


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
