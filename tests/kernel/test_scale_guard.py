"""What a cluster costs, in counts and not in seconds, and how that grows with its size.

The counts are of what this process really asked of the kernel. Twice as many Services
may cost twice as much where everything is new or read, and nothing more where one thing
changes. A count that went down is to be lowered here as well.
"""

import gc
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from types import FrameType
from typing import Final

import pytest

from ipvsctl.cluster.events import Deleted, Event
from ipvsctl.kernel.ipsets import ENTRIES_PER_MESSAGE
from ipvsctl.kernel.netlink import BATCH_MESSAGES
from ipvsctl.kernel.nft_sets import ENTRIES_PER_MESSAGE as NFT_ENTRIES_PER_MESSAGE
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.net import IPv4Address
from ipvsctl.model.problem import Kind
from tests import builders
from tests.addresses import later
from tests.fakes.clock import FakeClock
from tests.kernel.firewalls import firewall_of_run, firewalls_here
from tests.kernel.node import has, proxied
from tests.kernel.strace import TRANSACTION, Asked, mark, traced
from tests.lab.netns import Netns, create

pytestmark = pytest.mark.kernel

N: Final = 100
SIZES: Final = (N, 2 * N)
ENDPOINTS: Final = 3
"""Of each Service; all of them are on the node."""

SETS: Final = 34
CHAINS: Final = 46
RULES: Final = 120
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
        "entries ADD": 1,
        "ipvs NEW_DEST": 1,
    },
    "endpoint goes": {
        "ipvs GET_SERVICE": 1,
        "entries DEL": 1,
        "ipvs DEL_DEST": 1,
    },
    "Service comes": {
        "ipvs GET_SERVICE": 1,
        "link GET": 1,
        "entries ADD": 2,
        "ipvs NEW_SERVICE": 1,
        "address NEW": 1,
    },
    "its endpoint comes": {
        "ipvs GET_SERVICE": 1,
        "entries ADD": 1,
        "ipvs NEW_DEST": 1,
    },
    "Service goes": {
        "ipvs GET_SERVICE": 1,
        "link GET": 1,
        "address DEL": 1,
        "ipvs DEL_SERVICE": 1,
        "entries DEL": 3,
    },
}

SENDS: Final = {
    "endpoint comes": 3,
    "endpoint goes": 3,
    "Service comes": 5,
    "its endpoint comes": 3,
    "Service goes": 5,
}

OPTIONS: Final = {
    "endpoint comes": 2,
    "endpoint goes": 2,
    "Service comes": 0,
    "its endpoint comes": 2,
    "Service goes": 2,
}
"""Socket options that count and list real servers."""

PARTS: Final = {
    "endpoint comes": 1,
    "endpoint goes": 1,
    "Service comes": 1,
    "its endpoint comes": 1,
    "Service goes": 2,
}
"""Of answers, that come apart: the end of a listing."""


FUNCTIONS: Final = {
    "endpoint comes": 1_000,
    "endpoint goes": 1_000,
    "Service comes": 2_550,
    "its endpoint comes": 950,
    "Service goes": 2_550,
}
"""Calls of Python functions, and by them of C functions, at most; newer interpreters
have fewer."""

FUNCTIONS_OF_A_RESTART: Final = 600
"""Of each Service, with nothing to do, at most."""


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
            mark("again")
            assert node.audit().plan == ()
            for phase, event in CHANGES.items():
                mark(phase)
                node.take(event)
                assert node.sync().plan
            mark("end")
    # Apart, because what counts functions is called by each of them. Time stands still:
    # how much is done at once follows the machine's pace.
    with proxied(netns, clock=FakeClock()) as node:
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
        pods = (
            str(later(POD, number * ENDPOINTS + place)) for place in range(ENDPOINTS)
        )
        yield has(builders.service(name, cluster_ips=(later(CLUSTER_IP, number),)))
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


def former() -> Counter[str]:
    """What the first audit of a process asks about the firewall that is not in use.

    Nothing is left in it, and so nobody asks again.
    """
    if firewall_of_run() is FirewallKind.NFTABLES:
        return Counter({"ipset LIST": 1})
    return Counter({"nftables GETTABLE": FAMILIES})


