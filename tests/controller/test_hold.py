"""The daemon over input that cannot be read whole, and when it can be."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from structlog.testing import capture_logs

from ipvsctl.cluster.events import (
    Deleted,
    Doubted,
    Event,
    Invalid,
    Replaced,
    Synced,
    Upserted,
)
from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import RealServerStats
from ipvsctl.model.net import parse_address
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from tests import builders
from tests.controller.cluster import (
    FIRST,
    WEB,
    ListSource,
    endpoints,
    has,
    has_not,
    has_slice,
    real_servers,
    take,
)
from tests.controller.test_loop import CONFIG, World, running
from tests.fakes.kernel import FakeKernel

FILE = ObjectRef("", "/m/b.yaml")


def broken(kind: Kind, ref: ObjectRef, **fields: object) -> Invalid:
    """Something that cannot be read."""
    problem = Problem(kind=kind, ref=ref, field="", value="", reason="is broken")
    return Invalid(kind=kind, ref=ref, problems=(problem,), **fields)  # type: ignore[arg-type]  # as given


BROKEN_FILE = broken(Kind.MANIFEST, FILE)
REPAIRED = Deleted(kind=Kind.MANIFEST, ref=FILE)
BROKEN_WEB = broken(Kind.SERVICE, builders.ref("web"))
BROKEN_SLICE = broken(
    Kind.ENDPOINT_SLICE, builders.ref("web-2"), service=builders.ref("web")
)
NO_LIST = Doubted(kind=Kind.SERVICE, reason="the list of Services is empty")
NO_SLICES = Doubted(kind=Kind.ENDPOINT_SLICE, reason="the list of slices is empty")
OTHER = builders.service("other", cluster_ips=(parse_address("10.96.0.77"),))


def reconciler(kernel: FakeKernel, *events: Event) -> Reconciler:
    """Of a process that starts now, and knows this."""
    made = Reconciler(
        kernel=kernel, config=ProxyConfig(drain_timeout_s=10), store=Store("node-0")
    )
    take(made, *events, Synced())
    return made


@pytest.fixture
def kernel() -> FakeKernel:
    """A kernel with `default/web` and its two endpoints in it."""
    made = FakeKernel()
    whole = reconciler(made, FIRST[0], endpoints("172.16.0.1", "172.16.0.2"))
    assert not whole.audit().report.failed
    made.log.clear()
    return made


BOTH = {"172.16.0.1:8080": 1, "172.16.0.2:8080": 1}


@pytest.mark.parametrize(
    "events",
    [
        (BROKEN_FILE,),
        (BROKEN_FILE, FIRST[0]),
        (BROKEN_FILE, FIRST[0], endpoints("172.16.0.1")),
        (BROKEN_WEB, endpoints("172.16.0.1")),
        (FIRST[0], BROKEN_SLICE),
        (FIRST[0], endpoints("172.16.0.1"), BROKEN_SLICE),
        (FIRST[0], broken(Kind.ENDPOINT_SLICE, builders.ref("-"))),
        (NO_LIST, endpoints("172.16.0.1")),
        (FIRST[0], NO_SLICES),
        (NO_LIST, NO_SLICES),
    ],
)
def test_a_process_that_starts_takes_nothing_away(
    kernel: FakeKernel, events: tuple[Event, ...]
) -> None:
    """Whatever part is not known, what may be of it is as it was."""
    made = reconciler(kernel, *events)
    for _ in range(3):
        assert not made.audit().report.failed
        assert real_servers(kernel) == BOTH
        assert WEB.address in kernel.observe().state.addresses
    assert made.doubts
    assert made.hold is not None


@pytest.mark.parametrize(
    ("events", "left"),
    [
        # All Services are known, and web is not among them.
        ((broken(Kind.ENDPOINT_SLICE, builders.ref("-")),), None),
        ((NO_SLICES,), None),
        # All slices are known.
        ((BROKEN_WEB, has(OTHER)), BOTH),
        ((broken(Kind.SERVICE, builders.ref("x")), *FIRST), {"172.16.0.1:8080": 1}),
        # Only another Service has a slice that is broken.
        (
            (
                *FIRST,
                broken(
                    Kind.ENDPOINT_SLICE,
                    builders.ref("other-1"),
                    service=builders.ref("other"),
                ),
            ),
            {"172.16.0.1:8080": 1},
        ),
        ((broken(Kind.NODE, ObjectRef("", "node-1")), *FIRST), {"172.16.0.1:8080": 1}),
    ],
)
def test_only_what_may_be_wanted_is_held(
    kernel: FakeKernel, events: tuple[Event, ...], left: dict[str, int] | None
) -> None:
    """What is known for sure to be unwanted goes at once."""
    made = reconciler(kernel, *events)
    made.audit()
    assert real_servers(kernel) == (left or {})
    assert (WEB in kernel.observe().state.virtual_servers) == (left is not None)


def test_what_it_has_known_itself_goes(kernel: FakeKernel) -> None:
    """A Service or endpoint that this process was told of, and that went, goes."""
    made = reconciler(kernel, BROKEN_FILE, has(OTHER), *FIRST)
    made.audit()
    assert real_servers(kernel) == BOTH
    take(made, has_slice(builders.endpoint_slice("web-1", "172.16.0.3")))
    made.sync(made.prepare())
    assert set(real_servers(kernel)) == {"172.16.0.2:8080", "172.16.0.3:8080"}
    take(made, has_not(OTHER))
    made.sync(made.prepare())
    servers = kernel.observe().state.virtual_servers
    assert {str(key.address) for key in servers} == {"10.96.0.10"}
    take(made, has(OTHER), has_not(OTHER), has_not(builders.service()))
    made.audit()
    assert not kernel.observe().state.virtual_servers


def test_a_broken_slice_keeps_what_was_known(kernel: FakeKernel) -> None:
    """The endpoints of a slice that shrank may be in the one that cannot be read."""
    made = reconciler(kernel, FIRST[0], endpoints("172.16.0.1", "172.16.0.2"))
    made.audit()
    take(made, BROKEN_SLICE, endpoints("172.16.0.1"))
    made.sync(made.prepare())
    assert real_servers(kernel) == BOTH
    made.audit()
    assert real_servers(kernel) == BOTH
    take(made, has_slice(builders.endpoint_slice("web-2", "172.16.0.9")))
    change = made.prepare()
    assert change.needs_audit
    made.audit()
    assert set(real_servers(kernel)) == {"172.16.0.1:8080", "172.16.0.9:8080"}


def test_what_is_held_is_not_draining(kernel: FakeKernel) -> None:
    """It keeps its weight, and no time limit ends its connections."""
    server = next(iter(kernel.observe().state.real_servers[WEB]))
    kernel.set_connections(WEB, server, RealServerStats(active=1))
    made = reconciler(kernel, BROKEN_FILE, FIRST[0])
    made.audit()
    assert not made.draining
    assert real_servers(kernel) == BOTH


def test_a_file_that_was_whole_once_holds_nothing(kernel: FakeKernel) -> None:
    """Its last good state is desired, and drift is repaired as ever."""
    made = reconciler(kernel, *FIRST)
    made.audit()
    take(made, broken(Kind.MANIFEST, FILE, is_kept=True))
    made.audit()
    assert made.doubts
    assert not made.hold
    take(made, BROKEN_FILE)
    made.prepare()
    # Everything of ours in the kernel was wanted by it.
    assert not made.hold


def made_holds(world: World) -> bool:
    """Whether something is held now."""
    return world.loop.is_holding


async def test_it_serves_what_it_can_and_deletes_when_it_knows(
    kernel: FakeKernel,
) -> None:
    """Once the input is whole, what nobody wants goes at once."""
    source = ListSource((has(OTHER), BROKEN_FILE))
    world = World(source, kernel)
    with capture_logs() as logs:
        async with running(world):
            await world.until(lambda: world.loop.state.audits == 1)
            await world.idle()
            assert made_holds(world)
            servers = kernel.observe().state.virtual_servers
            assert {str(key.address) for key in servers} == {"10.96.0.10", "10.96.0.77"}
            world.clock.advance(CONFIG.sync_period_s)
            await world.until(lambda: world.loop.state.audits == 2)
            await world.idle()
            assert real_servers(kernel) == BOTH
            source.tell(REPAIRED)
            world.clock.advance(CONFIG.min_sync_period_s)
            await world.until(lambda: world.loop.state.audits == 3)
            assert not made_holds(world)
    assert WEB not in kernel.observe().state.virtual_servers
    told = [(log["log_level"], log["event"]) for log in logs]
    assert told.count(("warning", "input not known")) == 1
    assert told.count(("warning", "deletions held")) == 1
    assert told.count(("info", "input known")) == 1


async def test_a_daemon_that_is_told_nothing_does_nothing(kernel: FakeKernel) -> None:
    """As while the API server forbids to list: no audit before all is told."""

    class Silent(ListSource):
        async def events(self) -> AsyncGenerator[Event, None]:
            yield FIRST[0]
            await asyncio.Event().wait()

    world = World(Silent(()), kernel)
    async with running(world):
        await world.idle()
        world.clock.advance(1000)
        await world.idle()
    assert kernel.log == []


def test_a_list_that_is_believed_in_the_end_ends_the_doubt(kernel: FakeKernel) -> None:
    """Then what it does not have goes."""
    made = reconciler(kernel, NO_LIST, NO_SLICES)
    made.audit()
    take(made, Replaced(kind=Kind.ENDPOINT_SLICE, refs=frozenset()))
    take(made, Replaced(kind=Kind.SERVICE, refs=frozenset()))
    made.audit()
    assert not made.doubts
    assert not kernel.observe().state.virtual_servers


def test_a_service_that_is_read_again_ends_it(kernel: FakeKernel) -> None:
    """With that object, or without it: its doubt goes with it."""
    for event in (
        Upserted(kind=Kind.SERVICE, ref=builders.ref("web"), values=()),
        Deleted(kind=Kind.SERVICE, ref=builders.ref("web")),
        Replaced(kind=Kind.SERVICE, refs=frozenset()),
    ):
        made = reconciler(kernel, BROKEN_WEB)
        take(made, event)
        made.prepare()
        assert not made.doubts
