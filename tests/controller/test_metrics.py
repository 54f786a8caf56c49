"""What metrics say after audits and syncs."""

import asyncio
import errno
import gc
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

import msgspec

from ipvsctl.cluster.store import Store
from ipvsctl.controller.drift_watch import GLANCE_S
from ipvsctl.controller.gauges import Gauges
from ipvsctl.controller.loop import Loop
from ipvsctl.controller.metrics import MetricsObserver
from ipvsctl.controller.observers import AuditDone
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kernel.interface import Reading
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import RealServerKey, RealServerStats, TrafficStats
from ipvsctl.model.net import IPv4Address
from ipvsctl.model.parts import Part
from ipvsctl.model.problem import Kind
from ipvsctl.model.relay import Refusal, RelayFigures
from ipvsctl.model.state import NodeState
from ipvsctl.model.steps import Step, finish
from ipvsctl.model.watch_health import WatchHealth
from ipvsctl.plan.diff.ops import AddVirtualServer, ChangeRules, UnbindAddress
from ipvsctl.serve.metrics import Metrics
from tests.builders import endpoint_slice, service
from tests.controller.cluster import (
    FIRST,
    WEB,
    ListSource,
    endpoints,
    has,
    has_not,
    has_slice,
)
from tests.fakes.clock import FakeClock
from tests.fakes.inline import InlineWorker, run_inline
from tests.fakes.kernel import FakeKernel
from tests.serve.test_metrics import samples

CONFIG = ProxyConfig(sync_period_s=30, min_sync_period_s=0)
POD = RealServerKey(IPv4Address("172.16.0.1"), 8080)


class World:
    """A loop that is measured, in time that passes only when told to."""

    def __init__(self, alone: int = 2, kernel: FakeKernel | None = None) -> None:
        self.clock = FakeClock()
        self.clock.advance(1000)
        self.kernel = kernel or FakeKernel()
        self.source = ListSource(FIRST)
        self.metrics = Metrics()
        store = Store("node-0")
        reconciler = Reconciler(
            kernel=self.kernel, config=CONFIG, store=store, clock=self.clock
        )
        families = self.kernel.capabilities().families
        self.observer = MetricsObserver(
            self.metrics, reconciler.desired, families, alone
        )
        self.loop = Loop(
            reconciler=reconciler,
            worker=InlineWorker(),
            source=self.source,
            config=CONFIG,
            observer=self.observer,
            sleep=self.clock.sleep,
            clock=self.clock,
            wall_clock=self.clock,
        )
        self.relayed: RelayFigures | None = None
        self.gauges = Gauges(
            self.metrics,
            self.loop,
            reconciler,
            store,
            self.clock,
            lambda: self.relayed,
        )
        self.watches: tuple[WatchHealth, ...] = ()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let tasks run until something holds."""
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110  # time is not to pass
                await asyncio.sleep(0)

    async def audit(self) -> None:
        """Let a sync period pass, and its audit."""
        audits = self.loop.state.audits
        await self.until(lambda: any(s > 5 for s in self.clock.sleeping))
        self.clock.advance(CONFIG.sync_period_s)
        await self.until(lambda: self.loop.state.audits > audits)

    async def sync(self, *events: object) -> None:
        """Tell events, and let them be synced."""
        syncs = self.loop.state.syncs
        self.source.tell(*events)  # type: ignore[arg-type]
        await self.until(lambda: self.loop.state.syncs > syncs)
        self.clock.advance(0)

    async def scrape(self) -> "Scrape":
        """What a scraper sees now."""
        await self.observer.settle()
        finish(self.gauges.refresh_in_steps(self.watches))
        return Scrape(samples(self.metrics))


class Scrape(dict[tuple[str, tuple[str, ...]], float]):
    """Samples, to be asked by name without its prefix."""

    def of(self, name: str, *labels: str) -> float:
        """The value of one series."""
        return self[name, labels]

    def names(self, name: str) -> Collection[tuple[str, ...]]:
        """The labels of all series of a name."""
        return {labels for found, labels in self if found == name}


@asynccontextmanager
async def measured(
    alone: int = 2, kernel: FakeKernel | None = None
) -> AsyncIterator[World]:
    """A loop after its first audit."""
    world = World(alone, kernel)
    run_inline()
    tasks = [
        asyncio.create_task(world.loop.run()),
        asyncio.create_task(world.observer.run()),
    ]
    try:
        await world.until(lambda: world.loop.state.synced)
        yield world
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_after_the_first_audit() -> None:
    """It is one audit of both families; nothing has drifted."""
    async with measured() as world:
        found = await world.scrape()
    assert found.of("ipvsctl_ready") == 1
    rules = "kubeproxy_sync_proxy_rules"
    for family in ("IPv4", "IPv6"):
        assert found.of(f"{rules}_duration_seconds_count", family) == 1
        full = "kubeproxy_sync_full_proxy_rules_duration_seconds_count"
        assert found.of(full, family) == 1
        assert found.of(f"{rules}_last_timestamp_seconds", family) == 1000
        assert found.of(f"{rules}_iptables_restore_failures_total", family) == 0
    for part in Part:
        assert found.of("ipvsctl_part_read_timestamp_seconds", part) == 1000
    assert found.of(f"{rules}_service_changes_total") == 1
    assert found.of(f"{rules}_endpoint_changes_total") == 1
    assert found.of(f"{rules}_endpoint_changes_pending") == 0
    assert found.of("ipvsctl_virtual_servers") == 1
    assert found.of("ipvsctl_real_servers") == 1
    kinds = found.names("ipvsctl_drift_found_total")
    assert len(kinds) == 12
    assert {found.of("ipvsctl_drift_found_total", *kind) for kind in kinds} == {0}


async def test_rules_that_cannot_be_read_have_the_time_of_the_last_reading() -> None:
    """So their age grows, and an alert tells; the other family's goes on."""
    async with measured() as world:
        world.kernel.unread[Part.RULES_IPV4] = "iptables-save: exit status 1"
        await world.audit()
        found = await world.scrape()
    name = "ipvsctl_part_read_timestamp_seconds"
    assert found.of(name, Part.RULES_IPV4) == 1000
    assert found.of(name, Part.RULES_IPV6) == world.clock.now_s > 1000


