"""Virtual servers with very many real servers, changed portion by portion."""

import errno
import random
from collections.abc import Iterable

import pytest

from ipvsctl.cluster.store import Store
from ipvsctl.controller import crowds, imposer
from ipvsctl.controller.compile_queue import MOST_PARTS
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import KernelError
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    RealServerStats,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import Protocol, parse_address, parse_network
from ipvsctl.model.objects import ServicePort, SlicePort
from ipvsctl.plan.diff.ops import (
    AddEntry,
    AddRealServer,
    DeleteRealServer,
    DeleteStaleFlows,
    Op,
    UpdateRealServer,
)
from tests import builders
from tests.controller.cluster import (
    WEB,
    endpoints,
    has,
    has_not,
    has_slice,
    real_servers,
    take,
)
from tests.fakes.clock import FakeClock
from tests.fakes.kernel import FakeKernel

FEW = 5
MANY = 200


@pytest.fixture(autouse=True)
def _few_are_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowds, "CROWD", FEW)
    monkeypatch.setattr(imposer, "PART", 1)


@pytest.fixture
def kernel() -> FakeKernel:
    """A fresh kernel."""
    return FakeKernel(host_addresses=[parse_address("10.0.0.10")])


@pytest.fixture
def clock() -> FakeClock:
    """Time at the test's will."""
    return FakeClock()


@pytest.fixture
def reconciler(kernel: FakeKernel, clock: FakeClock) -> Reconciler:
    """A reconciler that has audited an empty cluster, then heard of `web`."""
    made = Reconciler(
        kernel=kernel,
        config=ProxyConfig(drain_timeout_s=60),
        store=Store("node-0"),
        clock=clock,
    )
    assert not made.audit().report.failed
    take(made, has(builders.service()))
    return made


def pod(number: int) -> str:
    """The address of a pod."""
    return f"172.16.{number // 250}.{number % 250 + 1}"


def key(number: int) -> RealServerKey:
    """The real server of a pod."""
    return RealServerKey(parse_address(pod(number)), 8080)


def served(numbers: Iterable[int], weight: int = 1) -> dict[str, int]:
    """What the real servers of these pods are."""
    return {f"{pod(number)}:8080": weight for number in numbers}


def has_parts(reconciler: Reconciler) -> bool:
    """Whether another sync has something to do."""
    return reconciler.has_parts


def sync(reconciler: Reconciler) -> list[tuple[Op, ...]]:
    """Sync until there is nothing left to do; the ops of each."""
    plans = []
    while True:
        report = reconciler.sync(reconciler.prepare_some(reconciler.take()))
        plans.append(report.plan)
        if report.report.failed or not reconciler.has_parts:
            return plans


def test_a_crowd_comes_in_portions(reconciler: Reconciler, kernel: FakeKernel) -> None:
    """No sync has more than it may, and the first one is read, and no other."""
    take(reconciler, endpoints(*map(pod, range(MANY))))
    kernel.partial_reads.clear()
    plans = sync(reconciler)
    assert real_servers(kernel) == served(range(MANY))
    added = [sum(isinstance(op, AddRealServer) for op in plan) for plan in plans]
    assert sum(added) == MANY
    assert max(added) <= MOST_PARTS
    assert [WEB in keys for keys in kernel.partial_reads] == [
        True,
        *(False for _ in plans[1:]),
    ]
    assert reconciler.audit().plan == ()


