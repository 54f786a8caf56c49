"""An endpoint that comes gets its weight step by step, whatever happens meanwhile."""

from collections.abc import Callable

import msgspec
import pytest

from ipvsctl.cluster.events import Deleted
from ipvsctl.cluster.store import Store
from ipvsctl.controller.look import see
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import RealServer, RealServerKey, RealServerStats
from ipvsctl.model.net import parse_address
from ipvsctl.model.problem import Kind, ObjectRef
from ipvsctl.plan.diff.crowd import CROWD
from ipvsctl.plan.diff.ops import UpdateRealServer
from tests import builders
from tests.controller.cluster import (
    FIRST,
    WEB,
    endpoints,
    has,
    real_servers,
    take,
)
from tests.fakes.clock import FakeClock
from tests.fakes.kernel import FakeKernel

SLOW = ProxyConfig(slow_start_s=60)
OLD, NEW = "172.16.0.1:8080", "172.16.0.2:8080"
BOTH = endpoints("172.16.0.1", "172.16.0.2")

SLICE = ObjectRef("default", "web-1")

Make = Callable[..., Reconciler]


@pytest.fixture
def clock() -> FakeClock:
    """Time at the test's will."""
    return FakeClock()


@pytest.fixture
def kernel() -> FakeKernel:
    """A fresh kernel."""
    return FakeKernel(host_addresses=[parse_address("10.0.0.10")])


@pytest.fixture
def make(kernel: FakeKernel, clock: FakeClock) -> Make:
    """Makes a process that knows `web` with one endpoint, before its first audit."""

    def made(config: ProxyConfig = SLOW, *, lasts: bool = True) -> Reconciler:
        reconciler = Reconciler(
            kernel=kernel,
            config=config,
            store=Store("node-0"),
            clock=clock,
            lasts=lasts,
        )
        take(reconciler, *FIRST)
        return reconciler

    return made


@pytest.fixture
def reconciler(make: Make) -> Reconciler:
    """One that has programmed it."""
    made = make()
    assert not made.audit().report.failed
    return made


def sync(reconciler: Reconciler) -> None:
    """Impose what changed."""
    assert not reconciler.sync(reconciler.prepare()).report.failed


def settle(reconciler: Reconciler) -> None:
    """Look at what drains or grows, as the daemon does all the time."""
    assert not reconciler.sync(reconciler.recheck_drains()).report.failed