def made(size: int) -> dict[str, int]:
    """Messages about sets and rules where there are none."""
    # The VIPs, the same with ports, and the endpoints that are on this node.
    entries = (size, size, size * ENDPOINTS)
    if firewall_of_run() is FirewallKind.IPTABLES:
        return {
            "ipset LIST": 1,
            "ipset CREATE": SETS,
            "ipset ADD": _messages(entries, ENTRIES_PER_MESSAGE),
        }
    return {
        # Chains are read again when they are changed.
        **read_nothing(),
        "nftables GETCHAIN": 2 * FAMILIES,
        # All sets and entries in one; for each family one has its table, and another
        # its rules.
        TRANSACTION: 1 + 2 * FAMILIES,
        # Each set's comes with a table, for it may be the first.
        "nftables NEWTABLE": SETS + FAMILIES,
        "nftables NEWSET": SETS,
        "nftables NEWSETELEM": _messages(entries, NFT_ENTRIES_PER_MESSAGE),
        "nftables NEWCHAIN": CHAINS,
        "nftables NEWRULE": RULES,
    }


def read_nothing() -> dict[str, int]:
    """Questions about the tables of nftables and what is in them, but for entries."""
    names = ("TABLE", "SET", "CHAIN", "RULE")
    return {f"nftables GET{name}": FAMILIES for name in names}


def read() -> dict[str, int]:
    """Messages about sets and rules where all of them are there."""
    if firewall_of_run() is FirewallKind.IPTABLES:
        return {"ipset LIST": 1 + SETS}
    return read_nothing() | {"nftables GETSETELEM": SETS}


def changed(messages: Mapping[str, int]) -> dict[str, int]:
    """A row of `MESSAGES` as this firewall has it."""
    verbs = {"entries ADD": "ipset ADD", "entries DEL": "ipset DEL"}
    is_nftables = firewall_of_run() is FirewallKind.NFTABLES
    if is_nftables:
        verbs = {
            "entries ADD": "nftables NEWSETELEM",
            "entries DEL": "nftables DELSETELEM",
        }
    found = {verbs.get(name, name): number for name, number in messages.items()}
    return found | {TRANSACTION: 1} if is_nftables else found


def _messages(entries: tuple[int, ...], most: int) -> int:
    return sum(ceil(number / most) for number in entries)


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_a_cold_sync(costs: dict[int, Cost], size: int) -> None:
    """One for each virtual server, real server and address; entries share theirs."""
    expected = {
        # Two of them are names that a process looks for once, of ends of tunnels.
        "link GET": 4 + 2,
        "link NEW": 1,
        # The host's own before anything is compiled, and all with the rest.
        "address GET": 2,
        "address NEW": size,
        # The main table of each family as often, and once what routes are ours.
        "route GET": 2 * FAMILIES + 1,
        "socket LIST": SOCKETS,
        "ipvs GET_SERVICE": 1,
        "ipvs GET_CONFIG": 1,
        "ipvs NEW_SERVICE": size,
        "ipvs NEW_DEST": size * ENDPOINTS,
    }
    found = costs[size].asked["cold sync"].messages
    assert found - former() == expected | made(size)