async def test_node_ports_on_localhost() -> None:
    """Nothing while nothing is relayed; then what was since the last scrape."""
    async with measured() as world:
        found = await world.scrape()
        assert not found.names("ipvsctl_localhost_bytes_total")
        world.relayed = RelayFigures(
            connections=2,
            relayed=5,
            refused={Refusal.LIMIT: 1},
            bytes_in=10,
            bytes_out=100,
        )
        await world.scrape()
        world.relayed = msgspec.structs.replace(world.relayed, relayed=6, bytes_in=11)
        found = await world.scrape()
    assert found.of("ipvsctl_localhost_connections") == 2
    assert found.of("ipvsctl_localhost_relayed_total") == 6
    assert found.of("ipvsctl_localhost_refused_total", "limit") == 1
    assert found.of("ipvsctl_localhost_refused_total", "full") == 0
    assert found.of("ipvsctl_localhost_bytes_total", "in") == 11
    assert found.of("ipvsctl_localhost_bytes_total", "out") == 100


async def test_a_sync() -> None:
    """It is one of the family it touches, with the latency from the trigger."""
    async with measured() as world:
        world.clock.advance(10)
        changed = "1970-01-01T00:16:45.5Z"
        piece = endpoint_slice("web-1", "172.16.0.2", trigger_time=changed)
        await world.sync(has_slice(piece))
        found = await world.scrape()
    rules = "kubeproxy_sync_proxy_rules"
    assert found.of(f"{rules}_duration_seconds_count", "IPv4") == 2
    assert found.of(f"{rules}_duration_seconds_count", "IPv6") == 1
    partial = "kubeproxy_sync_partial_proxy_rules_duration_seconds_count"
    assert found.of(partial, "IPv4") == 1
    name = "kubeproxy_network_programming_duration_seconds"
    assert found.of(f"{name}_sum", "IPv4") == 4.5
    assert found.of(f"{name}_bucket", "IPv4", "4.0") == 0
    assert found.of(f"{name}_bucket", "IPv4", "5.0") == 1
    assert found.of(f"{rules}_last_timestamp_seconds", "IPv6") == 1010
    assert found.of(f"{rules}_last_queued_timestamp_seconds", "IPv4") == 1010


async def test_drift() -> None:
    """It is counted when it is found, and when it is repaired."""
    async with measured() as world:
        world.kernel.apply((UnbindAddress(IPv4Address("10.96.0.10")),))
        await world.audit()
        found = await world.scrape()
    assert found.of("ipvsctl_drift_found_total", "address") == 1
    assert found.of("ipvsctl_drift_repaired_total", "address") == 1
    assert found.of("ipvsctl_drift_found_total", "virtual_server") == 0


async def test_drift_that_cannot_be_repaired() -> None:
    """It is found once, and its op fails each time it is tried."""
    async with measured() as world:
        world.kernel.reboot()
        world.kernel.fail_on(
            lambda op: isinstance(op, AddVirtualServer | ChangeRules), errno.EPERM
        )
        await world.audit()
        # Half a second and up to another: nobody else sleeps so little.
        await world.until(lambda: world.clock.sleeping[0] < GLANCE_S)
        world.clock.advance(GLANCE_S)
        await world.until(lambda: world.loop.state.audits == 3)
        found = await world.scrape()
    assert found.of("ipvsctl_drift_found_total", "virtual_server") == 1
    assert found.of("ipvsctl_drift_repaired_total", "virtual_server") == 0
    assert found.of("ipvsctl_drift_repaired_total", "entry") > 0
    assert found.of("ipvsctl_failed_ops_total", "EPERM", "add_virtual_server") == 2
    name = "kubeproxy_sync_proxy_rules_iptables_restore_failures_total"
    # The first of the two audits had sets to make, and left them to the second.
    assert found.of(name, "IPv6") == 1


