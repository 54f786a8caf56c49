"""Large Services have their turn part by part, and end where small ones do."""

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.cluster.events import Deleted, Event
from ipvsctl.cluster.store import Store
from ipvsctl.controller.compilation import LARGE_VIRTUAL_SERVERS
from ipvsctl.controller.compile_queue import MOST_PARTS, MOST_SMALL, Pace, Turns
from ipvsctl.controller.compiler import Compiler
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.limits import Limits
from ipvsctl.model.net import Protocol, parse_address
from ipvsctl.model.objects import Service, ServicePort
from ipvsctl.model.problem import Kind, ObjectRef
from ipvsctl.model.steps import Step, finish
from ipvsctl.plan.union.desired_change import DesiredChange
from ipvsctl.plan.union.program_parts import PART
from tests import builders
from tests.controller.cluster import has, has_not
from tests.plan.union.test_desired import plain

PARTS = 4

LIMITED = ProxyConfig(limits=Limits(namespace_virtual_servers=400))


def large(name: str = "large", ports: int = 400, **fields: Any) -> Service:
    """A Service with so many ports, at an external IP that all of them want."""
    usual = {
        "ports": tuple(
            ServicePort(name=f"p{port}", protocol=Protocol.TCP, port=port)
            for port in range(1, ports + 1)
        ),
        "external_ips": (parse_address("203.0.113.1"),),
    }
    return builders.service(name, **{**usual, **fields})


def compiler(*events: Event, config: ProxyConfig = LIMITED) -> tuple[Store, Compiler]:
    """One that has heard of some objects, and compiled nothing."""
    store = Store("node-0")
    for event in events:
        store.apply(event)
    return store, Compiler(config=config, store=store, capabilities=Capabilities())


def some(store: Store, made: Compiler) -> DesiredChange:
    """Compile some of what there is."""
    made.take(store.take())
    pace = Pace()
    pace.parts = PARTS
    return made.compile_some(pace)


def turns(store: Store, made: Compiler) -> list[int]:
    """Compile all there is, in turns; how many virtual servers each looked at."""
    looked_at = [len(some(store, made).keys)]
    while made.has_parts or made.has_large:
        finish(made.compile_large())
        looked_at.append(len(some(store, made).keys))
    return looked_at


def test_no_turn_is_long() -> None:
    """Each part is a change of its own, and nothing is left out."""
    config = ProxyConfig()
    store, made = compiler(has(large()), has(builders.service("web")), config=config)
    looked_at = turns(store, made)
    assert looked_at[0] == 1, "the small one is first"
    assert sum(looked_at) == 801
    assert max(looked_at) <= PART * PARTS


def test_a_large_service_that_goes_takes_as_many_turns() -> None:
    """What it had is taken away part by part, too."""
    store, made = compiler(has(large()), config=ProxyConfig())
    turns(store, made)
    store.apply(has_not(large()))
    looked_at = turns(store, made)
    assert sum(looked_at) == 800
    assert max(looked_at) <= PART * PARTS
    assert not made.desired.state().virtual_servers


def test_one_that_shrinks_is_large_for_once() -> None:
    """What it had has to go."""
    store, made = compiler(has(large()), config=ProxyConfig())
    turns(store, made)
    store.apply(has(builders.service("large")))
    looked_at = turns(store, made)
    assert max(looked_at) <= PART * PARTS
    assert len(made.desired.state().virtual_servers) == 1


def test_everything_at_once_ends_a_turn_under_way() -> None:
    """An audit needs the whole, and whoever was at it finds its job outdated."""
    other = large("other", cluster_ips=(parse_address("10.96.0.11"),))
    store, made = compiler(has(large()), has(other), config=ProxyConfig())
    some(store, made)
    steps = made.compile_large()
    assert next(steps) is Step.SHARED
    made.compile_all(store.take())
    assert not made.has_parts
    assert len(made.desired.state().virtual_servers) == 1200
    assert [*steps] == [Step.EXCLUSIVE]
    assert not made.has_parts
    store.apply(has_not(large()))
    store.apply(has_not(other))
    made.compile_all(store.take())
    assert not made.desired.state().virtual_servers


def test_two_that_go_leave_nothing_to_each_other() -> None:
    """The one that had nothing goes first, so that nothing is put into its place."""
    old = large("z-old", 200, created="2025")
    young = large(
        "a-young", 200, created="2026", cluster_ips=(parse_address("10.96.0.11"),)
    )
    store, made = compiler(has(old), has(young), config=ProxyConfig())
    turns(store, made)
    store.apply(has_not(old))
    store.apply(has_not(young))
    changes = [some(store, made)]
    while made.has_parts or made.has_large:
        assert [*made.compile_large()] == []
        changes.append(some(store, made))
    assert not any(change.desired.virtual_servers for change in changes)
    assert not made.desired.state().virtual_servers


