"""Audits in steps, with drift before and syncs in between, in random worlds."""

import random
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import pytest

from ipvsctl.cluster.events import Event
from ipvsctl.cluster.store import Store
from ipvsctl.controller.audit_run import AuditRun
from ipvsctl.controller.look import see
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.net import IPv4Address, Protocol, parse_address
from ipvsctl.model.objects import ServicePort, TrafficPolicy
from ipvsctl.model.steps import finish
from ipvsctl.plan.diff.ops import (
    DeleteEntry,
    DeleteRealServer,
    DeleteRoute,
    DeleteVirtualServer,
    Op,
    Plan,
    UnbindAddress,
)
from tests import builders
from tests.controller.cluster import has, has_not, has_slice, take
from tests.fakes.kernel import FakeKernel

T = TypeVar("T")

SERVICES = 30
ENDPOINTS = 20


class World:
    """A node that serves some Services, and what happens to it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.kernel = FakeKernel(host_addresses=[parse_address("10.0.0.10")])
        self.reconciler = Reconciler(
            kernel=self.kernel, config=ProxyConfig(), store=Store("node-0")
        )
        for number in range(SERVICES):
            take(self.reconciler, self._service(number), self._endpoints(number))
        assert not self.reconciler.audit().report.failed

    def drift(self) -> None:
        """Somebody takes away half of what there is, without our knowing."""
        state = self.kernel.observe().state
        gone: list[Op] = [DeleteRoute(vip) for vip in state.routes]
        gone += [UnbindAddress(vip) for vip in state.addresses]
        gone += [
            DeleteEntry(name, entry)
            for name, entries in state.entries.items()
            for entry in entries
        ]
        gone += [
            DeleteRealServer(key, server)
            for key, servers in state.real_servers.items()
            for server in servers
        ]
        gone += [DeleteVirtualServer(key) for key in state.virtual_servers]
        half = sorted(gone, key=str)
        self.random.shuffle(half)
        self.kernel.apply(tuple(half[: len(half) // 2]))

    def sync(self) -> None:
        """A Service or its endpoints come, go or change, and that is imposed."""
        number = self.random.randrange(SERVICES + 5)
        event = self.random.choice((self._service, self._endpoints, self._no_service))
        take(self.reconciler, event(number))
        change = self.reconciler.prepare()
        assert not change.needs_audit
        assert not self.reconciler.sync(change).report.failed

    def plan(self) -> Plan:
        """What an audit would do now."""
        return see(self.reconciler, self.reconciler.observe()).plan()

    def walk(self, steps: Generator[Any, None, T], between: Callable[[], None]) -> T:
        """Do steps, and something else between some of them."""
        while True:
            try:
                next(steps)
            except StopIteration as done:
                result: T = done.value
                return result
            if self.random.random() < 0.3:
                between()

    def _service(self, number: int) -> Event:
        is_local = self.random.random() < 0.5
        protocol = Protocol.UDP if number % 3 == 0 else Protocol.TCP
        return has(
            builders.service(
                f"s{number}",
                ports=(ServicePort(name="http", protocol=protocol, port=80),),
                cluster_ips=(IPv4Address(f"10.96.0.{number + 1}"),),
                # Shared by two, who cannot both have it.
                external_ips=(IPv4Address(f"203.0.113.{number // 2 + 1}"),),
                external_traffic_policy=(
                    TrafficPolicy.LOCAL if is_local else TrafficPolicy.CLUSTER
                ),
            )
        )

    def _no_service(self, number: int) -> Event:
        return has_not(builders.service(f"s{number}"))

    def _endpoints(self, number: int) -> Event:
        return has_slice(
            builders.endpoint_slice(
                f"s{number}-1",
                *(
                    f"172.16.{number}.{self.random.randrange(1, 250)}"
                    for _ in range(ENDPOINTS)
                ),
                service_name=f"s{number}",
            )
        )


@pytest.mark.parametrize("seed", range(12))
def test_syncs_between_its_steps_do_no_harm(seed: int) -> None:
    """No op fails; all drift is repaired that no sync was about, then the rest."""
    world = World(seed)
    reconciler = world.reconciler
    world.drift()
    run = AuditRun(reconciler)
    outcome = world.walk(run.between_syncs(), world.sync)
    assert outcome is not None
    assert not outcome.report.report.failed
    assert outcome.report.plan
    left = world.plan()
    assert [str(op) for op in left if not run.touched.concerns(op)] == []

    assert not reconciler.audit().report.failed
    assert world.plan() == ()


def test_it_repairs_what_audits_at_once_do() -> None:
    """Without syncs in between, the plan is the same."""
    world = World(0)
    world.drift()
    expected = see(world.reconciler, world.reconciler.survey()).plan()
    outcome = finish(AuditRun(world.reconciler).between_syncs())
    assert outcome is not None
    assert outcome.report.plan == expected
    assert len(expected) > 400, "it takes several steps"
    assert world.plan() == ()


def test_a_set_is_not_made_while_syncs_run() -> None:
    """Nothing is done then, because entries that come meanwhile would be lost."""
    world = World(0)
    world.kernel.reboot()
    before = len(world.kernel.log)
    assert finish(AuditRun(world.reconciler).between_syncs()) is None
    assert len(world.kernel.log) == before
    assert not world.reconciler.audit().report.failed
    assert world.plan() == ()