@pytest.mark.parametrize("size", SIZES)
def test_system_calls_of_a_cold_sync(costs: dict[int, Cost], size: int) -> None:
    """A batch is sent at once, and each message's own answer is received.

    A transaction is a batch that has one answer. Real servers wait for the answers of
    the virtual servers.
    """
    asked = costs[size].asked["cold sync"]
    batches = ceil(size * ENDPOINTS / BATCH_MESSAGES)
    # Virtual servers, addresses.
    batches += 2 * ceil(size / BATCH_MESSAGES)
    # All sets of ipset and their entries.
    batches += 1 if asked.messages["ipset CREATE"] else 0
    alone = sum(
        number
        for name, number in asked.messages.items()
        if name in {TRANSACTION, "link NEW"} or " LIST" in name or " GET" in name
    )
    assert asked.sends == alone + batches
    # The end of a listing, or the acknowledgement of a question, comes apart; newer
    # kernels send that of addresses along (6.12 does).
    apart = {4, 6}
    if FirewallKind.NFTABLES not in firewalls_here():
        # Where nftables is tried out in vain, each family's table is refused.
        apart = {number + FAMILIES for number in apart}
    assert asked.receives - asked.answers in apart


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_a_restart(costs: dict[int, Cost], size: int) -> None:
    """Everything is read once, real servers by virtual server; nothing is written."""
    expected = {
        "link GET": 3 + 2,
        "address GET": 2,
        "route GET": 2 * FAMILIES + 3,
        "socket LIST": SOCKETS,
        "ipvs GET_SERVICE": 1,
        "ipvs GET_CONFIG": 1,
    }
    asked = costs[size].asked["nothing to do"]
    assert asked.messages - former() == expected | read()
    # How many virtual servers there are, and real servers of each.
    assert asked.calls["getsockopt"] == size + 2


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_the_next_audit(costs: dict[int, Cost], size: int) -> None:
    """The same, and nothing about the firewall that is not in use."""
    asked = costs[size].asked
    again = asked["nothing to do"].messages - former() - Counter({"link GET": 2})
    assert asked["again"].messages == again
    assert asked["again"].calls["getsockopt"] == size + 2


@pytest.mark.parametrize("size", SIZES)
def test_system_calls_of_a_restart(costs: dict[int, Cost], size: int) -> None:
    """One sends a question; the kernel chooses in how many parts to answer it."""
    asked = costs[size].asked["again"]
    questions = asked.messages.total()
    assert asked.sends == questions
    # Each part but the last is a page at least, up to the next value's length
    # (af_netlink.c:netlink_dump); the end of a listing comes apart.
    assert asked.receives <= 2 * questions + asked.received_bytes // 2048


@pytest.mark.parametrize("size", SIZES)
def test_processes(costs: dict[int, Cost], size: int) -> None:
    """With iptables each family's rules are read by one and changed by one.

    With nftables there is none, but for the first audit of a process, which looks for
    what iptables may have left. A change needs none, ever.
    """
    found = {phase: asked.processes for phase, asked in costs[size].asked.items()}
    # How many look for iptables and its flavour depends on what is installed.
    opening = found.pop("opening")
    assert found.pop("restart") == opening
    if firewall_of_run() is FirewallKind.NFTABLES:
        assert opening == 0
        reads, writes = 0, 0
        looks = found["nothing to do"]
    else:
        reads, writes = FAMILIES, FAMILIES
        looks = 0
    assert found == {
        "cold sync": reads + writes + looks,
        "nothing to do": reads + looks,
        "again": reads,
        **dict.fromkeys(CHANGES, 0),
        "end": 0,
    }


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("phase", CHANGES)
def test_messages_of_one_change(costs: dict[int, Cost], phase: str, size: int) -> None:
    """What changes is read and changed, and nothing else."""
    assert costs[size].asked[phase].messages == changed(MESSAGES[phase])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("phase", CHANGES)
def test_system_calls_of_one_change(
    costs: dict[int, Cost], phase: str, size: int
) -> None:
    """They are as many, whatever the number of Services; no file is touched."""
    asked = costs[size].asked[phase]
    assert asked.sends == SENDS[phase]
    assert asked.calls["getsockopt"] == OPTIONS[phase]
    assert asked.receives - asked.answers == PARTS[phase]
    # The one that is opened is the test's own, of the namespace.
    assert asked.calls["openat"] == 1
    assert asked.calls["read"] == asked.calls["write"] == 0


@pytest.mark.parametrize("phase", CHANGES)
def test_functions_of_one_change(costs: dict[int, Cost], phase: str) -> None:
    """Python functions, too, are called as many times."""
    few, many = (costs[size].functions[phase] for size in SIZES)
    assert few == many
    assert few <= FUNCTIONS[phase]


def test_functions_of_a_restart(costs: dict[int, Cost]) -> None:
    """Twice as many Services take no more than twice as many calls of functions."""
    few, many = (costs[size].functions["nothing to do"] for size in SIZES)
    assert many <= 2 * few
    assert (many - few) / N <= FUNCTIONS_OF_A_RESTART
