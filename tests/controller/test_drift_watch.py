"""Drift is seen within a second or two, and not when it is our own doing."""

import os
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from ipvsctl.controller.drift_watch import GATHER_S, GLANCE_S
from ipvsctl.kernel.notices import Notices
from ipvsctl.model.errors import KernelError
from ipvsctl.model.glance import Glance, Notice, NoticeKind
from ipvsctl.model.ipvs import VirtualServer, VirtualServerKey
from ipvsctl.model.net import IPFamily, IPv4Address, IPv6Address, Protocol
from ipvsctl.plan.diff.ops import (
    AddVirtualServer,
    DeleteEntry,
    DeleteVipLink,
    DeleteVirtualServer,
    UnbindAddress,
)
from tests import builders
from tests.addresses import later
from tests.controller import test_loop
from tests.controller.cluster import FIRST, WEB, ListSource, has
from tests.controller.test_loop import CONFIG, World, running
from tests.fakes.kernel import FakeKernel

VIP = IPv4Address("10.96.0.10")
FOREIGN = VirtualServerKey(
    family=IPFamily.IPV4,
    protocol=Protocol.UDP,
    address=IPv4Address("10.0.0.10"),
    port=9,
)


async def a_second(world: World) -> int:
    """Let a glance come, and what follows; how many audits there were since."""
    audits = world.loop.state.audits
    world.clock.advance(GLANCE_S)
    await world.idle()
    world.clock.advance(0)
    await world.idle()
    return world.loop.state.audits - audits


@pytest.fixture
async def world() -> World:
    """Not running yet."""
    return World(ListSource(FIRST))


async def begun(world: World) -> None:
    """Wait for the first audit, and for a glance at what it has left."""
    await world.until(lambda: world.loop.state.audits == 1)
    await world.idle()
    assert await a_second(world) == 0


async def test_a_table_that_is_cleared_is_filled_at_once(world: World) -> None:
    """As after `ipvsadm -C`; the repair itself is not seen as drift."""
    async with running(world):
        await begun(world)
        world.kernel.apply((DeleteVirtualServer(WEB),))
        with capture_logs() as logs:
            assert await a_second(world) == 1
        (seen,) = (line for line in logs if line["event"] == "drift seen")
        assert seen["what"] == "virtual servers -1"
        assert WEB in world.kernel.observe().state.virtual_servers
        for _ in range(3):
            assert await a_second(world) == 0


async def test_who_does_not_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for the audit."""
    config = msgspec.structs.replace(CONFIG, drift_watch=False)
    monkeypatch.setattr(test_loop, "CONFIG", config)
    world = World(ListSource(FIRST))
    async with running(world):
        await begun(world)
        world.kernel.apply((DeleteVirtualServer(WEB),))
        for _ in range(3):
            assert await a_second(world) == 0
        world.clock.advance(CONFIG.sync_period_s)
        await world.until(lambda: world.loop.state.audits == 2)
        assert WEB in world.kernel.observe().state.virtual_servers


async def test_a_set_that_lacks_an_entry(world: World) -> None:
    """Its header says so."""
    async with running(world):
        await begun(world)
        entries = world.kernel.observe().state.entries
        key = next(k for k, some in entries.items() if some)
        world.kernel.apply((DeleteEntry(key, next(iter(entries[key]))),))
        assert await a_second(world) == 1
        assert world.kernel.observe().state.entries[key] == entries[key]


async def test_what_an_audit_leaves_is_usual_then(world: World) -> None:
    """Another program's virtual server is looked at once, and again when it goes."""
    async with running(world):
        await begun(world)
        world.kernel.apply(
            (
                AddVirtualServer(
                    VirtualServer(key=FOREIGN, scheduler="rr", netmask_bits=32)
                ),
            )
        )
        assert await a_second(world) == 1
        for _ in range(3):
            assert await a_second(world) == 0
        world.kernel.apply((DeleteVirtualServer(FOREIGN),))
        assert sum([await a_second(world) for _ in range(4)]) == 1


async def test_changes_of_ours_are_no_drift(world: World) -> None:
    """A Service that comes has virtual servers, addresses and entries."""
    source = ListSource(FIRST)
    world = World(source)
    async with running(world):
        await begun(world)
        for number in range(3):
            address = later(IPv4Address("10.96.0.20"), number)
            six = later(IPv6Address("fd00:10:96::20"), number)
            source.tell(has(builders.service(f"s{number}", cluster_ips=(address, six))))
            world.clock.advance(CONFIG.min_sync_period_s)
            await world.until(
                lambda at=address: at in world.kernel.observe().state.addresses  # type: ignore[misc]
            )
            assert await a_second(world) == 0


async def test_who_insists_is_waited_for_longer_and_longer(world: World) -> None:
    """Two programs that undo each other's work would leave no time for anything."""
    async with running(world):
        await begun(world)
        times = []
        for _ in range(60):
            if WEB in world.kernel.observe().state.virtual_servers:
                world.kernel.apply((DeleteVirtualServer(WEB),))
            if await a_second(world):
                times.append(world.clock.now_s)
    pauses = [b - a for a, b in pairwise(times)]
    assert 5 <= len(times) <= 12
    assert pauses[0] <= 3
    assert max(pauses) >= 8


