"""An API server that holds a small cluster, and time that passes when told to."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import FakeClock
from tests.kube.cluster import fill


@pytest.fixture
def clock() -> FakeClock:
    """Time for the source and for the server."""
    return FakeClock()


@pytest.fixture
async def server(clock: FakeClock) -> AsyncIterator[FakeApiServer]:
    """An API server with `default/web` and two Nodes."""
    async with FakeApiServer(clock=clock, sleep=clock.sleep) as made:
        fill(made)
        yield made


@pytest.fixture
def kubeconfig(server: FakeApiServer, tmp_path: Path) -> Path:
    """How to reach it."""
    return server.kubeconfig(tmp_path / "kubeconfig")


@pytest.fixture(autouse=True)
def log() -> Iterator[list[dict[str, object]]]:
    """What was logged."""
    with structlog.testing.capture_logs() as entries:
        yield entries  # type: ignore[misc]  # a MutableMapping of Any is such a dict