def test_one_change_costs_as_many_ops_and_no_reading(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """However many others there are."""
    take(reconciler, endpoints(*map(pod, range(MANY))))
    sync(reconciler)
    kernel.partial_reads.clear()
    take(reconciler, endpoints(*map(pod, range(MANY + 1))))
    (plan,) = sync(reconciler)
    assert [type(op) for op in plan] == [AddEntry, AddRealServer]
    assert kernel.partial_reads == [frozenset()]


def test_who_goes_drains_until_an_audit_has_looked(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """Nobody has read whether it has connections; without any the audit ends it."""
    take(reconciler, endpoints(*map(pod, range(MANY))))
    sync(reconciler)
    kernel.set_connections(WEB, key(0), RealServerStats(active=1))
    take(reconciler, endpoints(*map(pod, range(2, MANY))))
    sync(reconciler)
    both = {**served(range(2), 0), **served(range(2, MANY))}
    assert real_servers(kernel) == both
    assert reconciler.draining == {WEB}
    assert len(reconciler.drain_ages_s()) == 2
    assert reconciler.sync(reconciler.recheck_drains()).plan == ()
    assert real_servers(kernel) == both
    reconciler.audit()
    assert real_servers(kernel) == {**served([0], 0), **served(range(2, MANY))}
    reconciler.audit()
    assert len(reconciler.drain_ages_s()) == 1


def test_who_comes_back_is_no_drain(
    reconciler: Reconciler, kernel: FakeKernel, clock: FakeClock
) -> None:
    """The weight is restored, and the next drain has all of its time."""
    take(reconciler, endpoints(*map(pod, range(MANY))))
    sync(reconciler)
    kernel.set_connections(WEB, key(0), RealServerStats(active=1))
    take(reconciler, endpoints(*map(pod, range(1, MANY))))
    sync(reconciler)
    clock.advance(59)
    take(reconciler, endpoints(*map(pod, range(MANY))))
    (plan,) = sync(reconciler)
    assert [type(op) for op in plan] == [AddEntry, UpdateRealServer]
    assert real_servers(kernel) == served(range(MANY))
    assert not reconciler.draining
    take(reconciler, endpoints(*map(pod, range(1, MANY))))
    sync(reconciler)
    clock.advance(2)
    reconciler.audit()
    assert real_servers(kernel) == {**served([0], 0), **served(range(1, MANY))}


def test_somebody_else_changes_one(reconciler: Reconciler, kernel: FakeKernel) -> None:
    """An op that fails for that has the crowd read again; nothing stays wrong."""
    take(reconciler, endpoints(*map(pod, range(MANY))))
    sync(reconciler)
    kernel.apply((DeleteRealServer(WEB, key(0)),))
    take(reconciler, endpoints(*map(pod, range(1, MANY))))
    report = reconciler.sync(reconciler.prepare_some(reconciler.take())).report
    assert [failure.errno for failure in report.failed] == [errno.ENOENT]
    assert not reconciler.has_parts
    kernel.partial_reads.clear()
    take(reconciler, endpoints(*map(pod, range(1, MANY + 1))))
    sync(reconciler)
    assert kernel.partial_reads[0] == {WEB}
    assert real_servers(kernel) == served(range(1, MANY + 1))


def test_the_kernel_cannot_be_asked(reconciler: Reconciler, kernel: FakeKernel) -> None:
    """Nothing is tried again before the audit that follows, which does all of it."""
    take(reconciler, endpoints(*map(pod, range(MANY))))
    reconciler.sync(reconciler.prepare_some(reconciler.take()))
    assert has_parts(reconciler)
    kernel.break_reading(errno.ENOBUFS)
    other = builders.service("other", cluster_ips=(parse_address("10.96.0.11"),))
    take(reconciler, has(other))
    with pytest.raises(KernelError):
        reconciler.sync(reconciler.prepare_some(reconciler.take()))
    assert not has_parts(reconciler)
    kernel.break_reading(None)
    reconciler.audit()
    assert real_servers(kernel) == served(range(MANY))
    take(reconciler, endpoints(*map(pod, range(MANY - 1))))
    assert len(sync(reconciler)) == 1
    assert real_servers(kernel) == {
        **served(range(MANY - 1)),
        **served([MANY - 1], 0),
    }


def test_what_an_audit_repairs_is_known(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """Its ops count like those of syncs."""
    take(reconciler, endpoints(*map(pod, range(MANY))))
    sync(reconciler)
    kernel.apply((DeleteRealServer(WEB, key(0)),))
    reconciler.audit()
    take(reconciler, endpoints(*map(pod, range(1, MANY))))
    sync(reconciler)
    assert real_servers(kernel) == {**served([0], 0), **served(range(1, MANY))}


def test_a_crowd_goes_in_one_op(reconciler: Reconciler, kernel: FakeKernel) -> None:
    """And comes again as if it had never been there."""
    web = builders.service()
    take(reconciler, endpoints(*map(pod, range(MANY))))
    sync(reconciler)
    take(reconciler, has_not(web))
    sync(reconciler)
    assert WEB not in kernel.observe().state.virtual_servers
    kernel.partial_reads.clear()
    take(reconciler, has(web))
    sync(reconciler)
    assert kernel.partial_reads[0] == {WEB}
    assert real_servers(kernel) == served(range(MANY))


def test_what_was_left_to_others_is_read_again(
    kernel: FakeKernel, clock: FakeClock
) -> None:
    """It stays in the kernel when its Service goes; then it is somebody else's."""
    made = Reconciler(
        kernel=kernel,
        config=ProxyConfig(exclude_cidrs=(parse_network("10.96.0.0/24"),)),
        store=Store("node-0"),
        clock=clock,
    )
    made.audit()
    web = builders.service()
    take(made, has(web), endpoints(*map(pod, range(MANY))))
    sync(made)
    take(made, has_not(web))
    sync(made)
    assert real_servers(kernel) == served(range(MANY))
    theirs = RealServer(key=key(MANY + 1))
    kernel.withdraw(WEB)
    kernel.preload(VirtualServer(key=WEB, scheduler="rr", netmask_bits=32), theirs)
    take(made, has(web))
    report = made.sync(made.prepare_some(made.take())).report
    assert [failure.errno for failure in report.failed] == [errno.EEXIST]
    assert real_servers(kernel) == served([MANY + 1])


def test_a_crowd_that_shrinks_is_read_again(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """What is few is as cheap to read as ever."""
    take(reconciler, endpoints(*map(pod, range(MANY))))
    sync(reconciler)
    take(reconciler, endpoints(*map(pod, range(2))))
    sync(reconciler)
    reconciler.audit()
    take(reconciler, endpoints(*map(pod, range(3))))
    sync(reconciler)
    kernel.partial_reads.clear()
    take(reconciler, endpoints(*map(pod, range(4))))
    sync(reconciler)
    assert kernel.partial_reads == [{WEB}]
    assert real_servers(kernel) == served(range(4))


def test_flows_may_lead_to_all_of_a_crowd(
    reconciler: Reconciler, kernel: FakeKernel
) -> None:
    """One UDP endpoint goes; the flows of all others stay."""
    port = ServicePort(name="http", protocol=Protocol.UDP, port=80)
    dns = builders.service(ports=(port,))

    def pods(numbers: Iterable[int]) -> None:
        ports = (SlicePort(name="http", protocol=Protocol.UDP, port=8080),)
        piece = builders.endpoint_slice("web-1", *map(pod, numbers), ports=ports)
        take(reconciler, has_slice(piece))

    take(reconciler, has(dns))
    pods(range(MANY))
    sync(reconciler)
    pods(range(1, MANY))
    (plan,) = sync(reconciler)
    flows = [op for op in plan if isinstance(op, DeleteStaleFlows)]
    assert [op.keep for op in flows] == [frozenset(map(key, range(1, MANY)))]
    udp = VirtualServerKey(
        family=WEB.family, protocol=Protocol.UDP, address=WEB.address, port=80
    )
    assert real_servers(kernel, udp) == served(range(1, MANY))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_an_audit_later_all_is_right(
    reconciler: Reconciler, kernel: FakeKernel, seed: int
) -> None:
    """Endpoints come and go, others meddle, ops fail, audits come between portions."""
    chance = random.Random(seed)
    wanted: set[int] = set()
    for _ in range(60):
        match chance.randrange(6):
            case 0 | 1 | 2:
                wanted = set(chance.sample(range(40), chance.randrange(1, 40)))
                take(reconciler, endpoints(*map(pod, sorted(wanted))))
            case 3:
                held = [*kernel.observe().state.real_servers.get(WEB, ())]
                if held:
                    kernel.apply((DeleteRealServer(WEB, chance.choice(held)),))
            case 4:
                held = [*kernel.observe().state.real_servers.get(WEB, ())]
                for one in chance.sample(held, len(held) // 3):
                    kernel.set_connections(WEB, one, RealServerStats(active=1))
            case _:
                kernel.fail_on(lambda _: chance.random() < 0.05, errno.ENOMEM)
        for _ in range(chance.randrange(4)):
            reconciler.sync(reconciler.prepare_some(reconciler.take()))
        kernel.stop_failing()
        if not chance.randrange(4):
            reconciler.audit()
    sync(reconciler)
    reconciler.audit()
    reconciler.audit()
    now = real_servers(kernel)
    assert served(wanted).items() <= now.items()
    assert all(not weight for name, weight in now.items() if name not in served(wanted))