async def test_a_kernel_that_does_not_tell(world: World) -> None:
    """Is said once; audits go on, and glances do when it tells again."""
    async with running(world):
        await begun(world)

        def cannot() -> Glance:
            raise KernelError.of(1, "count virtual servers")

        with pytest.MonkeyPatch.context() as patch, capture_logs() as logs:
            patch.setattr(world.kernel, "glance", cannot)
            for _ in range(3):
                assert await a_second(world) == 0
        (line,) = logs
        assert line["event"] == "drift is found by audits alone"
        assert "count virtual servers" in line["reason"]
        world.kernel.apply((DeleteVirtualServer(WEB),))
        assert await a_second(world) == 1


class Told(Notices):
    """Notices that a test makes."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK)
        self._waiting: list[Notice] = []
        self.is_open = True
        self.error: KernelError | None = None

    def tell(self, *notices: Notice) -> None:
        """Have these read."""
        self._waiting += notices
        os.write(self._write, b"x")

    def fileno(self) -> int:
        """See `Notices`."""
        return self._read

    def read(self) -> list[Notice]:
        """See `Notices`."""
        os.read(self._read, 1)
        if self.error:
            raise self.error
        found, self._waiting = self._waiting, []
        return found

    def close(self) -> None:
        """See `Notices`."""
        self.is_open = False
        os.close(self._read)
        os.close(self._write)


class TellingKernel(FakeKernel):
    """Tells what a test wants."""

    def __init__(self, **facts: Any) -> None:
        super().__init__(**facts)
        self.told = Told()

    def open_notices(self) -> Told:  # type: ignore[override]
        """See `Kernel`."""
        return self.told


async def heard(world: World, *notices: Notice) -> int:
    """Have notices heard; how many audits that made."""
    assert isinstance(world.kernel, TellingKernel)
    audits = world.loop.state.audits
    world.kernel.told.tell(*notices)
    await world.until(lambda: GATHER_S in {round(s, 6) for s in world.clock.sleeping})
    world.clock.advance(GATHER_S)
    await world.idle()
    return world.loop.state.audits - audits


HOST = IPv4Address("10.0.0.10")


@pytest.mark.parametrize(
    ("notice", "audits"),
    [
        (Notice(kind=NoticeKind.ADDRESS_GONE, address=VIP), 1),
        (Notice(kind=NoticeKind.LINK_DOWN, link="kube-ipvs0"), 1),
        (Notice(kind=NoticeKind.LOST), 1),
        (Notice(kind=NoticeKind.ADDRESS_GONE, address=HOST), 1),
        (Notice(kind=NoticeKind.ADDRESS_ADDED, address=later(HOST, 1)), 1),
        # What we have done, what was known, and what is nobody's business here.
        (Notice(kind=NoticeKind.ADDRESS_ADDED, address=VIP), 0),
        (Notice(kind=NoticeKind.ADDRESS_ADDED, address=HOST), 0),
        (Notice(kind=NoticeKind.ADDRESS_GONE, address=later(VIP, 99)), 0),
        (Notice(kind=NoticeKind.LINK_DOWN, link="veth1234"), 0),
    ],
    ids=str,
)
async def test_what_the_kernel_tells(notice: Notice, audits: int) -> None:
    """An audit follows what it would see, once for many of them."""
    kernel = TellingKernel(host_addresses=[HOST])
    world = World(ListSource(FIRST), kernel)
    async with running(world):
        await begun(world)
        if notice.address == VIP and audits:
            kernel.apply((UnbindAddress(VIP),))
        if notice.link == "kube-ipvs0" and audits:
            kernel.apply((DeleteVipLink("kube-ipvs0"),))
        assert await heard(world, *[notice] * 2000) == audits
        assert VIP in kernel.observe().state.addresses
    assert not kernel.told.is_open


async def test_a_link_that_is_up_again() -> None:
    """One that we have just made was down at first."""
    kernel = TellingKernel()
    world = World(ListSource(FIRST), kernel)
    async with running(world):
        await begun(world)
        down = Notice(kind=NoticeKind.LINK_DOWN, link="kube-ipvs0")
        assert await heard(world, down) == 0


async def test_a_kernel_that_falls_silent() -> None:
    """What was told meanwhile is lost, so there is an audit; then it is heard again."""
    kernel = TellingKernel(host_addresses=[HOST])
    world = World(ListSource(FIRST), kernel)
    async with running(world):
        await begun(world)
        first = kernel.told
        first.error = KernelError.of(9, "hear of links and addresses")
        with capture_logs() as logs:
            assert await heard(world) == 1
        lines = {line["event"]: line for line in logs}
        reason = lines["drift is found by audits alone"]["reason"]
        assert "hear of links" in reason
        assert lines["drift seen"]["what"] == "notices lost"
        await world.until(lambda: not first.is_open)
        kernel.told = Told()
        for _ in range(6):
            await a_second(world)
        gone = Notice(kind=NoticeKind.ADDRESS_GONE, address=HOST)
        assert await heard(world, gone) == 1
