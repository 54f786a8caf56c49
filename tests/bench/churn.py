"""Endpoints that change all the time under the real loop, and audits meanwhile."""

import asyncio
import contextlib
import random
import time

from ipvsctl.cli import interpreter
from ipvsctl.cluster.store import Store
from ipvsctl.controller.loop import Loop
from ipvsctl.controller.observers import AuditDone, Nobody, SyncDone
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.worker import ThreadWorker
from ipvsctl.kernel.interface import Reading
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.state import NodeState
from ipvsctl.plan.union.node import sysctl_names
from tests.bench.cluster import NODE, raw_slice, virtual_server
from tests.bench.floor import node_netns
from tests.bench.sizes import Figures, Size
from tests.bench.source import BenchSource
from tests.lab.netns import inside

PER_SECOND = 200
FAST = 1_000
"""The same, of which is asked only whether it keeps up."""


class NotingKernel(LinuxKernel):
    """Notes when it is read in steps, which is when an audit begins."""

    began_s = 0.0

    def read_in_steps(self, likely: NodeState, *, has_rules: bool = True) -> Reading:
        """See `seam.Kernel`."""
        self.began_s = time.perf_counter()
        return super().read_in_steps(likely, has_rules=has_rules)


class Watcher(Nobody):
    """The loop's observer: says how long after its event each change was imposed."""

    def __init__(self) -> None:
        self.sent_s: dict[VirtualServerKey, float] = {}
        self.waits: list[tuple[float, float]] = []
        self.audits: list[tuple[float, float]] = []
        self.first = asyncio.Event()
        self._told = asyncio.Event()
        self.kernel: NotingKernel | None = None

    async def audited(self, done: AuditDone) -> None:
        """See `Observer`."""
        if done.is_first:
            interpreter.settle()
            self.first.set()
        elif self.kernel is not None:
            self.audits.append((self.kernel.began_s, time.perf_counter()))

    async def synced(self, done: SyncDone) -> None:
        """See `Observer`."""
        now = time.perf_counter()
        self._told.set()
        for key in done.change.keys:
            begun = self.sent_s.pop(key, None)
            if begun is not None:
                self.waits.append((begun, now - begun))

    async def next_sync(self) -> None:
        """Return after the next sync."""
        self._told.clear()
        await self._told.wait()

    async def wait_for_all(self) -> None:
        """Return when no event waits any more."""
        while self.sent_s:
            await self.next_sync()


def measure(size: Size, seconds: float, per_second: int = PER_SECOND) -> Figures:
    """Latencies in seconds and shares of one CPU, with so many changes a second."""
    with node_netns("churn") as netns, inside(netns), interpreter.held_back():
        kernel = NotingKernel.open(
            vip_link=size.config.vip_link, sysctl_names=sysctl_names()
        )
        try:
            reconciler = Reconciler(
                kernel=kernel, config=size.config, store=Store(NODE)
            )
            count = int(per_second * seconds)
            return asyncio.run(_measure(kernel, reconciler, size, seconds, count))
        finally:
            kernel.close()


async def _measure(
    kernel: NotingKernel,
    reconciler: Reconciler,
    size: Size,
    seconds: float,
    count: int,
) -> Figures:
    source, watcher = BenchSource(size), Watcher()
    watcher.kernel = kernel
    worker = ThreadWorker()
    loop = Loop(
        reconciler=reconciler,
        worker=worker,
        source=source,
        config=size.config,
        observer=watcher,
    )
    running = asyncio.create_task(_run(loop, worker))
    first = asyncio.create_task(watcher.first.wait())
    await asyncio.wait({running, first}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        await running
    # Everything idle: what audits alone cost.
    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(size.config.sync_period_s + 10)
    idle_share = (time.process_time() - cpu) / (time.perf_counter() - begun)
    idle_audits = list(watcher.audits)
    numbers = range(size.large, size.services)
    servers = [virtual_server(number) for number in numbers]
    prepared = [
        raw_slice(number, size.endpoints, spare=spare)
        for spare in (True, False)
        for number in numbers[:count]
    ]
    begun, cpu = time.perf_counter(), time.process_time()
    # By chance: at a steady beat, ticks by which a guest counts CPU time would see the
    # process always at work, or never.
    chance = random.Random(1)
    dues = sorted(begun + chance.uniform(0, seconds) for _ in range(count))
    for number, due in enumerate(dues):
        late = due - time.perf_counter()
        if late > 0:
            await asyncio.sleep(late)
        key = servers[number % len(servers)]
        watcher.sent_s[key] = due
        source.feed.put_nowait(prepared[number % len(prepared)])
    fed_s = time.perf_counter() - begun
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(watcher.wait_for_all(), seconds)
    took_s, used_s = time.perf_counter() - begun, time.process_time() - cpu
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    audits = watcher.audits[len(idle_audits) :]
    during = [
        wait
        for sent, wait in watcher.waits
        if any(start <= sent <= end for start, end in audits)
    ]
    waits = sorted(wait for _, wait in watcher.waits)
    return {
        "churn, events": count,
        "churn, lost": len(watcher.sent_s),
        "churn, seconds": fed_s,
        "churn, rate": count / took_s,
        "churn, median": _part(waits, 0.5),
        "churn, p99": _part(waits, 0.99),
        "churn, worst": _part(waits, 1),
        "churn, CPU": used_s / took_s,
        "churn, syncs": loop.state.syncs,
        "audit, idle seconds": sum(e - b for b, e in idle_audits) / len(idle_audits),
        "audit, CPU": idle_share,
        "audit, events": len(during),
        "audit, median": _part(sorted(during), 0.5),
        "audit, p99": _part(sorted(during), 0.99),
        "audit, worst": _part(sorted(during), 1),
    }


async def _run(loop: Loop, worker: ThreadWorker) -> None:
    async with worker.running():
        await loop.run()


def _part(ordered: list[float], share: float) -> float:
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
