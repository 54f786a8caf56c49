"""Fixtures for tests against a kernel with IPVS."""

from collections.abc import Iterator

import pytest

from tests.lab.netns import Netns, create, inside
from tests.lab.topology import Cluster, cluster
from tests.lab.traffic import Servers


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
