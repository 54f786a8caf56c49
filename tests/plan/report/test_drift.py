"""What of an audit is repair, and what is its own business."""

from collections.abc import Callable
from typing import get_args

import pytest

from ipvsctl.cluster.events import Deleted, Invalid
from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import RealServerKey, RealServerStats
from ipvsctl.model.net import IPv4Address
from ipvsctl.model.problem import Kind
from ipvsctl.plan.diff.ops import (
    AddEntry,
    AddRealServer,
    AddVirtualServer,
    BindAddress,
    DeleteEntry,
    DeleteRealServer,
    DeleteStaleFlows,
    DeleteVirtualServer,
    Op,
    SetSysctl,
    UnbindAddress,
)
from ipvsctl.plan.report.drift import DRIFTING_KINDS, find_drift
from ipvsctl.plan.union.desired_change import DesiredChange
from tests import builders
from tests.controller.cluster import FIRST, WEB, endpoints, has, take
from tests.fakes.kernel import FakeKernel

POD = RealServerKey(IPv4Address("172.16.0.1"), 8080)


class Node:
    """A node that has been audited once."""

    def __init__(self) -> None:
        self.kernel = FakeKernel()
        self.reconciler = Reconciler(
            kernel=self.kernel, config=ProxyConfig(), store=Store("node-0")
        )
        take(self.reconciler, *FIRST)
        self.reconciler.audit()

    def audit(self, *tried: str) -> list[Op]:
        """What the next audit calls drift."""
        changes: tuple[DesiredChange, ...] = (self.reconciler.prepare(),)
        observed = self.reconciler.observe()
        changes += (self.reconciler.absorb(observed),)
        plan = self.reconciler.impose(observed).plan
        return list(find_drift(plan, observed, changes, tried))


@pytest.fixture
def node() -> Node:
    """A node with one Service."""
    return Node()


def test_every_op_may_be_drift() -> None:
    """All but that which ends stale flows, which is nobody's doing."""
    never = {op for op in get_args(Op) if op.kind not in DRIFTING_KINDS}
    assert never == {DeleteStaleFlows}


def test_nothing_changed(node: Node) -> None:
    """There is no drift."""
    assert node.audit() == []


@pytest.mark.parametrize(
    ("damage", "repair"),
    [
        (DeleteVirtualServer(WEB), {AddVirtualServer, AddRealServer}),
        (DeleteRealServer(WEB, POD), {AddRealServer}),
        (UnbindAddress(IPv4Address("10.96.0.10")), {BindAddress}),
        (BindAddress(IPv4Address("10.96.0.99")), {UnbindAddress}),
        (SetSysctl("net/ipv4/vs/conntrack", "0"), {SetSysctl}),
    ],
)
def test_damage_is_drift(node: Node, damage: Op, repair: set[type[Op]]) -> None:
    """What somebody took away, or put there."""
    node.kernel.apply((damage,))
    assert {type(op) for op in node.audit()} == repair
    assert node.audit() == []


def test_entries(node: Node) -> None:
    """One that went and one that came are drift."""
    state = node.kernel.observe().state
    name, entries = next((n, e) for n, e in state.entries.items() if e)
    node.kernel.apply((DeleteEntry(name, next(iter(entries))),))
    assert [type(op) for op in node.audit()] == [AddEntry]


@pytest.mark.parametrize(
    "change",
    [
        lambda node: take(node.reconciler, endpoints("172.16.0.1", "172.16.0.2")),
        lambda node: take(
            node.reconciler,
            has(builders.service("b", cluster_ips=(IPv4Address("10.96.0.20"),))),
        ),
        lambda node: take(
            node.reconciler,
            Deleted(kind=Kind.SERVICE, ref=builders.service().ref),
        ),
    ],
)
def test_events_are_no_drift(node: Node, change: Callable[[Node], None]) -> None:
    """An audit that imposes them repairs nothing."""
    change(node)
    assert node.audit() == []


def test_an_event_explains_only_its_own(node: Node) -> None:
    """Damage elsewhere is found in the same audit."""
    other = builders.service("b", cluster_ips=(IPv4Address("10.96.0.20"),))
    take(node.reconciler, has(other))
    node.kernel.apply((UnbindAddress(IPv4Address("10.96.0.10")),))
    assert node.audit() == [BindAddress(IPv4Address("10.96.0.10"))]


def test_a_drain_that_ends_is_no_drift(node: Node) -> None:
    """Its real server was to go."""
    node.kernel.set_connections(WEB, POD, RealServerStats(active=1))
    take(node.reconciler, endpoints("172.16.0.2"))
    assert node.audit() == []
    assert node.kernel.observe().state.real_servers[WEB][POD].weight == 0
    node.kernel.set_connections(WEB, POD, RealServerStats())
    assert node.audit() == []
    assert POD not in node.kernel.observe().state.real_servers[WEB]


def test_what_failed_before_is_no_drift(node: Node) -> None:
    """It is tried again because it was never there."""
    node.kernel.apply((UnbindAddress(IPv4Address("10.96.0.10")),))
    assert node.audit(str(BindAddress(IPv4Address("10.96.0.10")))) == []


def test_what_was_held_is_no_drift(node: Node) -> None:
    """It goes when the input can be read again, which is nobody's damage."""
    ref = builders.ref("web-2")
    broken = Invalid(
        kind=Kind.ENDPOINT_SLICE, ref=ref, problems=(), service=builders.ref("web")
    )
    take(node.reconciler, broken)
    take(node.reconciler, endpoints("172.16.0.9"))
    node.audit()
    assert POD in node.kernel.observe().state.real_servers[WEB]
    take(node.reconciler, Deleted(kind=Kind.ENDPOINT_SLICE, ref=ref))
    assert node.audit() == []
    assert POD not in node.kernel.observe().state.real_servers[WEB]
