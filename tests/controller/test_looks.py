"""Who asks how the node is: looks are shared, and keep nobody else waiting."""

import asyncio
import errno
from collections.abc import AsyncIterator, Generator, Iterable, Mapping
from contextlib import asynccontextmanager
from threading import Event as ThreadEvent

import pytest

from ipvsctl.cluster.store import Store
from ipvsctl.controller.gauges import Gauges
from ipvsctl.controller.http_routes import HttpRoutes
from ipvsctl.controller.look import Seen
from ipvsctl.controller.loop import Loop
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.worker import ThreadWorker
from ipvsctl.kernel.interface import Reading
from ipvsctl.model.errors import UnreadKernel
from ipvsctl.model.ipvs import RealServers, VirtualServerKey
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.model.steps import Step
from ipvsctl.serve.control import Pieces
from ipvsctl.serve.metrics import Metrics
from tests.controller.cluster import FIRST, ListSource, endpoints, real_servers
from tests.controller.test_loop import CONFIG, World, has_audited, running
from tests.fakes.kernel import FakeKernel

LIMIT_S = 60


def pods(seen: Seen) -> Generator[None, None, Pieces]:
    """How many real servers there are."""
    yield
    count = sum(map(len, seen.observed.state.real_servers.values()))
    return (str(count).encode(),)


async def asked(world: World, *questions: str) -> list[bytes]:
    """The answers to questions that are asked at once."""
    asking = (world.loop.looks.ask(question, pods) for question in questions)
    return [b"".join(pieces) for pieces in await asyncio.gather(*asking)]


async def test_all_that_wait_share_a_look() -> None:
    """Whatever they ask, the kernel is read once, and equal questions answered once."""
    world = World(ListSource(FIRST))
    made = []

    def view(seen: Seen) -> Generator[None, None, Pieces]:
        made.append(seen)
        yield
        return (b"yes",)

    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        reads = world.kernel.reads
        questions = ["status", "diff"] * 10
        looks = world.loop.looks
        answers = await asyncio.gather(*(looks.ask(q, view) for q in questions))
        assert set(answers) == {(b"yes",)}
        assert world.kernel.reads == reads + 1
        assert len(made) == 2
        assert made[0] is made[1]


async def test_nobody_is_shown_what_was_before_he_asked() -> None:
    """Who comes while a look is under way waits for the next one."""
    source = ListSource(FIRST)
    later: list[asyncio.Task[list[bytes]]] = []

    class Watched(FakeKernel):
        """Somebody else asks when everything has been read."""

        is_asked = False

        def read_in_steps(
            self, likely: NodeState, *, has_rules: bool = True
        ) -> Reading:
            read = yield from super().read_in_steps(likely, has_rules=has_rules)
            if self.is_asked:
                self.is_asked = False
                yield Step.EXCLUSIVE
                later.append(asyncio.ensure_future(asked(world, "status")))
                yield Step.EXCLUSIVE
            return read

    kernel = Watched()
    world = World(source, kernel)
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        reads, kernel.is_asked = kernel.reads, True
        assert await asked(world, "status") == [b"1"]
        assert await later[0] == [b"1"]
        assert kernel.reads == reads + 2


async def test_a_change_does_not_wait_for_a_look() -> None:
    """It is imposed between two steps, and the look shows it."""
    source = ListSource(FIRST)

    class Slow(FakeKernel):
        """A slow reading goes on until a change has been imposed."""

        is_slow = False

        def read_in_steps(
            self, likely: NodeState, *, has_rules: bool = True
        ) -> Reading:
            read = yield from super().read_in_steps(likely, has_rules=has_rules)
            if self.is_slow:
                self.is_slow = False
                source.tell(endpoints("172.16.0.1", "172.16.0.2"))
                while not world.loop.state.syncs:
                    yield Step.EXCLUSIVE
            return read

    kernel = Slow()
    world = World(source, kernel)
    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        await world.idle()
        kernel.is_slow = True
        assert await asked(world, "status") == [b"2"]
        assert world.loop.state.syncs == 1


async def test_a_kernel_that_cannot_be_read_is_told_to_all_that_wait() -> None:
    """The next who asks is answered again; a view that fails is its asker's alone."""
    world = World(ListSource(FIRST))

    def broken(_: Seen) -> Generator[None, None, Pieces]:
        yield
        raise ValueError("broken")  # a test's

    async with running(world):
        await world.until(lambda: has_audited(world, 1))
        world.kernel.break_reading(errno.ENOBUFS)
        looks = world.loop.looks
        asking = [looks.ask(name, pods) for name in ("a", "b")]
        failed = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(error) for error in failed] == [UnreadKernel] * 2
        world.kernel.break_reading(None)
        bad, good = await asyncio.gather(
            looks.ask("a", broken), looks.ask("b", pods), return_exceptions=True
        )
        assert isinstance(bad, ValueError)
        assert good == (b"1",)


async def test_who_waits_when_it_ends_is_let_go() -> None:
    """No answer comes any more."""
    world = World(ListSource(FIRST))
    waiting = asyncio.ensure_future(asyncio.sleep(0))
    async with running(world):
        await world.until(lambda: has_audited(world, 1))

        async def ask() -> None:
            await asked(world, "status")

        waiting = asyncio.ensure_future(ask())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await waiting


class Hung(FakeKernel):
    """A kernel that does not answer a sync until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_hung = False
        self.begun = ThreadEvent()
        self.answers = ThreadEvent()

    def observe_virtual_servers(
        self,
        keys: Iterable[VirtualServerKey],
        likely: Mapping[VirtualServerKey, RealServers] = EMPTY,
    ) -> Observed:
        """See `Kernel`."""
        if self.is_hung:
            self.begun.set()
            assert self.answers.wait(LIMIT_S)
        return super().observe_virtual_servers(keys, likely)


@asynccontextmanager
async def threaded(kernel: FakeKernel, source: ListSource) -> AsyncIterator[HttpRoutes]:
    """The HTTP routes of a loop with a worker of its own, after its first audit."""
    store, metrics = Store("node-0"), Metrics()
    reconciler = Reconciler(kernel=kernel, config=CONFIG, store=store)
    async with ThreadWorker().running() as worker:
        loop = Loop(reconciler=reconciler, worker=worker, source=source, config=CONFIG)
        running = asyncio.create_task(loop.run())
        while not loop.state.synced:  # noqa: ASYNC110  # nothing else tells
            await asyncio.sleep(0.001)
        yield HttpRoutes(
            loop=loop,
            store=store,
            source=source,
            config=CONFIG,
            metrics=metrics,
            gauges=Gauges(metrics, loop, reconciler, store),
        )
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_probes_and_scrapes_do_not_wait_for_the_kernel() -> None:
    """Somebody may hold the xtables lock for a minute; that is no reason to be dead."""
    kernel, source = Hung(), ListSource(FIRST)
    async with asyncio.timeout(LIMIT_S), threaded(kernel, source) as routes:
        kernel.is_hung = True
        source.tell(endpoints("172.16.0.2"))
        assert await asyncio.to_thread(kernel.begun.wait, LIMIT_S)
        for path in ("/livez", "/healthz", "/readyz"):
            assert (await routes.probes[path]()).status == 200
        answer = await routes.scrapes["/metrics"]()
        assert isinstance(answer.body, bytes)
        assert b"\nipvsctl_virtual_servers 1.0\n" in answer.body
        assert b"_endpoint_changes_pending 1.0\n" in answer.body
        kernel.answers.set()
        while set(real_servers(kernel)) != {"172.16.0.2:8080"}:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
