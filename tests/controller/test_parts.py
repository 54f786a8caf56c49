"""A daemon that cannot read a part of the kernel."""

import errno

import pytest
from structlog.testing import capture_logs

from ipvsctl.controller.drift_watch import GLANCE_S
from ipvsctl.model.net import IPFamily, IPv4Address
from ipvsctl.model.parts import EVIDENCE, RULES, Part
from ipvsctl.model.rules import ChainRef, Table, UnknownRule
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.kinds import ObjectKind, Verb
from ipvsctl.plan.diff.ops import (
    ChangeRules,
    CreateSet,
)
from ipvsctl.plan.diff.plan import DiffOptions, diff
from ipvsctl.wire.ipset.sets import SetSpec, SetType
from tests.builders import service
from tests.controller.cluster import (
    FIRST,
    WEB,
    ListSource,
    endpoints,
    has_not,
    real_servers,
)
from tests.controller.test_loop import CONFIG, World, has_audited, running

OPTIONS = DiffOptions(vip_link="kube-ipvs0")


def lose(world: World, *kinds: ObjectKind) -> None:
    """Have somebody take away everything of some kinds."""
    plan = diff(world.kernel.observe(), NodeState(), OPTIONS)
    report = world.kernel.apply(tuple(op for op in plan if op.kind in kinds))
    assert not report.failed
    world.kernel.log.clear()


def is_synced(world: World) -> bool:
    """Whether all has been imposed once."""
    return world.loop.state.synced


def serves(world: World) -> bool:
    """Whether the virtual server is there."""
    found = world.kernel.observe_virtual_servers([WEB]).state
    return WEB in found.virtual_servers


VIP = IPv4Address("10.96.0.10")
RETRY_S = 31


@pytest.mark.parametrize("part", sorted(EVIDENCE))
async def test_nothing_is_imposed_before_it_is_known_whose_things_are(
    part: Part,
) -> None:
    """The first audit waits for it, says why, and others' things are safe."""
    world = World(ListSource(FIRST))
    world.kernel.unread[part] = "answer cut short"
    async with running(world):
        with capture_logs() as logs:
            await world.until(
                lambda: "audit failed" in {line["event"] for line in logs}
            )
            await world.idle()
        assert world.kernel.log == []
        assert not is_synced(world)
        assert part in world.loop.state.read_ages_s()
        world.kernel.unread.clear()
        world.clock.advance(RETRY_S)
        await world.until(lambda: real_servers(world.kernel) == {"172.16.0.1:8080": 1})
        assert is_synced(world)
    (line,) = [line for line in logs if line["event"] == "audit failed"]
    assert line["reason"].endswith(": answer cut short")


@pytest.mark.parametrize("part", Part)
async def test_a_part_takes_only_its_own(part: Part) -> None:
    """The rest is mended, syncs go on, nothing is deleted; in the end all is equal."""
    source = ListSource(FIRST)
    world = World(source)
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        await world.idle()
        lose(world, ObjectKind.VIRTUAL_SERVER, ObjectKind.LINK, ObjectKind.RULES)
        world.kernel.unread[part] = "answer cut short"
        world.clock.advance(CONFIG.sync_period_s)
        await world.until(lambda: world.loop.state.audits > 1)
        await world.idle()
        assert serves(world) == (part is not Part.IPVS)
        assert world.kernel.is_local(VIP) == (part is not Part.NETWORK)
        rules = {
            o.change.family for o in world.kernel.log if isinstance(o, ChangeRules)
        }
        assert rules == {f for f, of_rules in RULES.items() if of_rules is not part}
        assert not [op for op in world.kernel.log if op.verb is Verb.DELETE]
        assert world.loop.state.unread == {part}

        world.kernel.unread.clear()
        world.clock.advance(RETRY_S)
        await world.until(lambda: not world.loop.state.unread)
        source.tell(endpoints("172.16.0.2"))
        await world.until(lambda: real_servers(world.kernel) == {"172.16.0.2:8080": 1})
    assert (
        world.kernel.observe().state.chains == world.reconciler.desired.state().chains
    )