def test_a_namespace_that_is_full() -> None:
    """The oldest Services have what there is; who goes makes room."""
    old = large("old", 150, external_ips=(), created="2025")
    young = large(
        "young",
        300,
        external_ips=(),
        created="2026",
        cluster_ips=(parse_address("10.96.0.11"),),
    )
    store, made = compiler(has(young), has(old))
    made.compile_all(store.take())
    served = {ref.name: len(p.servers) for ref, p in made.desired.programs.items()}
    assert served == {"old": 150, "young": 250}
    (problem,) = made.problems()
    assert problem.ref == young.ref
    assert "namespaceVirtualServers" in problem.reason
    store.apply(has_not(old))
    made.compile_all(store.take())
    assert len(made.desired.programs[young.ref].servers) == 300
    assert made.problems() == ()


SERVICES = tuple(
    large(name, ports, created=created, cluster_ips=(parse_address(address),))
    for name, ports, created, address in (
        ("a", 3, "2026", "10.96.0.1"),
        ("b", LARGE_VIRTUAL_SERVERS, "2025", "10.96.0.2"),
        ("c", 300, "", "10.96.0.3"),
        ("d", 120, "2024", "10.96.0.4"),
    )
)


def _gone(service: Service) -> Event:
    return Deleted(kind=Kind.SERVICE, ref=service.ref)


def _small(service: Service) -> Event:
    return has(msgspec.structs.replace(service, ports=service.ports[:1]))


EVENTS: tuple[Callable[[Service], Event], ...] = (has, _gone, _small)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(SERVICES), st.sampled_from(EVENTS), st.integers(0, 4)
        ),
        max_size=8,
    )
)
def test_the_way_there_does_not_matter(
    steps: list[tuple[Service, Callable[[Service], Event], int]],
) -> None:
    """Whatever comes between two turns, the end is that of compiling all at once.

    Problems and shares of the namespace are too.
    """
    store, made = compiler()
    for service, event, times in steps:
        store.apply(event(service))
        for _ in range(times):
            some(store, made)
            finish(made.compile_large())
    turns(store, made)
    known, again = compiler(*(has(service) for service in store.services.values()))
    again.compile_all(known.take())
    assert plain(made.desired.state()) == plain(again.desired.state())
    assert made.desired.programs == again.desired.programs
    assert _counts(made) == _counts(again)


def _counts(made: Compiler) -> dict[object, int]:
    found: dict[object, int] = {}
    for problem in made.problem_book.each():
        found[problem.ref] = found.get(problem.ref, 0) + problem.count
    return found


def test_the_pace_is_the_kernels() -> None:
    """What takes long is done in fewer parts at once, and fewer Services."""
    pace = Pace()
    assert (pace.parts, pace.small) == (1, MOST_SMALL)
    for _ in range(10):
        pace.note(0.001)
    assert pace.parts == MOST_PARTS
    pace.note(0.015)
    assert pace.parts == MOST_PARTS
    pace.note(0.03)
    assert (pace.parts, pace.small) == (MOST_PARTS // 2, MOST_SMALL // 2)
    for _ in range(10):
        pace.note(1)
    assert pace.parts == 1
    assert 1 < pace.small < MOST_SMALL // 4


def test_a_slow_kernel_is_given_fewer_services_at_once() -> None:
    """The others come with the next syncs."""
    names = [f"s{n}" for n in range(MOST_SMALL + 20)]
    store, made = compiler(*(has(builders.service(name)) for name in names))
    made.take(store.take())
    pace = Pace()
    pace.note(1)
    made.compile_some(pace)
    assert len(made.desired.programs) == MOST_SMALL // 2
    while made.has_parts:
        made.compile_some(pace)
    assert len(made.desired.programs) == len(names)


def test_a_namespace_that_changes_much_lets_others_go_first() -> None:
    """One of its Services is before those of another, and not all of them."""
    turns, web = Turns(), ObjectRef("default", "web")
    flood = [ObjectRef("flood", f"s{n}") for n in range(3)]
    turns.add(flood)
    turns.add([web, flood[0], ObjectRef("other", "b"), web])
    assert len(turns) == 5
    taken = []
    while turns:
        taken.append(turns.take())
    assert taken == [flood[0], web, ObjectRef("other", "b"), flood[1], flood[2]]
    assert len(turns) == 0
    turns.add([web])
    assert turns.take() == web