async def test_drains() -> None:
    """How many real servers drain, and since when."""
    async with measured() as world:
        world.kernel.set_connections(WEB, POD, RealServerStats(active=1))
        await world.sync(endpoints("172.16.0.2"))
        world.clock.advance(3)
        found = await world.scrape()
        assert found.of("ipvsctl_draining_real_servers") == 1
        assert found.of("ipvsctl_oldest_drain_age_seconds") == 3
        assert found.of("ipvsctl_real_servers") == 1


async def test_pending_changes() -> None:
    """What cannot be imposed is pending, and its age is told."""
    async with measured() as world:
        await world.until(lambda: len(world.clock.sleeping) > 1)
        world.kernel.break_reading(errno.ENOBUFS)
        world.source.tell(has(service("b")), endpoints("172.16.0.2"))
        await world.until(lambda: world.loop.backlog.totals[Kind.SERVICE] == 2)
        world.clock.advance(2)
        found = await world.scrape()
    rules = "kubeproxy_sync_proxy_rules"
    assert found.of(f"{rules}_service_changes_pending") == 1
    assert found.of(f"{rules}_service_changes_total") == 2
    assert found.of("ipvsctl_oldest_pending_change_age_seconds") == 2


async def test_traffic() -> None:
    """What was before is not counted; the rest is, that of the last moment too."""
    connections = "ipvsctl_service_connections_total"
    web, other = ("default", "web"), ("_other", "_other")
    async with measured() as world:
        world.kernel.set_traffic(WEB, TrafficStats(connections=4, bytes_out=9))
        await world.audit()
        found = await world.scrape()
        assert found.of(connections, *other) == 4
        assert found.of("ipvsctl_service_outgoing_bytes_total", *other) == 9
        assert found.of(connections, *web) == 0
        world.kernel.set_traffic(WEB, TrafficStats(connections=10, bytes_out=19))
        await world.sync(endpoints("172.16.0.2"))
        found = await world.scrape()
        assert found.of(connections, *web) == 6
        world.kernel.set_traffic(WEB, TrafficStats(connections=13, bytes_out=19))
        await world.sync(has_not(service()))
        found = await world.scrape()
        assert found.of(connections, *web) == 9
        await world.audit()
        found = await world.scrape()
    assert found.names(connections) == {other}
    assert found.of(connections, *other) == 4


async def test_traffic_of_a_sync_during_an_audit() -> None:
    """What the audit had read before is neither a reset nor counted again."""
    connections = "ipvsctl_service_connections_total"

    class Slow(FakeKernel):
        """Clients and an event come after all has been read."""

        is_slow = False

        def read_in_steps(
            self, likely: NodeState, *, has_rules: bool = True
        ) -> Reading:
            read = yield from super().read_in_steps(likely, has_rules=has_rules)
            if self.is_slow:
                self.is_slow = False
                self.set_traffic(WEB, TrafficStats(connections=10))
                loop.call_soon_threadsafe(world.source.tell, endpoints("172.16.0.2"))
                end = time.monotonic() + 60
                while not world.loop.state.syncs and time.monotonic() < end:
                    yield Step.EXCLUSIVE
            return read

    loop = asyncio.get_running_loop()
    kernel = Slow()
    async with measured(kernel=kernel) as world:
        kernel.set_traffic(WEB, TrafficStats(connections=4))
        await world.audit()
        assert (await world.scrape()).of(connections, "_other", "_other") == 4
        kernel.is_slow = True
        await world.audit()
        assert world.loop.state.syncs == 1
        assert (await world.scrape()).of(connections, "default", "web") == 6
        await world.audit()
        assert (await world.scrape()).of(connections, "default", "web") == 6


async def test_no_report_is_kept() -> None:
    """What an audit of a large node has read is some ten megabytes."""
    async with measured() as world:
        await world.audit()
        await world.observer.settle()
        gc.collect()
        assert not any(isinstance(thing, AuditDone) for thing in gc.get_objects())


async def test_no_traffic_metrics() -> None:
    """They can be switched off altogether."""
    async with measured(alone=0) as world:
        world.kernel.set_traffic(WEB, TrafficStats(connections=4))
        await world.audit()
        found = await world.scrape()
    assert found.names("ipvsctl_service_connections_total") == set()


async def test_watches() -> None:
    """Whether they are connected, how often not, and when something was heard."""
    async with measured() as world:
        for restarts in (2, 3):
            world.watches = (
                WatchHealth(
                    kind=Kind.SERVICE,
                    is_complete=True,
                    is_connected=False,
                    since_s=5,
                    heard_s=7,
                    restarts={"expired": restarts},
                ),
            )
            found = await world.scrape()
    assert found.of("ipvsctl_watch_connected", "Service") == 0
    assert found.of("ipvsctl_watch_last_event_age_seconds", "Service") == 7
    assert found.of("ipvsctl_watch_restarts_total", "Service", "expired") == 3
