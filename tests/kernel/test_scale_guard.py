"""What a cluster costs, in counts and not in seconds, and how that grows with its size.

The counts are of what this process really asked of the kernel. Twice as many Services
may cost twice as much where everything is new or read, and nothing more where one thing
changes. A count that went down is to be lowered here as well.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from math import ceil
from types import FrameType
from typing import Final

import pytest

from ipvsctl.cluster.events import Deleted, Event
from ipvsctl.kernel.ipsets import ENTRIES_PER_MESSAGE
from ipvsctl.kernel.netlink import BATCH_MESSAGES
from ipvsctl.model.problem import Kind
from tests import builders
from tests.kernel.node import has, proxied
from tests.kernel.strace import Asked, mark, traced
from tests.lab.netns import Netns, create

pytestmark = pytest.mark.kernel

N: Final = 100
SIZES: Final = (N, 2 * N)
ENDPOINTS: Final = 3
"""Of each Service; all of them are on the node."""

SETS: Final = 32
FAMILIES: Final = 2
SOCKETS: Final = 3 * FAMILIES
"""Questions for sockets that wait for clients, of each protocol."""

CLUSTER_IP: Final = IPv4Address("10.96.0.1")
POD: Final = IPv4Address("172.16.0.1")
ONE: Final = builders.endpoint_slice(
    "service-0-2", "172.20.0.1", service_name="service-0"
)
NEW: Final = builders.service("new", cluster_ips=(IPv4Address("10.96.100.1"),))
NEW_SLICE: Final = builders.endpoint_slice("new-1", "172.20.0.2", service_name="new")

CHANGES: Final = {
    "endpoint comes": has(ONE),
    "endpoint goes": Deleted(kind=Kind.ENDPOINT_SLICE, ref=ONE.ref),
    "Service comes": has(NEW),
    "its endpoint comes": has(NEW_SLICE),
    "Service goes": Deleted(kind=Kind.SERVICE, ref=NEW.ref),
}

MESSAGES: Final = {
    "endpoint comes": {
        "ipvs GET_SERVICE": 1,
        "ipvs GET_DEST": 1,
        "ipset ADD": 1,
        "ipvs NEW_DEST": 1,
    },
    "endpoint goes": {
        "ipvs GET_SERVICE": 1,
        "ipvs GET_DEST": 1,
        "ipset DEL": 1,
        "ipvs DEL_DEST": 1,
    },
    "Service comes": {
        "ipvs GET_SERVICE": 1,
        "link GET": 1,
        "ipset ADD": 2,
        "ipvs NEW_SERVICE": 1,
        "address NEW": 1,
    },
    "its endpoint comes": {
        "ipvs GET_SERVICE": 1,
        "ipvs GET_DEST": 1,
        "ipset ADD": 1,
        "ipvs NEW_DEST": 1,
    },
    "Service goes": {
        "ipvs GET_SERVICE": 1,
        "ipvs GET_DEST": 1,
        "link GET": 1,
        "address DEL": 1,
        "ipvs DEL_SERVICE": 1,
        "ipset DEL": 3,
    },
}

SENDS_AND_RECEIVES: Final = {
    "endpoint comes": (4, 6),
    "endpoint goes": (4, 6),
    "Service comes": (5, 7),
    "its endpoint comes": (4, 5),
    "Service goes": (6, 11),
}


@dataclass
class Cost:
    """What one cluster cost.

    Attributes:
        asked: of the kernel, by phase.
        functions: calls of Python functions, and by them of C functions, by phase.
    """

    asked: dict[str, Asked] = field(default_factory=dict)
    functions: dict[str, int] = field(default_factory=dict)


@pytest.fixture(name="costs", scope="module")
def _costs() -> dict[int, Cost]:
    """What a cluster of each size cost."""
    with create("warm-up") as netns:
        # Modules, of Python and of the kernel, are loaded by whoever needs them first.
        _measure(netns, 1)
    costs = {}
    for size in SIZES:
        with create(f"services-{size}") as netns:
            costs[size] = _measure(netns, size)
    return costs


def _measure(netns: Netns, size: int) -> Cost:
    cost = Cost()
    with traced() as cost.asked:
        mark("opening")
        with proxied(netns) as node:
            node.take(*_cluster(size))
            mark("cold sync")
            node.audit()
            mark("restart")
        with proxied(netns) as node:
            node.take(*_cluster(size))
            mark("nothing to do")
            assert node.audit().plan == ()
            for phase, event in CHANGES.items():
                mark(phase)
                node.take(event)
                assert node.sync().plan
            mark("end")
    # Apart, because what counts functions is called by each of them.
    with proxied(netns) as node:
        node.take(*_cluster(size))
        with _counting(cost, "nothing to do"):
            node.audit()
        for phase, event in CHANGES.items():
            with _counting(cost, phase):
                node.take(event)
                node.sync()
    return cost


def _cluster(size: int) -> Iterator[Event]:
    for number in range(size):
        name = f"service-{number}"
        pods = (str(POD + number * ENDPOINTS + place) for place in range(ENDPOINTS))
        yield has(builders.service(name, cluster_ips=(CLUSTER_IP + number,)))
        yield has(builders.endpoint_slice(f"{name}-1", *pods, service_name=name))


@contextmanager
def _counting(cost: Cost, phase: str) -> Iterator[None]:
    count = 0

    def see(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        del frame, arg
        if event in {"call", "c_call"}:
            count += 1

    # What a collection finds to free depends on everything that ran before.
    gc.disable()
    sys.setprofile(see)
    try:
        yield
    finally:
        sys.setprofile(None)
        gc.enable()
    cost.functions[phase] = count


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_a_cold_sync(costs: dict[int, Cost], size: int) -> None:
    """One for each virtual server, real server and address; entries share theirs."""
    assert costs[size].asked["cold sync"].messages == {
        "link GET": 4,
        "link NEW": 1,
        # The host's own before anything is compiled, and all with the rest.
        "address GET": 2,
        "address NEW": size,
        # The main table of each family as often, and once what routes are ours.
        "route GET": 2 * FAMILIES + 1,
        "socket LIST": SOCKETS,
        "ipset LIST": 1,
        "ipset CREATE": SETS,
        # The VIPs, the same with ports, and the endpoints that are on this node.
        "ipset ADD": 2 * ceil(size / ENTRIES_PER_MESSAGE)
        + ceil(size * ENDPOINTS / ENTRIES_PER_MESSAGE),
        "ipvs GET_SERVICE": 1,
        "ipvs GET_CONFIG": 1,
        "ipvs NEW_SERVICE": size,
        "ipvs NEW_DEST": size * ENDPOINTS,
    }


@pytest.mark.parametrize("size", SIZES)
def test_system_calls_of_a_cold_sync(costs: dict[int, Cost], size: int) -> None:
    """A batch is sent at once, and each message's own answer is received.

    Real servers wait for the answers of the virtual servers.
    """
    asked = costs[size].asked["cold sync"]
    batches = ceil(size * ENDPOINTS / BATCH_MESSAGES)
    # Virtual servers, addresses.
    batches += 2 * ceil(size / BATCH_MESSAGES)
    # 21 questions and changes of their own, and one batch for all sets and entries.
    assert asked.sends == 22 + batches
    # The end of a listing, or the acknowledgement of a question, comes apart; newer
    # kernels send that of addresses along (6.12 does).
    assert asked.receives - asked.messages.total() in {4, 6}


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_a_restart(costs: dict[int, Cost], size: int) -> None:
    """Everything is read once, real servers by virtual server; nothing is written."""
    assert costs[size].asked["nothing to do"].messages == {
        "link GET": 3,
        "address GET": 2,
        "route GET": 2 * FAMILIES + 3,
        "socket LIST": SOCKETS,
        "ipset LIST": 1 + SETS,
        "ipvs GET_SERVICE": 1,
        "ipvs GET_CONFIG": 1,
        "ipvs GET_DEST": size,
    }


@pytest.mark.parametrize("size", SIZES)
def test_system_calls_of_a_restart(costs: dict[int, Cost], size: int) -> None:
    """One sends a question; the kernel chooses in how many parts to answer it."""
    asked = costs[size].asked["nothing to do"]
    questions = asked.messages.total()
    assert asked.sends == questions
    # Each part but the last is a page at least, up to the next value's length
    # (af_netlink.c:netlink_dump); the end of a listing comes apart.
    assert asked.receives <= 2 * questions + asked.received_bytes // 2048


@pytest.mark.parametrize("size", SIZES)
def test_processes(costs: dict[int, Cost], size: int) -> None:
    """Each family's rules are read by one and changed by one; a change needs none."""
    found = {phase: asked.processes for phase, asked in costs[size].asked.items()}
    # How many look for iptables and its flavour depends on what is installed.
    assert found.pop("opening") == found.pop("restart")
    assert found == {
        "cold sync": 2 * FAMILIES,
        "nothing to do": FAMILIES,
        **dict.fromkeys(CHANGES, 0),
        "end": 0,
    }


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("phase", CHANGES)
def test_messages_of_one_change(costs: dict[int, Cost], phase: str, size: int) -> None:
    """What changes is read and changed, and nothing else."""
    assert costs[size].asked[phase].messages == MESSAGES[phase]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("phase", CHANGES)
def test_system_calls_of_one_change(
    costs: dict[int, Cost], phase: str, size: int
) -> None:
    """They are as many, whatever the number of Services; no file is touched."""
    asked = costs[size].asked[phase]
    assert (asked.sends, asked.receives) == SENDS_AND_RECEIVES[phase]
    # The one that is opened is the test's own, of the namespace.
    assert asked.calls["openat"] == 1
    assert asked.calls["read"] == asked.calls["write"] == 0


@pytest.mark.parametrize("phase", CHANGES)
def test_functions_of_one_change(costs: dict[int, Cost], phase: str) -> None:
    """Python functions, too, are called as many times."""
    few, many = (costs[size].functions[phase] for size in SIZES)
    assert few == many


def test_functions_of_a_restart(costs: dict[int, Cost]) -> None:
    """Twice as many Services take no more than twice as many calls of functions."""
    few, many = (costs[size].functions["nothing to do"] for size in SIZES)
    assert many <= 2 * few
