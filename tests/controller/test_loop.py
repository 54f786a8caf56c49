"""The daemon's tasks, in time that passes only when the test says so."""

import asyncio
import errno
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import ClassVar

import msgspec
import pytest
from structlog.testing import capture_logs

from ipvsctl.cluster.events import ApiServersFound, Event
from ipvsctl.cluster.store import Store
from ipvsctl.controller.drift_watch import GLANCE_S
from ipvsctl.controller.loop import DRAIN_CHECK_S, DRAINS_AT_ONCE, Loop
from ipvsctl.controller.observers import AuditDone, SyncDone
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kernel.interface import Reading
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import ConfigError, KernelError, WireError
from ipvsctl.model.host import ApiServer, HostNetwork
from ipvsctl.model.ipvs import (
    RealServerKey,
    RealServers,
    RealServerStats,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol
from ipvsctl.model.objects import Service, ServicePort
from ipvsctl.model.parts import Part
from ipvsctl.model.problem import Kind, Problem
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.model.steps import Step
from ipvsctl.plan.diff.ops import (
    AddVirtualServer,
    BindAddress,
    DeleteVirtualServer,
    Plan,
    Report,
    SetSysctl,
    UpdateRealServer,
)
from ipvsctl.plan.union.desired_change import DesiredChange
from ipvsctl.sources.source import Source
from tests import builders
from tests.addresses import later
from tests.controller.cluster import (
    FIRST,
    WEB,
    ListSource,
    endpoints,
    has,
    has_not,
    has_slice,
    real_servers,
)
from tests.fakes.clock import FakeClock
from tests.fakes.inline import InlineWorker, idle, run_inline
from tests.fakes.kernel import FakeKernel

CONFIG = ProxyConfig(sync_period_s=30, min_sync_period_s=1)


class Told:
    """An observer that remembers what it was told, and what was so then."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.audits: list[dict[str, int]] = []
        self.syncs: list[tuple[DesiredChange, dict[str, int]]] = []
        self.done: list[AuditDone | SyncDone] = []
        self.wrong: tuple[Problem, ...] = ()
        self.new: list[Problem] = []
        self._kernel = kernel

    async def audited(self, done: AuditDone) -> None:
        """See `Observer`."""
        self.audits.append(real_servers(self._kernel))
        self.done.append(done)

    async def synced(self, done: SyncDone) -> None:
        """See `Observer`."""
        self.syncs.append((done.change, real_servers(self._kernel)))
        self.done.append(done)

    def problems(self) -> tuple[Problem, ...]:
        """See `Observer`."""
        return self.wrong

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Observer`."""
        self.new.extend(problems)


OTHERS = {DRAIN_CHECK_S, GLANCE_S}
"""What others than audits and syncs wait for."""


class World:
    """A loop, and all it meets."""

    def __init__(self, source: Source, kernel: FakeKernel | None = None) -> None:
        self.task: asyncio.Task[None] | None = None
        self.clock = FakeClock()
        self.kernel = kernel or FakeKernel()
        self.told = Told(self.kernel)
        self.reconciler = Reconciler(
            kernel=self.kernel,
            config=CONFIG,
            store=Store("node-0"),
            clock=self.clock,
        )
        self.loop = Loop(
            reconciler=self.reconciler,
            worker=InlineWorker(),
            source=source,
            config=CONFIG,
            observer=self.told,
            sleep=self.clock.sleep,
            clock=self.clock,
            wall_clock=self.clock,
        )

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let tasks run, without letting time pass, until something holds."""
        async with asyncio.timeout(60):
            while not holds():
                if self.task is not None and self.task.done():
                    await self.task
                await self._turn()

    async def idle(self) -> None:
        """Let tasks run until all of them wait for time or events."""
        await idle()

    async def _turn(self) -> None:
        await asyncio.sleep(0)


def has_audited(world: World, times: int) -> bool:
    """That many audits have run."""
    return world.loop.state.audits == times


@asynccontextmanager
async def running(world: World) -> AsyncIterator[None]:
    """The loop runs during the block."""
    run_inline()
    world.task = asyncio.create_task(world.loop.run())
    try:
        yield
    finally:
        world.task.cancel()
        await asyncio.gather(world.task, return_exceptions=True)


async def test_first_state_then_changes() -> None:
    """The first state is imposed at once, then each change, a second apart."""
    source = ListSource(FIRST)
    world = World(source)
    async with running(world):
        await world.until(lambda: real_servers(world.kernel) == {"172.16.0.1:8080": 1})
        await world.until(lambda: world.loop.state.audits == 1)
        source.tell(endpoints("172.16.0.1", "172.16.0.2"))
        await world.until(lambda: len(real_servers(world.kernel)) == 2)
        await world.until(lambda: world.loop.state.syncs == 1)
        source.tell(endpoints("172.16.0.1"), endpoints("172.16.0.3"))
        await world.idle()
        assert world.loop.state.syncs == 1, "the pause between syncs is kept"
        world.clock.advance(CONFIG.min_sync_period_s)
        await world.until(
            lambda: set(real_servers(world.kernel)) == {"172.16.0.3:8080"}
        )
        assert world.loop.state.audits == 1


async def test_others_are_told_what_is_in_the_kernel() -> None:
    """After each audit, and after each sync with what it changed."""
    source = ListSource(FIRST)
    world = World(source)
    async with running(world):
        await world.until(lambda: world.loop.state.audits == 1)
        assert world.told.audits == [{"172.16.0.1:8080": 1}]
        assert world.told.syncs == []
        source.tell(endpoints("172.16.0.1", "172.16.0.2"))
        await world.until(lambda: world.loop.state.syncs == 1)
        ((change, held),) = world.told.syncs
        assert change.keys == {WEB}
        assert held == {"172.16.0.1:8080": 1, "172.16.0.2:8080": 1}
        assert len(world.told.audits) == 1


async def test_an_audit_is_told_with_what_was_desired_anew() -> None:
    """Of a sync that failed too; what a sync has imposed is not told again."""

    class Unreadable(FakeKernel):
        fails_next = False

        def observe_virtual_servers(
            self,
            keys: Iterable[VirtualServerKey],
            likely: Mapping[VirtualServerKey, RealServers] = EMPTY,
        ) -> Observed:
            if self.fails_next:
                self.fails_next = False
                raise KernelError.of(errno.ENOBUFS, "read")
            return super().observe_virtual_servers(keys, likely)

    kernel = Unreadable()
    source = ListSource(FIRST)
    world = World(source, kernel)
    async with running(world):
        await world.until(lambda: world.loop.state.audits == 1)
        source.tell(endpoints("172.16.0.2"))
        await world.until(lambda: world.loop.state.syncs == 1)
        # Once for the audits, for the drains, between syncs, and between glances.
        await world.until(lambda: len(world.clock.sleeping) == 4)
        kernel.fails_next = True
        source.tell(endpoints("172.16.0.3"))
        world.clock.advance(CONFIG.min_sync_period_s)
        await world.until(lambda: world.loop.state.audits == 2)
    first, sync, second = world.told.done
    assert isinstance(first, AuditDone)
    assert isinstance(second, AuditDone)
    assert (first.is_first, second.is_first) == (True, False)
    assert sync.report.observed.state.real_servers.keys() == {WEB}
    (changed,) = (change for change in second.changes if change.keys)
    (server,) = changed.desired.real_servers[WEB]
    assert str(server) == "172.16.0.3:8080"


async def test_a_sync_says_how_long_its_change_took() -> None:
    """From the trigger of the slowest EndpointSlice, if one is known."""
    source = ListSource(FIRST)
    world = World(source)
    slow = builders.endpoint_slice(
        "web-1", "172.16.0.2", trigger_time="1970-01-01T00:00:03.25Z"
    )
    with capture_logs() as logs:
        async with running(world):
            await world.until(lambda: world.loop.state.audits == 1)
            await world.idle()
            world.clock.advance(5)
            source.tell(has_slice(slow))
            await world.until(lambda: world.loop.state.syncs == 1)
            await world.idle()
            source.tell(endpoints("172.16.0.3"))
            world.clock.advance(1)
            await world.until(lambda: world.loop.state.syncs == 2)
    latencies = [log.get("latency_ms") for log in logs if log["event"] == "sync"]
    assert latencies == [1750.0, None]


async def test_what_cannot_be_told_is_logged_once() -> None:
    """Like any other problem, and its observer hears of it once too."""
    world = World(ListSource(FIRST))
    problem = Problem(
        kind=Kind.SERVICE, ref=builders.ref("web"), field="f", value="1", reason="why"
    )
    world.told.wrong = (problem,)
    with capture_logs() as logs:
        async with running(world):
            await world.until(lambda: world.loop.state.audits == 1)
            await world.idle()
            world.clock.advance(CONFIG.sync_period_s)
            await world.until(lambda: world.loop.state.audits == 2)
    assert [
        (log["object"], log["field"], log["value"], log["reason"])
        for log in logs
        if log["event"] == "problem"
    ] == [("default/web", "f", "1", "why")]
    assert world.told.new == [problem]


async def test_it_is_healthy_while_events_are_imposed_in_time() -> None:
    """Two sync periods after an event that cannot be imposed, it is not any more."""
    source = ListSource(FIRST)
    world = World(source)
    async with running(world):
        await world.until(lambda: world.loop.state.audits == 1)
        await world.idle()
        world.clock.advance(1000)
        await world.until(lambda: world.loop.state.audits == 2)
        assert world.loop.is_healthy(), "no event has been waiting"
        await world.idle()
        world.kernel.break_reading(errno.ENOBUFS)
        source.tell(endpoints("172.16.0.2"))
        await world.idle()
        for _ in range(59):
            world.clock.advance(1)
            await world.idle()
        assert world.loop.is_healthy()
        world.clock.advance(1)
        assert not world.loop.is_healthy()
        world.kernel.break_reading(None)
        world.clock.advance(31)
        await world.until(world.loop.is_healthy)
    assert real_servers(world.kernel) == {"172.16.0.2:8080": 1}


async def test_a_refused_op_does_not_make_it_unhealthy() -> None:
    """One bad Service must not take a node out of every load balancer."""
    world = World(ListSource(FIRST))
    world.kernel.fail_on(lambda op: isinstance(op, AddVirtualServer), errno.ENOENT)
    async with running(world):
        await world.until(lambda: world.loop.state.audits == 1)
        for _ in range(4):
            world.clock.advance(31)
            await world.idle()
        assert world.loop.state.failed_ops
        assert world.loop.is_healthy()


async def test_nothing_is_programmed_before_the_source_is_complete() -> None:
    """A half-known cluster would take away what is not known yet."""
    more = asyncio.Event()

    class SlowSource(ListSource):
        async def events(self) -> AsyncGenerator[Event, None]:
            yield FIRST[0]
            await more.wait()
            async for event in super().events():
                yield event

    world = World(SlowSource(FIRST))
    async with running(world):
        await world.idle()
        world.clock.advance(100)
        await world.idle()
        assert world.kernel.log == []
        more.set()
        await world.until(lambda: world.loop.state.synced)
    assert real_servers(world.kernel) == {"172.16.0.1:8080": 1}


async def test_drift_is_repaired_every_sync_period() -> None:
    """What somebody changed, and no number tells, is as it was after the next audit."""
    world = World(ListSource(FIRST))
    pod = RealServerKey(IPv4Address("172.16.0.1"), 8080)
    async with running(world):
        await world.until(lambda: world.loop.state.audits == 1)
        await world.idle()
        held = world.kernel.observe().state.real_servers[WEB][pod]
        heavier = msgspec.structs.replace(held, weight=5)
        world.kernel.apply((UpdateRealServer(WEB, heavier),))
        world.clock.advance(CONFIG.sync_period_s - 1)
        await world.idle()
        assert real_servers(world.kernel) == {"172.16.0.1:8080": 5}
        world.clock.advance(1)
        await world.until(lambda: world.loop.state.audits == 2)
    assert real_servers(world.kernel) == {"172.16.0.1:8080": 1}


async def test_failed_ops_are_tried_again_after_growing_pauses() -> None:
    """Other Services are served meanwhile; when the cause is gone, all is."""
    source = ListSource(FIRST)
    world = World(source)
    world.kernel.fail_on(
        lambda op: isinstance(op, AddVirtualServer) and op.server.key == WEB,
        errno.ENOMEM,
    )
    async with running(world):
        pauses = []
        await world.until(lambda: has_audited(world, 1))
        for audits in (1, 2, 3):
            assert has_audited(world, audits)
            assert world.loop.state.failed_ops == 2
            await world.idle()
            begun_s = world.clock.now_s
            while has_audited(world, audits):
                world.clock.advance(0.05)
                await world.idle()
            pauses.append(world.clock.now_s - begun_s)
        assert 0.5 <= pauses[0] < pauses[2] <= 4
        other = builders.service("other", cluster_ips=(IPv4Address("10.96.0.20"),))
        source.tell(has(other))
        await world.until(
            lambda: BindAddress(IPv4Address("10.96.0.20")) in world.kernel.log
        )
        world.kernel.stop_failing()
        world.clock.advance(30)
        await world.until(lambda: world.loop.state.failed_ops == 0)
    assert real_servers(world.kernel) == {"172.16.0.1:8080": 1}


async def test_syncs_that_fail_do_not_shorten_the_pauses() -> None:
    """One who changes what is refused, all the time, costs no audit each time."""
    source = ListSource(FIRST)
    world = World(source)
    world.kernel.fail_on(
        lambda op: isinstance(op, AddVirtualServer) and op.server.key != WEB,
        errno.ENOMEM,
    )
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        for number in range(20):
            address = later(IPv4Address("10.96.0.20"), number)
            source.tell(has(builders.service(f"s{number}", cluster_ips=(address,))))
            syncs = world.loop.state.syncs
            while world.loop.state.syncs == syncs:
                world.clock.advance(0.5)
                await world.idle()
        assert world.loop.state.failed_ops
        assert world.loop.state.audits <= 8


async def test_rules_that_cannot_be_read_keep_nothing_else_from_repair() -> None:
    """All else is served and mended; it is not ready, and tries again and again."""
    source = ListSource(FIRST)
    world = World(source)
    world.kernel.unread[Part.RULES_IPV4] = "iptables-save: exit status 1"
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        assert real_servers(world.kernel) == {"172.16.0.1:8080": 1}
        assert IPFamily.IPV6 in world.kernel.observe().state.chains
        assert not world.loop.state.synced
        source.tell(endpoints("172.16.0.2"))
        await world.until(lambda: real_servers(world.kernel) == {"172.16.0.2:8080": 1})
        await world.idle()
        world.kernel.apply((DeleteVirtualServer(WEB),))
        world.clock.advance(GLANCE_S)
        await world.until(lambda: real_servers(world.kernel) == {"172.16.0.2:8080": 1})
        await world.idle()
        world.kernel.unread.clear()
        world.clock.advance(31)
        await world.until(lambda: world.loop.state.synced)
    chains = world.kernel.observe().state.chains
    assert chains == world.reconciler.desired.state().chains


async def test_a_sysctl_that_cannot_be_set_makes_no_audit_more() -> None:
    """Each audit that comes anyway tries; nothing failed that waits for it."""
    world = World(ListSource(FIRST))
    world.kernel.fail_on(lambda op: isinstance(op, SetSysctl), errno.EROFS)
    async with running(world):
        with capture_logs() as logs:
            await world.until(lambda: has_audited(world, 1))
            await world.idle()
        assert world.loop.state.failed_ops == 0
        pauses = {p for p in world.clock.sleeping if p not in OTHERS}
        assert pauses == {CONFIG.sync_period_s}
        world.kernel.stop_failing()
        world.clock.advance(CONFIG.sync_period_s)
        await world.until(lambda: has_audited(world, 2))
    assert not [line for line in logs if line["event"] == "op failed"]
    assert world.kernel.observe().state.sysctls["net/ipv4/ip_forward"] == "1"


async def test_a_drain_ends_without_an_event() -> None:
    """Some seconds after the last connection the real server is gone."""
    source = ListSource(FIRST)
    world = World(source)
    pod = RealServerKey(IPv4Address("172.16.0.1"), 8080)
    async with running(world):
        await world.until(lambda: world.loop.state.audits == 1)
        world.kernel.set_connections(WEB, pod, RealServerStats(active=1))
        source.tell(endpoints("172.16.0.2"))
        await world.until(lambda: real_servers(world.kernel).get(str(pod)) == 0)
        await world.until(lambda: world.reconciler.draining == {WEB})
        world.kernel.set_connections(WEB, pod, RealServerStats())
        world.clock.advance(DRAIN_CHECK_S)
        await world.until(lambda: str(pod) not in real_servers(world.kernel))
        assert world.loop.state.audits == 1


async def test_an_unreadable_answer_stops_nothing() -> None:
    """A kernel that says what nobody understands is asked again, after a pause."""

    class Garbled(FakeKernel):
        is_garbled = True

        def read_in_steps(
            self, likely: NodeState, *, has_rules: bool = True
        ) -> Reading:
            if self.is_garbled:
                raise WireError(offset=16, reason="truncated attribute")
            return super().read_in_steps(likely, has_rules=has_rules)

    kernel = Garbled()
    world = World(ListSource(FIRST), kernel)
    async with running(world):
        await world.until(lambda: len(world.clock.sleeping) == 2)
        assert kernel.log == []
        kernel.is_garbled = False
        world.clock.advance(min(world.clock.sleeping))
        await world.until(lambda: world.loop.state.audits == 1)
    assert real_servers(kernel) == {"172.16.0.1:8080": 1}


async def test_ending_leaves_the_kernel_as_it_is() -> None:
    """A cancelled loop takes nothing out."""
    world = World(ListSource(FIRST))
    async with running(world):
        await world.until(lambda: world.loop.state.audits == 1)
        before = world.kernel.observe().state
    assert world.kernel.observe().state == before


async def test_a_source_that_fails_ends_the_loop_with_its_reason() -> None:
    """The process ends rather than serve a cluster it no longer sees."""

    class BadSource(ListSource):
        async def events(self) -> AsyncGenerator[Event, None]:
            yield FIRST[0]
            raise ConfigError(field="--manifests", value="x", reason="is not there")

    world = World(BadSource(()))
    with pytest.raises(ExceptionGroup) as caught:
        await world.loop.run()
    assert caught.group_contains(ConfigError, match="is not there")


async def test_a_service_deleted_during_the_first_audit_is_not_forgotten() -> None:
    """An event that comes while the first audit runs is synced right after it."""
    source = ListSource(
        (*FIRST, has(builders.service("b", cluster_ips=(IPv4Address("10.96.0.20"),))))
    )
    world = World(source)

    def on_first_op(_: object) -> bool:
        if len(world.kernel.log) == 1:
            loop.call_soon_threadsafe(source.tell, has_not(builders.service("b")))
        return False

    loop = asyncio.get_running_loop()
    world.kernel.fail_on(on_first_op, errno.EINVAL)
    async with running(world):
        await world.until(lambda: world.loop.state.syncs >= 1)
        await world.until(
            lambda: set(world.kernel.observe().state.virtual_servers) == {WEB}
        )
        assert world.loop.state.audits == 1


async def test_an_event_does_not_wait_for_an_audit() -> None:
    """It is imposed between two steps of the audit that runs when it comes."""
    source = ListSource(FIRST)

    class Slow(FakeKernel):
        """A slow reading goes on until somebody has changed something."""

        is_slow = False

        def read_in_steps(
            self, likely: NodeState, *, has_rules: bool = True
        ) -> Reading:
            if self.is_slow:
                self.is_slow = False
                loop.call_soon_threadsafe(source.tell, endpoints("172.16.0.2"))
                end = time.monotonic() + 60
                changes = len(self.log)
                while len(self.log) == changes and time.monotonic() < end:
                    yield Step.EXCLUSIVE
            return (yield from super().read_in_steps(likely, has_rules=has_rules))

    loop = asyncio.get_running_loop()
    kernel = Slow()
    world = World(source, kernel)
    async with running(world):
        await world.until(lambda: world.loop.state.audits == 1)
        await world.idle()
        kernel.is_slow = True
        world.clock.advance(CONFIG.sync_period_s)
        await world.until(lambda: world.loop.state.syncs == 1)
        assert world.loop.state.audits == 1, "the audit goes on"
        await world.until(lambda: world.loop.state.audits == 2)
        assert real_servers(world.kernel) == {"172.16.0.2:8080": 1}


async def test_an_audit_follows_a_sync_that_failed_during_one() -> None:
    """The one that runs does not look at what the sync was about."""
    source = ListSource(FIRST)

    class Slow(FakeKernel):
        """Somebody's change fails during a slow reading."""

        is_slow = False

        def read_in_steps(
            self, likely: NodeState, *, has_rules: bool = True
        ) -> Reading:
            if self.is_slow:
                self.is_slow = False
                loop.call_soon_threadsafe(source.tell, endpoints("172.16.0.2"))
                self.fail_on(lambda _: True, errno.ENOMEM)
                end = time.monotonic() + 60
                while not world.loop.state.syncs and time.monotonic() < end:
                    yield Step.EXCLUSIVE
                self.stop_failing()
            return (yield from super().read_in_steps(likely, has_rules=has_rules))

    loop = asyncio.get_running_loop()
    kernel = Slow()
    world = World(source, kernel)
    async with running(world):
        await world.until(lambda: world.loop.state.audits == 1)
        await world.idle()
        kernel.is_slow = True
        world.clock.advance(CONFIG.sync_period_s)
        await world.until(lambda: world.loop.state.audits == 3)
        assert world.loop.state.failed_ops == 0
        assert real_servers(world.kernel) == {"172.16.0.2:8080": 1}


async def test_drains_of_many_are_looked_at_by_and_by() -> None:
    """Events do not wait for all of them."""

    class Counting(FakeKernel):
        looked_at: ClassVar[list[int]] = []

        def observe_virtual_servers(
            self,
            keys: Iterable[VirtualServerKey],
            likely: Mapping[VirtualServerKey, RealServers] = EMPTY,
        ) -> Observed:
            keys = tuple(keys)
            self.looked_at.append(len(keys))
            return super().observe_virtual_servers(keys, likely)

    services = [
        builders.service(f"s{n}", cluster_ips=(later(IPv4Address("10.96.2.1"), n),))
        for n in range(2 * DRAINS_AT_ONCE + 1)
    ]

    def slices(address: str) -> list[Event]:
        return [
            has_slice(
                builders.endpoint_slice(
                    f"{one.ref.name}-1", address, service_name=one.ref.name
                )
            )
            for one in services
        ]

    source = ListSource([*map(has, services), *slices("172.16.0.1")])
    kernel = Counting()
    world = World(source, kernel)
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        held = kernel.observe().state.real_servers
        olds = [(key, server) for key in held for server in held[key]]
        for old in olds:
            kernel.set_connections(*old, RealServerStats(active=1))
        source.tell(*slices("172.16.0.2"))
        await world.until(
            lambda: len(world.reconciler.draining) == 2 * DRAINS_AT_ONCE + 1
        )
        for old in olds:
            kernel.set_connections(*old, RealServerStats())
        await world.until(lambda: world.loop.pending_s() is None)
        await world.idle()
        kernel.looked_at.clear()
        world.clock.advance(DRAIN_CHECK_S)
        await world.until(lambda: not world.reconciler.draining)
    assert sorted(n for n in kernel.looked_at if n) == [1, 50, 50]


def mallorys(name: str) -> Service:
    """A Service with 300 ports on an external IP that is not its alone."""
    return builders.service(
        name,
        cluster_ips=(IPv4Address(f"10.96.1.{1 + 'ab'.index(name)}"),),
        external_ips=(IPv4Address("203.0.113.1"),),
        ports=tuple(
            ServicePort(name=f"p{port}", protocol=Protocol.TCP, port=port)
            for port in range(1, 301)
        ),
    )


async def test_a_large_service_keeps_nobody_waiting() -> None:
    """A change of another one is imposed between two of its parts.

    One line tells of it, and one of its problems, with how many there are.
    """
    source = ListSource(FIRST)

    class Eager(FakeKernel):
        """Another Service changes as soon as a part of the large one is there."""

        has_told = False
        parts = 0

        def apply(self, plan: Plan) -> Report:
            count = sum(isinstance(op, AddVirtualServer) for op in plan)
            if count > 1 and not self.has_told:
                self.has_told = True
                loop.call_soon_threadsafe(source.tell, endpoints("172.16.0.2"))
            if set(real_servers(self)) != {"172.16.0.2:8080"}:
                self.parts += count > 1
            return super().apply(plan)

    loop = asyncio.get_running_loop()
    kernel = Eager()
    world = World(source, kernel)
    with capture_logs() as logs:
        async with running(world):
            await world.until(lambda: has_audited(world, 1))
            kernel.parts = 0
            source.tell(*(has(mallorys(name)) for name in ("a", "b")))
            await world.until(lambda: world.reconciler.has_parts)
            world.clock.advance(CONFIG.min_sync_period_s)
            await world.until(lambda: imposed(world) == 601)
            await world.until(lambda: world.reconciler.has_parts)
            world.clock.advance(CONFIG.min_sync_period_s)
            await world.until(lambda: imposed(world) == 901)
            await world.idle()
            assert len(kernel.observe().state.virtual_servers) == 901
            assert set(real_servers(kernel)) == {"172.16.0.2:8080"}
            assert kernel.parts <= 2
            assert world.loop.state.audits == 1
    lines = [log for log in logs if log["event"] in {"sync", "problem"}]
    assert len([log for log in lines if log["event"] == "sync"]) <= 3
    assert [log["more"] for log in lines if log["event"] == "problem"] == [299]
    assert sum(p.count for p in world.loop.problem_book.each()) == 300
    assert sum(p.count for p in world.told.new) == 300


async def test_health_does_not_wait_for_a_large_service() -> None:
    """It would take the node out of every load balancer for one Service's sake."""
    source = ListSource(FIRST)
    world = World(source)
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        source.tell(has(mallorys("a")))
        await world.until(lambda: world.reconciler.unfinished is not None)
        assert world.loop.is_healthy()
        await world.until(lambda: world.reconciler.has_parts)
        world.clock.advance(CONFIG.min_sync_period_s)
        await world.until(lambda: imposed(world) == 601)


def imposed(world: World) -> int:
    """How many virtual servers have been added."""
    plans = (done.report.plan for done in world.told.done)
    return sum(isinstance(op, AddVirtualServer) for plan in plans for op in plan)


class Silent(ListSource):
    """A source that is asked for the API server and never becomes complete."""

    def __init__(self, kernel: FakeKernel, *events: Event) -> None:
        super().__init__(())
        self.given = events
        self.kernel = kernel
        self.local_at_start: list[bool] = []

    async def events(self) -> AsyncGenerator[Event, None]:
        """See `Source`."""
        self.local_at_start = [self.kernel.is_local(vip) for vip in IN_THE_WAY]
        for event in self.given:
            yield event
        await asyncio.Event().wait()


IN_THE_WAY = (IPv4Address("10.0.0.53"), IPv4Address("192.0.2.6"))


async def test_recovery_comes_before_everything() -> None:
    """Name servers are freed before the source looks up a name, then the server."""
    kernel = FakeKernel()
    before = World(ListSource([has(builders.service(external_ips=IN_THE_WAY))]), kernel)
    async with running(before):
        await before.until(lambda: has_audited(before, 1))
    assert all(map(kernel.is_local, IN_THE_WAY))
    kernel.host = HostNetwork(resolvers=frozenset(IN_THE_WAY[:1]))
    found = ApiServersFound(frozenset({ApiServer(IN_THE_WAY[1], 6443)}))
    source = Silent(kernel, found)
    world = World(source, kernel)
    with capture_logs() as logs:
        async with running(world):
            await world.until(
                lambda: sum(entry["log_level"] == "warning" for entry in logs) == 2
            )
    assert source.local_at_start == [False, True]
    assert not any(map(kernel.is_local, IN_THE_WAY))
    assert world.loop.state.audits == 0
    assert real_servers(kernel) == {}


async def test_a_recovery_that_fails_ends_nothing() -> None:
    """The source is followed all the same."""
    kernel = FakeKernel()
    kernel.break_reading(errno.ENOMEM)
    world = World(Silent(kernel, ApiServersFound(frozenset())), kernel)
    with capture_logs() as logs:
        async with running(world):
            await world.until(
                lambda: sum(e["event"] == "recovery failed" for e in logs) == 2
            )
