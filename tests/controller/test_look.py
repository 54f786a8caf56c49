"""Looks at a node whose syncs and audits go on: what is shown is true in the end."""

from collections.abc import Callable

import pytest

from ipvsctl.cluster.events import Invalid
from ipvsctl.controller.audit_run import AuditRun
from ipvsctl.controller.look import Seen, look_in_steps, see
from ipvsctl.model.ipvs import RealServerKey
from ipvsctl.model.net import parse_address
from ipvsctl.model.problem import Kind
from ipvsctl.model.steps import finish
from ipvsctl.plan.diff.ops import (
    BindAddress,
    DeleteRealServer,
    DeleteVirtualServer,
    UnbindAddress,
)
from tests import builders
from tests.controller.cluster import WEB, has, take
from tests.controller.test_audit import World

POD = RealServerKey(parse_address("172.16.0.1"), 8080)


def looked(world: World, between: Callable[[], None]) -> Seen:
    """A look with something else between some of its steps."""
    return world.walk(look_in_steps(world.reconciler), between)


@pytest.mark.parametrize("seed", range(8))
def test_syncs_between_its_steps_are_seen(seed: int) -> None:
    """There is no difference that is none, and it holds what the kernel holds."""
    world = World(seed)
    for _ in range(5):
        seen = looked(world, world.sync)
        assert seen.plan() == ()
        held, now = seen.observed.state, world.kernel.observe().state
        assert held.virtual_servers == now.virtual_servers
        assert held.real_servers == now.real_servers
        assert seen.desired.state.virtual_servers.keys() == now.virtual_servers.keys()


@pytest.mark.parametrize("seed", range(4))
def test_drift_is_seen_until_it_is_repaired(seed: int) -> None:
    """By an audit that ends meanwhile, too."""
    world = World(seed)
    world.drift()
    seen = looked(world, lambda: None)
    assert seen.plan() == world.plan() != ()
    run = AuditRun(world.reconciler)

    def audit() -> None:
        if not run.changes:
            finish(run.between_syncs())

    seen = looked(world, audit)
    assert run.changes
    assert seen.plan() == ()


def test_what_is_seen_changes_no_more() -> None:
    """An answer is made of it while the node goes on."""
    world = World(0)
    seen = looked(world, lambda: None)
    programs, state = dict(seen.desired.programs), seen.desired.state
    before = {name: set(entries) for name, entries in state.entries.items()}
    vips = set(state.addresses)
    servers = {key: seen.desired.server(key) for key in state.virtual_servers}
    for _ in range(50):
        world.sync()
    assert seen.plan() == ()
    assert seen.desired.programs == programs
    assert {name: set(entries) for name, entries in state.entries.items()} == before
    assert set(state.addresses) == vips
    assert servers == {k: seen.desired.server(k) for k in state.virtual_servers}


def test_it_finds_what_was_compiled_wrongly() -> None:
    """The problems of all objects, though they are put into words step by step."""
    world = World(0)
    vip = parse_address("10.0.0.10")
    for number in range(450):
        name = f"bad{number}"
        address = parse_address(f"10.97.{number // 250}.{number % 250 + 1}")
        service = builders.service(name, cluster_ips=(address,), external_ips=(vip,))
        take(world.reconciler, has(service))
    world.reconciler.sync(world.reconciler.prepare())
    seen = looked(world, lambda: None)
    assert sorted(seen.problems) == sorted(world.reconciler.problems())
    assert len(seen.problems) >= 450


def test_what_is_held_is_counted() -> None:
    """And follows nothing that is known later."""
    world = World(0)
    file = builders.ref("b.yaml")
    take(world.reconciler, Invalid(kind=Kind.MANIFEST, ref=file, problems=()))
    world.reconciler.prepare()
    before = see(world.reconciler, world.reconciler.observe())
    assert finish(before.held_in_steps()) == 0
    for key in tuple(world.kernel.observe().state.virtual_servers)[:1]:
        assert not world.kernel.apply((DeleteVirtualServer(key),)).failed
    seen = see(world.reconciler, world.reconciler.observe())
    assert finish(seen.held_in_steps()) == 0
    assert seen.plan() != ()


def test_of_what_was_touched_only_the_servers_are_read_again() -> None:
    """Entries and addresses were just imposed, and are taken for that."""
    world = World(0)
    seen = looked(world, lambda: None)
    address = next(iter(seen.desired.state.addresses))
    seen.touched.add_ops((UnbindAddress(address), DeleteRealServer(WEB, POD)))
    assert seen.touched.concerns(BindAddress(address))
    assert seen.touched.take_keys(5) == {WEB}
    assert seen.touched.keys == frozenset()