def test_the_first_endpoints_have_all_at_once(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """There is nobody who could have their share meanwhile."""
    assert real_servers(kernel) == {OLD: 10}
    assert reconciler.growing == frozenset()
    take(reconciler, Deleted(kind=Kind.ENDPOINT_SLICE, ref=SLICE))
    sync(reconciler)
    assert real_servers(kernel) == {}
    take(reconciler, BOTH)
    sync(reconciler)
    assert real_servers(kernel) == {OLD: 10, NEW: 10}


def test_one_that_comes_grows(
    reconciler: Reconciler, kernel: FakeKernel, clock: FakeClock
) -> None:
    """From a tenth to all of it; audits and looks in between have nothing to do."""
    take(reconciler, BOTH)
    sync(reconciler)
    seen = []
    for _ in range(13):
        seen.append(real_servers(kernel)[NEW])
        assert reconciler.growing == ({WEB} if seen[-1] < 10 else frozenset())
        assert reconciler.audit().plan == ()
        assert see(reconciler, reconciler.survey()).plan() == ()
        clock.advance(6)
        settle(reconciler)
    assert seen == [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10]
    assert real_servers(kernel)[OLD] == 10


def test_an_audit_goes_on_with_it_too(
    reconciler: Reconciler, kernel: FakeKernel, clock: FakeClock
) -> None:
    """If nobody looks in between."""
    take(reconciler, BOTH)
    reconciler.audit()
    assert real_servers(kernel)[NEW] == 1
    clock.advance(30)
    reconciler.audit()
    assert real_servers(kernel)[NEW] == 5
    clock.advance(30)
    reconciler.audit()
    assert real_servers(kernel)[NEW] == 10
    assert reconciler.growing == frozenset()


def test_the_next_process_goes_on(
    reconciler: Reconciler, make: Make, kernel: FakeKernel, clock: FakeClock
) -> None:
    """What the kernel has says how far it has come."""
    take(reconciler, BOTH)
    sync(reconciler)
    clock.advance(42)
    settle(reconciler)
    assert real_servers(kernel)[NEW] == 7
    clock.advance(100_000)
    following = make()
    take(following, BOTH)
    assert following.audit().plan == ()
    clock.advance(6)
    settle(following)
    assert real_servers(kernel)[NEW] == 8
    clock.advance(12)
    settle(following)
    assert real_servers(kernel)[NEW] == 10


def test_a_command_that_ends_leaves_nobody_at_a_tenth(
    reconciler: Reconciler, make: Make, kernel: FakeKernel, clock: FakeClock
) -> None:
    """`apply` gives all of it to what it adds, and lets alone what grows."""
    take(reconciler, BOTH)
    sync(reconciler)
    clock.advance(30)
    settle(reconciler)
    command = make(lasts=False)
    take(command, endpoints("172.16.0.1", "172.16.0.2", "172.16.0.3"))
    command.audit()
    assert real_servers(kernel) == {OLD: 10, NEW: 5, "172.16.0.3:8080": 10}
    settle(reconciler)
    assert reconciler.audit().plan


def test_what_flaps_begins_again(
    reconciler: Reconciler, kernel: FakeKernel, clock: FakeClock
) -> None:
    """Gone and there again; also while connections of its keep it there, at 0."""
    take(reconciler, BOTH)
    sync(reconciler)
    clock.advance(60)
    settle(reconciler)
    key = RealServerKey(parse_address("172.16.0.2"), 8080)
    for has_connections in (False, True):
        kernel.set_connections(WEB, key, RealServerStats(active=int(has_connections)))
        take(reconciler, endpoints("172.16.0.1"))
        sync(reconciler)
        assert real_servers(kernel).get(NEW) == (0 if has_connections else None)
        take(reconciler, BOTH)
        sync(reconciler)
        assert real_servers(kernel)[NEW] == 1
        clock.advance(60)
        settle(reconciler)
        assert real_servers(kernel)[NEW] == 10


def test_what_goes_while_it_grows_is_forgotten(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """And so is what a Service has that goes."""
    take(reconciler, BOTH)
    sync(reconciler)
    take(reconciler, endpoints("172.16.0.1"))
    sync(reconciler)
    assert reconciler.growing == frozenset()
    assert real_servers(kernel) == {OLD: 10}


def test_weights_that_others_change_are_put_right(
    reconciler: Reconciler, kernel: FakeKernel, clock: FakeClock
) -> None:
    """To what they are to be at that time."""
    take(reconciler, BOTH)
    sync(reconciler)
    clock.advance(30)
    settle(reconciler)
    key = RealServerKey(parse_address("172.16.0.2"), 8080)
    others = UpdateRealServer(WEB, RealServer(key=key, weight=77))
    assert not kernel.apply((others,)).failed
    reconciler.audit()
    assert real_servers(kernel)[NEW] == 5


def test_a_change_of_the_setting_cuts_nothing(
    reconciler: Reconciler, make: Make, kernel: FakeKernel, clock: FakeClock
) -> None:
    """Off, weights are those of the slices at once; on, all grow alike."""
    take(reconciler, BOTH)
    sync(reconciler)
    without = make(msgspec.structs.replace(SLOW, slow_start_s=0))
    take(without, BOTH)
    without.audit()
    assert real_servers(kernel) == {OLD: 1, NEW: 1}
    assert without.growing == frozenset()
    again = make()
    take(again, BOTH)
    again.audit()
    assert len({*real_servers(kernel).values()}) == 1
    clock.advance(60)
    settle(again)
    assert real_servers(kernel) == {OLD: 10, NEW: 10}


def test_one_of_very_many_has_all_at_once(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """Its share is small anyway, and such virtual servers are imposed in portions."""
    many = [f"172.17.{n // 250}.{n % 250 + 1}" for n in range(CROWD)]
    take(reconciler, endpoints(*many[:-1], "172.16.0.1"))
    while reconciler.has_parts or reconciler.has_large:
        sync(reconciler)
    reconciler.audit()
    take(reconciler, endpoints(*many, "172.16.0.1"))
    reconciler.audit()
    assert {*real_servers(kernel).values()} == {10}
    assert reconciler.growing == frozenset()


def test_nothing_is_kept_where_nobody_starts_slowly(make: Make) -> None:
    """Plans know nothing of it."""
    plain = make(ProxyConfig())
    plain.audit()
    assert plain.imposer.options().ramps is None


def test_a_service_may_want_it_for_itself(
    make: Make, kernel: FakeKernel, clock: FakeClock
) -> None:
    """By its annotation, in its own time."""
    reconciler = make(ProxyConfig())
    reconciler.audit()
    annotations = (("ipvsctl.io/slow-start", "20s"),)
    take(reconciler, has(builders.service(annotations=annotations)))
    sync(reconciler)
    clock.advance(20)
    settle(reconciler)
    assert real_servers(kernel) == {OLD: 10}
    take(reconciler, BOTH)
    sync(reconciler)
    clock.advance(10)
    settle(reconciler)
    assert real_servers(kernel) == {OLD: 10, NEW: 5}
