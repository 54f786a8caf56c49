"""`kube.belief`: lists that lack much, and what becomes of them."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ipvsctl.cluster.events import Deleted, Doubted, Replaced, Synced, Upserted
from ipvsctl.kube.belief import CONFIRM_S, LEAST_S, UNPROVEN_S, Belief
from ipvsctl.kube.resources import endpoint_slices, own_node, services
from ipvsctl.model.problem import Kind, ObjectRef
from tests.builders import raw_service, raw_slice, ref
from tests.fakes.apiserver import (
    SERVICES,
    SLICES,
    Door,
    FakeApiServer,
    Streaming,
)
from tests.fakes.clock import FakeClock
from tests.kube.cluster import Watched, watched

KUBERNETES = ref("kubernetes")
WAYS = pytest.mark.parametrize("way", list(Streaming))


def refs(*names: str | int) -> frozenset[ObjectRef]:
    """Names in `default`."""
    return frozenset(ref(str(name)) for name in names)


def noted(belief: Belief, names: Collection[ObjectRef]) -> str:
    """Have a list judged."""
    for name in names:
        belief.note(Upserted(kind=Kind.SERVICE, ref=name, values=()))
    return belief.judge(frozenset(names))


@pytest.mark.parametrize(
    ("known", "listed", "is_believed"),
    [
        (refs("a"), refs(), False),
        (refs("a"), refs("a"), True),
        (refs("a", "b"), refs("a"), True),
        (refs("a", "b", "c"), refs("a"), False),
        (refs("a", "b", "c"), refs("a", "b"), True),
        (refs("a", "b", "c", "d"), refs("a", "b"), False),
        (refs("a", "b"), refs("x", "y"), False),
        (refs("a", "kubernetes"), refs("kubernetes"), False),
        (refs("kubernetes", "a", "b"), refs("kubernetes"), False),
        (refs(*range(1000)), refs(*range(501)), True),
        (refs(*range(1000)), refs(*range(500)), False),
    ],
)
def test_what_is_in_doubt(
    known: frozenset[ObjectRef], listed: frozenset[ObjectRef], *, is_believed: bool
) -> None:
    """A list that lacks half, two at least, or all that people have made."""
    belief = Belief(endpoint_slices(), FakeClock())
    for name in known:
        belief.note(Upserted(kind=Kind.ENDPOINT_SLICE, ref=name, values=()))
    belief.judge(known | refs("more", "than", "one"))
    for name in refs("more", "than", "one"):
        belief.note(Deleted(kind=Kind.ENDPOINT_SLICE, ref=name))
    assert (noted(belief, listed) == "") is is_believed
    assert belief.is_in_doubt is not is_believed


@pytest.mark.parametrize(
    ("listed", "is_believed"),
    [(refs(), False), (refs("kubernetes"), False), (refs("a"), True)],
)
def test_first_list(listed: frozenset[ObjectRef], *, is_believed: bool) -> None:
    """The first list is in doubt if it has nothing that people have made."""
    belief = Belief(services(), FakeClock())
    assert (noted(belief, listed) == "") is is_believed


def test_confirmed_by_another_list() -> None:
    """One that comes half a minute later, not by one at once."""
    clock = FakeClock()
    belief = Belief(services(), clock)
    noted(belief, refs("kubernetes", "a", "b", "c"))
    assert noted(belief, refs("kubernetes"))
    clock.advance(LEAST_S - 1)
    assert noted(belief, refs("kubernetes"))
    clock.advance(1)
    assert noted(belief, refs("kubernetes")) == ""
    assert noted(belief, refs("kubernetes")) == "", "nothing is gone since"


def test_a_list_that_has_all_ends_the_doubt() -> None:
    """The next one in doubt is in doubt anew."""
    clock = FakeClock()
    belief = Belief(services(), clock)
    noted(belief, refs("kubernetes", "a", "b"))
    for _ in range(3):
        clock.advance(LEAST_S)
        assert noted(belief, refs("kubernetes"))
        clock.advance(LEAST_S)
        assert noted(belief, refs("kubernetes", "a", "b")) == ""


@pytest.mark.parametrize(("name", "wait_s"), [("", UNPROVEN_S), ("mine", LEAST_S)])
def test_services_without_default_kubernetes(name: str, wait_s: float) -> None:
    """No API server is without it; where it is not asked for, it proves nothing."""
    clock = FakeClock()
    belief = Belief(services(name), clock)
    noted(belief, refs("a", "b"))
    assert ("default/kubernetes" in noted(belief, refs())) is (not name)
    clock.advance(wait_s - 1)
    assert noted(belief, refs())
    clock.advance(1)
    assert noted(belief, refs()) == ""


def test_nodes_are_believed() -> None:
    """Nothing is deleted for them, and one is all there is."""
    belief = Belief(own_node("node-0"), FakeClock())
    noted(belief, refs("node-0"))
    assert belief.judge(refs()) == ""


COUNT = 6


@pytest.fixture
def full(server: FakeApiServer) -> FakeApiServer:
    """A server with default/kubernetes and more Services, each with a slice."""
    server.put(raw_service("kubernetes", clusterIP="10.96.0.1"))
    for number in range(COUNT):
        server.put(raw_service(f"s{number}", clusterIP=f"10.96.1.{number}"))
        server.put(raw_slice(f"s{number}-a", service=f"s{number}"))
    return server


@asynccontextmanager
async def forgetting(server: FakeApiServer, made: Watched) -> AsyncIterator[None]:
    """What is done in the block is not told to those who watch, and then forgotten."""
    await made.until(
        lambda: bool(server.watching(SERVICES) and server.watching(SLICES))
    )
    await server.set_door(Door.REFUSED)
    yield
    server.compact()
    await server.set_door(Door.OPEN)


def empty(server: FakeApiServer) -> None:
    """Delete all that people have made."""
    server.delete("Service", "web")
    server.delete("EndpointSlice", "web-a")
    for number in range(COUNT):
        server.delete("Service", f"s{number}")
        server.delete("EndpointSlice", f"s{number}-a")


def doubts(made: Watched, plural: str) -> bool:
    """Whether the list of this is in doubt."""
    return any(plural in doubt for doubt in made.store.vouched().doubts)


def doubted(made: Watched) -> set[Kind]:
    """Of which kinds a list was in doubt at some time."""
    return {event.kind for event in made.events if isinstance(event, Doubted)}


def slices(made: Watched) -> int:
    """How many Services have one."""
    return sum(bool(made.store.slices_of(name)) for name in made.store.services)


@WAYS
async def test_a_server_that_is_suddenly_empty(
    full: FakeApiServer, kubeconfig: Path, clock: FakeClock, way: Streaming
) -> None:
    """Nothing goes at once; it does after a minute, when another list agrees."""
    full.streaming = way
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        async with forgetting(full, made):
            empty(full)
        await made.until(lambda: doubts(made, "Services"))
        doubted_s = clock.now_s
        assert len(made.names) == COUNT + 2
        # What is told meanwhile counts.
        full.put(raw_service("new", clusterIP="10.96.2.1"))
        await made.until(lambda: "default/new" in made.names)
        await made.until(lambda: made.names == ["default/kubernetes", "default/new"])
        assert clock.now_s - doubted_s >= CONFIRM_S[0] - 1
        await made.until(lambda: {Kind.SERVICE, Kind.ENDPOINT_SLICE} <= doubted(made))
        await made.until(lambda: made.store.vouched().is_whole)


async def test_a_server_that_is_empty_for_a_moment(
    full: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """When the next list has everything again, nothing was ever gone."""
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        async with forgetting(full, made):
            empty(full)
        await made.until(lambda: doubts(made, "Services"))
        await full.set_door(Door.REFUSED)
        for number in range(COUNT):
            full.put(raw_service(f"s{number}", clusterIP=f"10.96.1.{number}"))
            full.put(raw_slice(f"s{number}-a", service=f"s{number}"))
        full.compact()
        await full.set_door(Door.OPEN)
        await made.until(lambda: not made.store.vouched().doubts)
        await made.until(lambda: len(made.names) == COUNT + 1)
        told = [e for e in made.events if isinstance(e, Deleted)]
        assert not told


async def test_an_empty_server_that_breaks_off(
    full: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """A watch that ends in the time of doubt does not end the doubt, nor renew it."""
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        async with forgetting(full, made):
            empty(full)
        await made.until(lambda: doubts(made, "Services"))
        for _ in range(3):
            await made.pass_time(5)
            full.end_watches()
        assert len(made.names) == COUNT + 2
        await made.until(lambda: made.names == ["default/kubernetes"])


async def test_deletions_that_are_told_count_at_once(
    full: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """However many, to the last one: somebody has deleted a namespace."""
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        empty(full)
        await made.until(lambda: made.names == ["default/kubernetes"])
        assert not made.store.vouched().doubts
        assert not any(isinstance(event, Doubted) for event in made.events)


@WAYS
async def test_a_server_that_is_empty_at_the_start(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock, way: Streaming
) -> None:
    """That is said before `Synced`, and believed in a minute."""
    server.streaming = way
    server.delete("Service", "web")
    server.delete("EndpointSlice", "web-a")
    server.put(raw_service("kubernetes", clusterIP="10.96.0.1"))
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        synced = made.events.index(Synced())
        doubted = {e.kind for e in made.events[:synced] if isinstance(e, Doubted)}
        assert doubted == {Kind.SERVICE, Kind.ENDPOINT_SLICE}
        vouched = made.store.vouched()
        assert not vouched.has_all_services
        assert not vouched.has_all_endpoints
        await made.until(lambda: not made.store.vouched().doubts)
        told = {e.kind for e in made.events if isinstance(e, Replaced)}
        assert {Kind.SERVICE, Kind.ENDPOINT_SLICE} <= told
