"""How long the event loop is not back, and how long events wait, under a whole daemon.

A task that does nothing but sleep for a millisecond notes how much longer that took.
It does so in an idle loop (the floor), while the first state comes in and is imposed,
while an audit runs, while everything is compiled anew since the host has another
address, and while clients ask for `status` and `diff`; during the last, endpoints
change too.
"""

import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Final

import structlog
from structlog.typing import EventDict, WrappedLogger

from ipvsctl.cli import interpreter
from ipvsctl.cli.run import Daemon, serve
from ipvsctl.cluster.store import Store
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.plan.diff.ops import AddRealServer, DeleteRealServer, Plan, Report
from ipvsctl.plan.union.node import sysctl_names
from tests.bench.cluster import NODE, raw_slice, virtual_server
from tests.bench.floor import node_netns
from tests.bench.sizes import Figures, Size
from tests.bench.source import BenchSource
from tests.lab.netns import Netns, inside

ASKERS: Final = 20
PER_SECOND: Final = 20
_NAP_S: Final = 0.001


class _Kernel(LinuxKernel):
    """Notes when a change of endpoints has been imposed.

    Attributes:
        sent_s: when the change of a virtual server was told.
        waits: for how long each was waited for.
    """

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]  # as given
        self.sent_s: dict[VirtualServerKey, float] = {}
        self.waits: list[float] = []

    def apply(self, plan: Plan) -> Report:
        """See `Kernel`."""
        report = super().apply(plan)
        now = time.perf_counter()
        for op in plan:
            if isinstance(op, AddRealServer | DeleteRealServer):
                sent_s = self.sent_s.pop(op.virtual_server, None)
                if sent_s is not None:
                    self.waits.append(now - sent_s)
        return report


class _Lag:
    """How much longer naps took than they should."""

    def __init__(self) -> None:
        self._naps: list[float] = []

    async def run(self) -> None:
        """Nap until cancelled."""
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(_NAP_S)
            self._naps.append(time.perf_counter() - begun - _NAP_S)

    def take(self) -> list[float]:
        """Since the last call, sorted."""
        naps, self._naps = self._naps, []
        return sorted(naps) or [float("nan")]


def measure(size: Size, seconds: float) -> Figures:
    """Lags and latencies in seconds."""
    structlog.configure(processors=[_drop], cache_logger_on_first_use=False)
    with (
        node_netns("looplag") as netns,
        inside(netns),
        interpreter.held_back(),
        interpreter.frequent_switches(),
        tempfile.TemporaryDirectory() as scratch,
    ):
        netns.link_up("lo")
        kernel = _Kernel.open(
            vip_link=size.config.vip_link, sysctl_names=sysctl_names()
        )
        try:
            socket = Path(scratch) / "ipvsctl.sock"
            return asyncio.run(_measure(kernel, size, seconds, socket, netns))
        finally:
            kernel.close()


def _drop(_logger: WrappedLogger, _method: str, _event: EventDict) -> EventDict:
    raise structlog.DropEvent


async def _measure(
    kernel: _Kernel, size: Size, seconds: float, socket: Path, netns: Netns
) -> Figures:
    lag = _Lag()
    napping = asyncio.create_task(lag.run())
    await asyncio.sleep(min(3, seconds / 6))
    figures: Figures = _lags("floor", lag.take())
    source = BenchSource(size)
    daemon = Daemon(kernel=kernel, store=Store(NODE), config=size.config, source=source)
    state = daemon.loop.state

    async def phases() -> None:
        await _until_audited(daemon, 1)
        figures.update(_lags("start", lag.take()))
        for name in ("audit", "addresses"):
            await asyncio.sleep(1)
            if name == "addresses":
                address = IPv4Interface("10.0.0.77/24")
                await asyncio.to_thread(netns.add_address, "uplink", address)
            lag.take()
            daemon.loop.want_audit()
            await _until_audited(daemon, state.audits + 1)
            figures.update(_lags(name, lag.take()))
        await asyncio.sleep(1)
        for name, askers in (("alone", 0), ("asked", ASKERS)):
            lag.take()
            kernel.waits.clear()
            async with _asked(socket, askers) as found:
                await _change(source, kernel, size, seconds / 2, spare=not askers)
            figures.update(found)
            figures.update(_lags(name, lag.take()))
            figures.update(_parts(f"{name}, event", sorted(kernel.waits)))
            figures[f"{name}, event, lost"] = len(kernel.sent_s)

    running = asyncio.ensure_future(phases())
    await serve(daemon, socket, lambda: asyncio.wait({running}))
    await running
    napping.cancel()
    return {f"looplag, {name}": value for name, value in figures.items()}


async def _until_audited(daemon: Daemon, times: int) -> None:
    while daemon.loop.state.audits < times:  # noqa: ASYNC110  # nothing else tells
        await asyncio.sleep(0.05)


async def _change(
    source: BenchSource, kernel: _Kernel, size: Size, seconds: float, *, spare: bool
) -> None:
    """Endpoints change by chance; then those not imposed yet are waited for.

    Each Service has its spare endpoint first, or first loses it.
    """
    chance = random.Random(1)
    due = begun = time.perf_counter()
    number = 0
    while due < begun + seconds:
        late = due - time.perf_counter()
        if late > 0:
            await asyncio.sleep(late)
        place = number % size.services
        is_spare = ((number // size.services) % 2 == 0) is spare
        kernel.sent_s[virtual_server(place)] = due
        source.feed.put_nowait(raw_slice(place, size.endpoints, spare=is_spare))
        due += chance.expovariate(PER_SECOND)
        number += 7
    await asyncio.sleep(1)


@contextlib.asynccontextmanager
async def _asked(socket: Path, count: int) -> AsyncIterator[Figures]:
    """So many clients ask during the block; what they have met is there after it."""
    found: Figures = {}
    if not count:
        yield found
        return
    pipe = asyncio.subprocess.PIPE
    words = (sys.executable, "-m", "tests.bench.askers", str(socket), str(count))
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe)
    yield found
    told, _ = await process.communicate(b"")
    for name, value in json.loads(told).items():
        found[f"answers, {name}"] = value


def _lags(name: str, naps: list[float]) -> Figures:
    return _parts(f"{name}, lag", naps)


def _parts(name: str, ordered: list[float]) -> Figures:
    if not ordered:
        ordered = [float("nan")]
    return {
        f"{name}, median": ordered[len(ordered) // 2],
        f"{name}, p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        f"{name}, worst": ordered[-1],
    }
