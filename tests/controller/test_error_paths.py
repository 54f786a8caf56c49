"""What a kernel may refuse with: where each answer ends, and what it takes along."""

import errno
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from ipvsctl.model.net import parse_address
from ipvsctl.model.parts import Part
from ipvsctl.plan.diff.ops import AddRealServer, AddVirtualServer, Op
from tests.builders import service
from tests.controller.cluster import FIRST, ListSource, has
from tests.controller.test_loop import CONFIG, World, has_audited, running
from tests.controller.test_parts import is_synced, serves

CODES = (
    errno.EPERM,
    errno.ENOENT,
    errno.ESRCH,
    errno.EIO,
    errno.EAGAIN,
    errno.ENOMEM,
    errno.EBUSY,
    errno.EEXIST,
    errno.EINVAL,
    errno.ENOSPC,
    errno.ENOBUFS,
    errno.EMFILE,
    errno.EOPNOTSUPP,
    errno.ETIMEDOUT,
    4097,
)
"""The last one is ipset's own."""

OTHER = service("other", cluster_ips=(parse_address("10.96.0.11"),))
NAMES = pytest.mark.parametrize(
    "code", CODES, ids=lambda code: errno.errorcode.get(code, str(code))
)


def concerns_other(op: Op) -> bool:
    """Whether an op is about the virtual server that is refused."""
    return "10.96.0.11" in str(op)


@NAMES
async def test_a_change_that_is_refused(code: int) -> None:
    """Others' changes are imposed; it is named, tried again, and done in the end."""
    source = ListSource(FIRST)
    world = World(source)
    world.kernel.fail_on(concerns_other, code)
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        with capture_logs() as logs:
            source.tell(has(OTHER))
            await world.until(lambda: world.loop.state.failed_ops > 0)
        assert serves(world)
        assert world.loop.is_healthy()
        named = [line for line in logs if line["event"] == "op failed"]
        assert any("10.96.0.11" in line["op"] and line["reason"] for line in named)
        tried = len(world.kernel.log)
        for _ in range(3):
            world.clock.advance(31)
            await world.idle()
        assert len(world.kernel.log) > tried
        world.kernel.stop_failing()
        for _ in range(2):
            world.clock.advance(31)
            await world.idle()
        assert not world.loop.state.failed_ops
        desired = world.reconciler.desired.state()
        assert len(desired.virtual_servers) == 2
        assert world.kernel.observe().state.virtual_servers == desired.virtual_servers


@NAMES
async def test_rights_that_are_taken_in_the_middle(code: int) -> None:
    """What was done before stays, and the rest follows when they are back."""
    source = ListSource(FIRST)
    world = World(source)
    world.kernel.fail_on(lambda op: isinstance(op, AddRealServer), code)
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        assert serves(world)
        assert world.loop.state.failed_ops == 1
        world.kernel.stop_failing()
        await world.idle()
        world.clock.advance(31)
        await world.until(lambda: not world.loop.state.failed_ops)


@NAMES
@pytest.mark.parametrize("part", Part)
async def test_readings_that_are_refused(code: int, part: Part) -> None:
    """Nobody is served worse, and all is well when they are not refused any more."""
    world = World(ListSource(FIRST))
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        await world.idle()
        world.kernel.unread[part] = errno.errorcode.get(code, str(code))
        for _ in range(3):
            world.clock.advance(31)
            await world.idle()
        assert serves(world)
        assert is_synced(world)
        world.kernel.unread.clear()
        world.clock.advance(31)
        await world.until(lambda: not world.loop.state.unread)
        assert not world.loop.state.failed_ops


@pytest.mark.parametrize("jump_s", [-86_400.0, -1.0, 1.0, 86_400.0 * 365])
async def test_a_wall_clock_that_jumps(
    jump_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits for it, and no age is wrong by it."""
    source = ListSource(FIRST)
    world = World(source)
    jumped = [0.0]
    wall: Callable[[], float] = lambda: world.clock.now_s + jumped[0]  # noqa: E731
    monkeypatch.setattr(world.loop, "_wall_clock", wall)
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        await world.idle()
        jumped[0] = jump_s
        source.tell(has(OTHER))
        await world.until(lambda: world.loop.state.syncs == 1)
        await world.idle()
        world.clock.advance(CONFIG.sync_period_s)
        await world.until(lambda: has_audited(world, 2))
        assert world.loop.is_healthy()
        assert world.loop.state.audited_s_ago() == 0
        assert set(world.loop.state.read_ages_s().values()) == {0}
    added = [op for op in world.kernel.log if isinstance(op, AddVirtualServer)]
    assert len(added) == 2
