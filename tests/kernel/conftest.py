"""Fixtures for tests against a kernel with IPVS."""

from collections.abc import Iterator

import pytest
import structlog

from tests.lab.netns import Netns, create, inside
from tests.lab.side_by_side import take
from tests.lab.topology import Cluster, cluster
from tests.lab.traffic import Servers

_TAKEN: dict[str, bool] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Leave out the tests of a module that another guest beside this one has taken."""
    module = item.path.stem
    if module not in _TAKEN:
        _TAKEN[module] = take(module)
    return None if _TAKEN[module] else True


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """What a command under test writes to is closed after it, and not for the next."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def netns() -> Iterator[Netns]:
    """A fresh network namespace, with the test's thread in it."""
    with create("test") as fresh, inside(fresh):
        yield fresh


@pytest.fixture(name="cluster")
def _cluster() -> Iterator[Cluster]:
    """A fresh cluster of namespaces, two pods a node; the test's thread is in none."""
    with cluster() as built:
        yield built


@pytest.fixture
def servers() -> Iterator[Servers]:
    """A place to start servers; they end with the test."""
    with Servers() as started:
        yield started
