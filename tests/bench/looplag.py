"""How long the event loop is not back, and how long events wait, under a whole daemon.

A task that does nothing but sleep for a millisecond notes how much longer that took.
It does so while the first state comes in and is imposed, while an audit runs, while
everything is compiled anew since the host has another address, and while clients ask
for `status` and `diff`; during the last, endpoints change too. The floor is an idle
loop in another process at the same time: it waits for the machine alone.
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
from tests.bench.naps import Naps, OthersNaps, idle_loop, spread
from tests.bench.sizes import Figures, Size
from tests.bench.source import BenchSource
from tests.lab.netns import Netns, inside

ASKERS: Final = 20
PER_SECOND: Final = 20


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
    naps = Naps()
    napping = asyncio.create_task(naps.run())
    figures: Figures = {}
    source = BenchSource(size)
    daemon = Daemon(kernel=kernel, store=Store(NODE), config=size.config, source=source)
    state = daemon.loop.state

    async def phases(others: OthersNaps) -> None:
        async def note(name: str) -> None:
            figures.update(_named(f"{name}, lag", await naps.take()))
            figures.update(_named(f"{name}, floor", await others.take()))

        await _until_audited(daemon, 1)
        await note("start")
        for name in ("audit", "addresses"):
            await asyncio.sleep(1)
            if name == "addresses":
                address = IPv4Interface("10.0.0.77/24")
                await asyncio.to_thread(netns.add_address, "uplink", address)
            await note("between")
            daemon.loop.want_audit()
            await _until_audited(daemon, state.audits + 1)
            await note(name)
        await asyncio.sleep(1)
        for name, askers in (("alone", 0), ("asked", ASKERS)):
            await note("between")
            kernel.waits.clear()
            async with _asked(socket, askers) as found:
                await _change(source, kernel, size, seconds / 2, spare=not askers)
            figures.update(found)
            await note(name)
            figures.update(_named(f"{name}, event", spread(sorted(kernel.waits))))
            figures[f"{name}, event, lost"] = len(kernel.sent_s)

    async with idle_loop() as others:
        running = asyncio.ensure_future(phases(others))
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


def _named(name: str, figures: Figures) -> Figures:
    return {f"{name}, {part}": value for part, value in figures.items()}
