"""`kube.pulse`: is a silent API server there?"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ipvsctl.kube.connect.access import Access, Address
from ipvsctl.kube.pulse import LOOK_S, SILENT_S, Pulse
from ipvsctl.kube.transport import Api
from ipvsctl.model.problem import Kind
from ipvsctl.model.source_state import STALE_S, source_state
from ipvsctl.model.watch_health import WatchHealth
from tests.fakes.apiserver import Door, FakeApiServer, Refuse, When
from tests.fakes.clock import FakeClock
from tests.kube.cluster import watched


class Silence:
    """Watches that have told nothing for a while."""

    def __init__(self) -> None:
        self.duration_s: float | None = 0.0

    def __call__(self) -> float | None:
        """See `Pulse`."""
        return self.duration_s


@pytest.fixture
def silence() -> Silence:
    """Watches that tell all the time."""
    return Silence()


@asynccontextmanager
async def pulse(
    kubeconfig: Path, clock: FakeClock, silence: Silence
) -> AsyncIterator[Pulse]:
    """A pulse that runs."""
    api = Api(Access(Address(kubeconfig=str(kubeconfig))))
    made = Pulse(api, silence, sleep=clock.sleep, clock=clock)
    task = asyncio.ensure_future(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait({task})


async def look(clock: FakeClock) -> None:
    """Let it look once, and wait for what it does then."""
    await until(lambda: len(clock.sleeping) == 1)
    clock.advance(LOOK_S)
    await until(lambda: len(clock.sleeping) == 1)


async def until(holds: Callable[[], bool]) -> None:
    """Let others run until something holds."""
    async with asyncio.timeout(60):
        # An answer comes over a socket, which nothing here can wait for.
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_it_asks_a_silent_server(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock, silence: Silence
) -> None:
    """Only while the watches are silent, and not more often than need be."""
    async with pulse(kubeconfig, clock, silence) as made:
        await look(clock)
        assert not server.requests
        silence.duration_s = SILENT_S
        await look(clock)
        assert [r.path for r in server.requests] == ["/livez"]
        assert made.answered_s == 0
        for _ in range(30):
            await look(clock)
        assert len(server.requests) <= 1 + 30 * LOOK_S / SILENT_S
        assert made.answered_s is not None
        assert made.answered_s <= SILENT_S + LOOK_S


async def test_watches_that_are_away_ask_themselves(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock, silence: Silence
) -> None:
    """Then it adds nothing to what a server that comes back has to bear."""
    silence.duration_s = None
    async with pulse(kubeconfig, clock, silence):
        for _ in range(10):
            await look(clock)
    assert not server.requests


@pytest.mark.parametrize("code", [401, 403, 404, 429])
async def test_a_refusal_is_a_sign_of_life(
    server: FakeApiServer,
    kubeconfig: Path,
    clock: FakeClock,
    silence: Silence,
    code: int,
) -> None:
    """The server has answered."""
    server.script(When(fault=Refuse(code=code)))
    silence.duration_s = SILENT_S
    async with pulse(kubeconfig, clock, silence) as made:
        await look(clock)
        assert (made.answered_s, made.reason) == (0, "")


async def test_no_sign_of_life(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock, silence: Silence
) -> None:
    """A server without its etcd, or without a process, gives none, and it says why."""
    silence.duration_s = SILENT_S
    server.script(When(fault=Refuse(code=500)))
    async with pulse(kubeconfig, clock, silence) as made:
        await look(clock)
        assert made.answered_s is None
        assert "500" in made.reason
        await server.set_door(Door.REFUSED)
        await look(clock)
        assert made.answered_s is None
        assert made.reason
        assert "500" not in made.reason
        server.script()
        await server.set_door(Door.OPEN)
        await look(clock)
        assert made.reason == ""
        assert made.answered_s == 0


def health(
    *, heard_s: float | None, answered_s: float | None = None, connected: bool = True
) -> WatchHealth:
    """A watch of Services."""
    return WatchHealth(
        kind=Kind.SERVICE,
        is_complete=True,
        is_connected=connected,
        since_s=0,
        heard_s=heard_s,
        answered_s=answered_s,
        reason="" if connected else "gone",
    )


@pytest.mark.parametrize(
    ("watch", "age_s", "is_fresh"),
    [
        (health(heard_s=None), None, False),
        (health(heard_s=2), 2, True),
        (health(heard_s=59), 59, False),
        (health(heard_s=59, answered_s=5), 5, True),
        (health(heard_s=3, answered_s=15), 3, True),
        (health(heard_s=59, answered_s=31), 31, False),
        (health(heard_s=31, answered_s=1, connected=False), 31, False),
        (health(heard_s=30, connected=False), 30, True),
    ],
)
def test_age(watch: WatchHealth, age_s: float | None, *, is_fresh: bool) -> None:
    """A sign of life makes a watch fresh that is open, not one that was lost."""
    state = source_state("API server of https://a", (health(heard_s=0), watch))
    assert (state.age_s, state.is_fresh) == (age_s, is_fresh)
    assert state.is_sure is is_fresh


def test_the_worst_watch_counts() -> None:
    """With its reason; that of Nodes does not, without which a node serves as well."""
    node = WatchHealth(
        kind=Kind.NODE, is_complete=False, is_connected=False, since_s=900, reason="no"
    )
    lost = health(heard_s=45, connected=False)
    state = source_state("API server of https://a", (health(heard_s=1), lost, node))
    assert state.heard() == "API server not heard for 45 s: gone"
    state = source_state("API server of https://a", (health(heard_s=2), node))
    assert state.heard() == "API server heard 2 s ago"


async def test_a_quiet_server_is_fresh(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """Nothing is told for minutes, bookmarks neither, and it is heard all the same."""
    async with watched(kubeconfig, clock) as made:
        await made.synced()
        asked = len(server.requests)
        await made.pass_time(2 * STALE_S)
        await made.until(lambda: len(server.requests) > asked)
        await made.until(
            lambda: source_state("API server of a", made.source.health()).is_fresh
        )
        await server.set_door(Door.REFUSED)
        await made.pass_time(2 * STALE_S)
        state = source_state("API server of a", made.source.health())
        assert not state.is_fresh
        assert state.error
        await server.set_door(Door.OPEN)
        await made.until(
            lambda: source_state("API server of a", made.source.health()).is_fresh
        )