@pytest.mark.parametrize("part", sorted(EVIDENCE))
async def test_what_could_not_be_deleted_goes_when_all_can_be_read(part: Part) -> None:
    """Nobody's virtual server stays for good because of a fault that was short."""
    source = ListSource(FIRST)
    world = World(source)
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        left = world.kernel.observe().state
        source.tell(has_not(service()))
        await world.until(lambda: not real_servers(world.kernel))
        # Somebody restores what was saved before.
        world.kernel.apply(diff(world.kernel.observe(), left, OPTIONS))
        world.kernel.unread[part] = "answer cut short"
        await world.idle()
        world.clock.advance(CONFIG.sync_period_s)
        await world.until(lambda: world.loop.state.audits > 1)
        await world.idle()
        assert serves(world)
        world.kernel.unread.clear()
        world.clock.advance(RETRY_S)
        await world.until(lambda: not serves(world))


async def test_sets_that_are_made_anew_do_not_wait_for_rules() -> None:
    """Syncs wait for neither; the rules come in the audit after, beside them."""
    world = World(ListSource(FIRST))
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        await world.idle()
        lose(world, ObjectKind.RULES, ObjectKind.SET)
        world.clock.advance(GLANCE_S)
        await world.until(lambda: world.loop.state.audits == 3)
        await world.idle()
    kinds = [type(op) for op in world.kernel.log]
    assert kinds.count(CreateSet) == len(world.reconciler.desired.state().sets)
    assert kinds.count(ChangeRules) == len(RULES)
    assert kinds.index(ChangeRules) > max(
        at for at, kind in enumerate(kinds) if kind is CreateSet
    )
    assert (
        world.kernel.observe().state.chains == world.reconciler.desired.state().chains
    )


@pytest.mark.parametrize("part", sorted(EVIDENCE - {Part.SETS}))
async def test_sets_are_made_anew_although_another_part_is_unread(part: Part) -> None:
    """The node's addresses are those known before."""
    world = World(ListSource(FIRST))
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        await world.idle()
        lose(world, ObjectKind.RULES, ObjectKind.SET)
        world.kernel.unread[part] = "answer cut short"
        world.clock.advance(GLANCE_S)
        await world.until(lambda: world.loop.state.audits >= 3)
        world.kernel.unread.clear()
        observed = world.kernel.observe().state
    desired = world.reconciler.desired.state()
    assert observed.sets.keys() == desired.sets.keys()
    assert observed.chains == desired.chains


async def test_sets_that_wrong_rules_hold() -> None:
    """Another proxy was started for a moment: its rules go, and then its sets."""
    world = World(ListSource(FIRST))
    name = "KUBE-NODE-PORT-TCP"
    held = UnknownRule(f"-p tcp -m set --match-set {name} dst -j KUBE-MARK-MASQ")
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        await world.idle()
        world.kernel.preload_set(SetSpec(name=name, type=SetType.BITMAP_PORT))
        chain = ChainRef(Table.NAT, "KUBE-SERVICES")
        world.kernel.preload_chains(IPFamily.IPV4, {chain: (held,)})
        for _ in range(4):
            world.clock.advance(RETRY_S)
            await world.idle()
        assert not world.loop.state.failed_ops
        observed = world.kernel.observe().state
    desired = world.reconciler.desired.state()
    assert observed.chains == desired.chains
    assert not observed.leftovers


async def test_a_set_that_cannot_be_made() -> None:
    """Audits keep their pauses, and all else is mended: the rules too, in the end."""
    world = World(ListSource(FIRST))
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        await world.idle()
        lose(world, ObjectKind.SET, ObjectKind.RULES, ObjectKind.VIRTUAL_SERVER)
        refused = set_key(SetRole.EXTERNAL_IP, IPFamily.IPV6)
        world.kernel.fail_on(
            lambda op: isinstance(op, CreateSet) and op.key == refused, errno.ENOMEM
        )
        for _ in range(10):
            world.clock.advance(RETRY_S)
            await world.idle()
        assert world.loop.state.audits < 30
        assert world.loop.state.failed_ops
        assert serves(world)
        tried = [op for op in world.kernel.log if isinstance(op, ChangeRules)]
        assert tried
        world.kernel.stop_failing()
        world.clock.advance(RETRY_S)
        await world.until(lambda: not world.loop.state.failed_ops)
        observed = world.kernel.observe().state
    assert observed.chains == world.reconciler.desired.state().chains
