"""What a thousand Services cost, in counts and bytes and not in seconds.

A count that went down is to be lowered here as well. Newer interpreters have fewer.
"""

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from functools import partial
from typing import Final

import pytest

from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.problem import Kind
from tests.bench.cluster import NODE, change, fill, raw_objects, raw_slice
from tests.fakes.kernel import FakeKernel
from tests.work import calls_of

SERVICES: Final = 1_000
ENDPOINTS: Final = 10

BYTES_HELD: Final = 6_600
"""By the objects and programs of one Service, at most."""

BYTES_AT_ONCE: Final = 7_000
"""By what is on its way from its bytes to its program as well, at most."""

CALLS_OF_A_SERVICE: Final = 545
"""Functions, those written in C too, from its bytes to its program."""

CALLS_OF_A_CHANGE: Final = 715
"""From the bytes of a slice with another endpoint to the ops, done by a fake kernel."""


@pytest.fixture(name="no_collections")
def _no_collections() -> Iterator[None]:
    """What a collection finds to free depends on everything that ran before."""
    gc.disable()
    yield
    gc.enable()


Objects = list[tuple[Kind, bytes]]


def cluster(services: int) -> Objects:
    """What an API server would send."""
    return list(raw_objects(services, ENDPOINTS))


def compiled(objects: Objects) -> Reconciler:
    """A node that has heard of a cluster and compiled it."""
    store = Store(NODE)
    kernel = FakeKernel()
    node = Reconciler(kernel=kernel, config=ProxyConfig(), store=store)
    fill(store, iter(objects))
    node.prepare(kernel.read_host())
    return node


def weigh() -> tuple[int, int]:
    """Bytes that all Services hold, and at once, without what the first one takes."""
    gc.disable()
    objects = cluster(SERVICES)
    compiled(cluster(1))
    tracemalloc.start()
    node = compiled(objects)
    held = tracemalloc.get_traced_memory()
    assert len(node.desired.programs) == SERVICES
    return held


def test_memory() -> None:
    """In an interpreter of its own: what other tests have left changes the counts."""
    words = [sys.executable, "-m", "tests.controller.test_costs"]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE)
    held, peak = map(int, done.stdout.split())
    assert SERVICES < held < peak
    assert held / SERVICES <= BYTES_HELD
    assert peak / SERVICES <= BYTES_AT_ONCE


@pytest.mark.usefixtures("no_collections")
def test_calls_of_a_service() -> None:
    """Each Service more takes so many."""
    compiled(cluster(1))
    few, many = (calls_of(partial(compiled, cluster(size))) for size in (100, 200))
    assert (many - few) / 100 <= CALLS_OF_A_SERVICE


@pytest.mark.usefixtures("no_collections")
@pytest.mark.parametrize("services", [10, SERVICES])
def test_calls_of_a_change(services: int) -> None:
    """As many at each size."""
    node = compiled(cluster(services))
    assert not node.audit().report.failed

    def sync(raw: bytes) -> None:
        node.take_event(change(raw))
        assert len(node.sync(node.prepare()).plan) == 1

    came, gone = (raw_slice(0, ENDPOINTS, spare=spare) for spare in (True, False))
    sync(came)
    sync(gone)
    found = calls_of(partial(sync, came))
    assert found <= CALLS_OF_A_CHANGE


if __name__ == "__main__":
    print(*weigh())
