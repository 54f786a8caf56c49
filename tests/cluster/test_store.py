"""Facts about the store: what it holds, and what an event makes dirty."""

from collections.abc import Iterable
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipvsctl.cluster.events import (
    Deleted,
    Event,
    Invalid,
    Replaced,
    Synced,
    Upserted,
    Value,
)
from ipvsctl.cluster.store import Store
from ipvsctl.cluster.taken import Dirty
from ipvsctl.model.net import parse_address
from ipvsctl.model.objects import EndpointSlice, Node, Service, TunnelOffer
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from tests.builders import endpoint_slice, node, ref, service

WEB = ref("web")


def put(value: Value, *problems: Problem) -> Upserted:
    """The event of one object with one value."""
    if isinstance(value, Node):
        kind, name = Kind.NODE, ObjectRef("", value.name)
    elif isinstance(value, TunnelOffer):
        kind, name = Kind.LEASE, ObjectRef("ipvsctl-tunnels", value.node)
    else:
        name = value.ref
        kind = Kind.SERVICE if isinstance(value, Service) else Kind.ENDPOINT_SLICE
    return Upserted(kind=kind, ref=name, values=(value,), problems=problems)


def test_offers_of_tunnels_are_in_the_context() -> None:
    """Of Nodes that are known, and each as long as its Lease is there."""
    store = Store("node-0")
    address = parse_address("10.0.0.11")
    offer = TunnelOffer(node="node-1", addresses=(address,), port=6080)
    store.apply(put(offer))
    assert not store.node_context().tunnel_offers
    store.apply(put(Node(name="node-1", addresses=(address,))))
    store.take_dirty()
    assert store.node_context().tunnel_offers == {"node-1": offer}
    other = msgspec.structs.replace(offer, port=7000)
    store.apply(put(other))
    assert store.node_context().tunnel_offers == {"node-1": other}
    lease = ObjectRef("ipvsctl-tunnels", "node-1")
    store.apply(Deleted(kind=Kind.LEASE, ref=lease))
    assert not store.node_context().tunnel_offers
    assert not store.take_dirty()


def endpoints(*slices: EndpointSlice, name: str = "web") -> Upserted:
    """The event of a plain Endpoints object."""
    return Upserted(kind=Kind.ENDPOINTS, ref=ref(name), values=slices)


def gone(kind: Kind, name: str) -> Deleted:
    """The event of a deletion."""
    space = "" if kind is Kind.NODE else "default"
    return Deleted(kind=kind, ref=ObjectRef(space, name))


def problem(name: str = "web", kind: Kind = Kind.SERVICE) -> Problem:
    """Any problem."""
    return Problem(kind=kind, ref=ref(name), field="f", value="v", reason="r")


def store_after(*events: Event) -> Store:
    """A store of node-0 that took these events, and is clean."""
    store = Store("node-0")
    for event in events:
        store.apply(event)
    store.take_dirty()
    return store


def dirtied(store: Store, event: Event) -> Dirty:
    """What one event makes dirty."""
    store.apply(event)
    return store.take_dirty()


NOTHING = Dirty()
ONLY_WEB = Dirty(services=frozenset({WEB}))
EVERYTHING = Dirty(node_changed=True)

PROXIED = put(service())
HEADLESS = put(Service(ref=WEB, proxied=False))
SELECTORLESS = put(service(has_selector=False))
SLICE = put(endpoint_slice())
MANUAL = endpoint_slice("web.0.IPv4", from_endpoints=True)
VIP_10 = put(service(external_ips=(parse_address("10.0.0.11"),)))
CLUSTER_IP_OF_PEER = put(service(cluster_ips=(parse_address("10.0.0.11"),)))


@pytest.mark.parametrize(
    ("before", "event", "expected"),
    [
        ([], PROXIED, ONLY_WEB),
        ([PROXIED], PROXIED, NOTHING),
        ([PROXIED], put(service(affinity_timeout_s=1)), ONLY_WEB),
        ([PROXIED], put(service(), problem()), NOTHING),
        ([PROXIED], gone(Kind.SERVICE, "web"), ONLY_WEB),
        ([], gone(Kind.SERVICE, "web"), NOTHING),
        ([], HEADLESS, NOTHING),
        ([PROXIED], HEADLESS, ONLY_WEB),
        ([HEADLESS], PROXIED, ONLY_WEB),
        ([HEADLESS], gone(Kind.SERVICE, "web"), NOTHING),
        ([PROXIED], SLICE, ONLY_WEB),
        ([PROXIED, SLICE], SLICE, NOTHING),
        ([PROXIED, SLICE], put(endpoint_slice("web-abcde", "172.16.0.2")), ONLY_WEB),
        ([PROXIED, SLICE], gone(Kind.ENDPOINT_SLICE, "web-abcde"), ONLY_WEB),
        ([], SLICE, NOTHING),
        ([HEADLESS], SLICE, NOTHING),
        ([PROXIED], put(endpoint_slice(service_name="db")), NOTHING),
        ([PROXIED], endpoints(MANUAL), NOTHING),
        ([SELECTORLESS], endpoints(MANUAL), ONLY_WEB),
        ([SELECTORLESS, endpoints(MANUAL)], gone(Kind.ENDPOINTS, "web"), ONLY_WEB),
        (
            [PROXIED],
            Invalid(kind=Kind.SERVICE, ref=WEB, problems=(problem(),)),
            NOTHING,
        ),
        ([PROXIED], Synced(), NOTHING),
        ([PROXIED], Replaced(kind=Kind.SERVICE, refs=frozenset({WEB})), NOTHING),
        ([PROXIED], Replaced(kind=Kind.SERVICE, refs=frozenset()), ONLY_WEB),
        ([PROXIED], Replaced(kind=Kind.NODE, refs=frozenset()), NOTHING),
        ([PROXIED], put(node("node-0", "10.0.0.10")), EVERYTHING),
        ([put(node())], put(node()), NOTHING),
        ([put(node())], put(node(zone="b")), EVERYTHING),
        ([put(node())], gone(Kind.NODE, "node-0"), EVERYTHING),
        ([PROXIED], put(node("node-1", "10.0.0.11")), NOTHING),
        ([VIP_10], put(node("node-1", "10.0.0.11")), ONLY_WEB),
        ([CLUSTER_IP_OF_PEER], put(node("node-1", "10.0.0.11")), ONLY_WEB),
        (
            [VIP_10, put(node("node-1", "10.0.0.11"))],
            put(node("node-1", "10.0.0.11", zone="b")),
            NOTHING,
        ),
        (
            [VIP_10, put(node("node-1", "10.0.0.11"))],
            put(node("node-1", "10.0.0.12")),
            ONLY_WEB,
        ),
        (
            [VIP_10, put(node("node-1", "10.0.0.11"))],
            gone(Kind.NODE, "node-1"),
            ONLY_WEB,
        ),
        ([VIP_10, PROXIED], put(node("node-1", "10.0.0.11")), NOTHING),
    ],
)
def test_dirty(before: list[Event], event: Event, expected: Dirty) -> None:
    """An event dirties what must be compiled differently after it, and no more."""
    store = store_after(*before)
    assert dirtied(store, event) == expected
    assert not store.take_dirty()


def test_slice_moves_to_another_service() -> None:
    """A slice whose label changes makes the old and the new Service dirty."""
    store = store_after(put(service("web")), put(service("db")), SLICE)
    dirty = dirtied(store, put(endpoint_slice(service_name="db")))
    assert dirty.services == {ref("web"), ref("db")}
    assert store.slices_of(ref("web")) == ()
    assert store.slices_of(ref("db")) == (endpoint_slice(service_name="db"),)


def test_slice_that_loses_its_label() -> None:
    """A slice that is no Service's any more is gone from the Service it was of."""
    store = store_after(PROXIED, SLICE)
    bare = Upserted(kind=Kind.ENDPOINT_SLICE, ref=ref("web-abcde"), values=())
    assert dirtied(store, bare) == ONLY_WEB
    assert store.slices_of(WEB) == ()


def test_slices_are_sorted() -> None:
    """In whatever order they arrived: the one that changed last is last.

    Those that do not say when are first, by name.
    """
    changed = {"c": "2026-01-02T00:00:00Z", "d": "2026-01-01T00:00:00Z"}
    pieces = [
        endpoint_slice(f"web-{name}", trigger_time=changed.get(name, ""))
        for name in "cbad"
    ]
    store = store_after(PROXIED, *map(put, pieces))
    names = [piece.ref.name for piece in store.slices_of(WEB)]
    assert names == ["web-a", "web-b", "web-d", "web-c"]


def test_endpoints_count_for_selectorless_services_only() -> None:
    """Plain Endpoints are endpoints of a Service without a selector, and no other."""
    store = store_after(PROXIED, SLICE, endpoints(MANUAL))
    assert store.slices_of(WEB) == (endpoint_slice(),)
    assert dirtied(store, SELECTORLESS) == ONLY_WEB
    assert store.slices_of(WEB) == (endpoint_slice(), MANUAL)


def test_subset_goes() -> None:
    """An Endpoints object with fewer subsets has fewer slices."""
    second = endpoint_slice("web.1.IPv4", "172.16.0.9", from_endpoints=True)
    store = store_after(SELECTORLESS, endpoints(MANUAL, second))
    assert store.slices_of(WEB) == (MANUAL, second)
    assert dirtied(store, endpoints(MANUAL)) == ONLY_WEB
    assert store.slices_of(WEB) == (MANUAL,)


def test_same_name_in_two_namespaces() -> None:
    """A slice belongs to the Service of its own namespace."""
    other = EndpointSlice(
        ref=ObjectRef("other", "web-abcde"),
        service=ObjectRef("other", "web"),
        family=endpoint_slice().family,
    )
    store = store_after(PROXIED, SLICE)
    assert dirtied(store, put(other)) == NOTHING
    assert store.slices_of(WEB) == (endpoint_slice(),)


def test_dirt_gathers() -> None:
    """What several events dirtied is taken once, together."""
    store = store_after()
    store.apply(put(service("a")))
    store.apply(put(service("b")))
    store.apply(put(node()))
    assert store.take_dirty() == Dirty(
        services=frozenset({ref("a"), ref("b")}), node_changed=True
    )
    assert store.take_dirty() == NOTHING


def test_node_context() -> None:
    """The context holds this Node's facts and every other Node's addresses."""
    store = store_after(put(node("node-0", "10.0.0.10", zone="a")))
    store.apply(put(node("node-1", "10.0.0.11", zone="b")))
    context = store.node_context()
    assert (context.name, context.zone) == ("node-0", "a")
    assert context.node_addresses == (parse_address("10.0.0.10"),)
    assert context.peer_addresses == {parse_address("10.0.0.11")}
    store.apply(gone(Kind.NODE, "node-1"))
    assert store.node_context().peer_addresses == frozenset()


def test_a_node_that_leaves_dirties_nothing() -> None:
    """Health checks say so; what is compiled is as it was."""
    store = store_after(put(node("node-0", "10.0.0.10")), put(node("node-1")))
    before = store.node_context()
    leaving = put(node("node-0", "10.0.0.10", is_leaving=True))
    assert dirtied(store, leaving) == NOTHING
    assert dirtied(store, put(node("node-1", is_leaving=True))) == NOTHING
    assert store.is_node_leaving
    assert store.node_context() == before
    moved = put(node("node-0", "10.0.0.11"))
    assert dirtied(store, moved).node_changed
    assert not store.is_node_leaving


def test_it_says_whether_an_object_changed() -> None:
    """What is told again as it was is no change; nor is what has no value."""
    store = store_after()
    assert store.apply(PROXIED)
    assert not store.apply(PROXIED)
    assert not store.apply(Synced())
    assert not store.apply(Invalid(kind=Kind.SERVICE, ref=WEB, problems=(problem(),)))
    assert store.apply(gone(Kind.SERVICE, "web"))
    assert not store.apply(gone(Kind.SERVICE, "web"))


def test_invalid_keeps_the_last_good_state() -> None:
    """An object that is broken stays as it was, with a problem, until it is fixed."""
    store = store_after(
        PROXIED, Invalid(kind=Kind.SERVICE, ref=WEB, problems=(problem(),))
    )
    assert store.service(WEB) == service()
    assert store.problems() == (problem(),)
    store.apply(PROXIED)
    assert store.problems() == ()


def test_problems_go_with_their_object() -> None:
    """Problems are sorted, and go when the object goes."""
    store = store_after(
        put(service("b"), problem("b")),
        put(service("a"), problem("a")),
        Invalid(kind=Kind.MANIFEST, ref=ref("f"), problems=(problem("f"),)),
    )
    assert store.problems() == (problem("a"), problem("b"), problem("f"))
    store.apply(gone(Kind.SERVICE, "b"))
    store.apply(Replaced(kind=Kind.MANIFEST, refs=frozenset()))
    assert store.problems() == (problem("a"),)


def test_synced() -> None:
    """A store is complete when its source says so."""
    store = store_after(PROXIED)
    assert not store.is_synced
    store.apply(Synced())
    assert store.is_synced


SERVICES = st.builds(
    lambda name, proxied, vip, selector: put(
        service(
            name,
            proxied=proxied,
            external_ips=(parse_address(f"10.0.0.{vip}"),),
            has_selector=selector,
        )
    ),
    st.sampled_from("ab"),
    st.booleans(),
    st.integers(10, 12),
    st.booleans(),
)
SLICES = st.builds(
    lambda name, owner, address: put(
        endpoint_slice(f"s-{name}", f"172.16.0.{address}", service_name=owner)
    ),
    st.sampled_from("xy"),
    st.sampled_from("ab"),
    st.integers(1, 3),
)
ENDPOINTS = st.builds(
    lambda name, count: endpoints(
        *(
            endpoint_slice(f"{name}.{i}.IPv4", service_name=name, from_endpoints=True)
            for i in range(count)
        ),
        name=name,
    ),
    st.sampled_from("ab"),
    st.integers(0, 2),
)
NODES = st.builds(
    lambda name, address: put(node(f"node-{name}", f"10.0.0.{address}")),
    st.integers(0, 2),
    st.integers(10, 12),
)
DELETIONS = st.sampled_from(
    [
        *(gone(Kind.SERVICE, name) for name in "ab"),
        *(gone(Kind.ENDPOINTS, name) for name in "ab"),
        *(gone(Kind.ENDPOINT_SLICE, f"s-{name}") for name in "xy"),
        *(gone(Kind.NODE, f"node-{number}") for number in range(3)),
    ]
)
EVENTS = st.lists(SERVICES | SLICES | ENDPOINTS | NODES | DELETIONS, max_size=20)


def view(store: Store) -> object:
    """All that compiling can see: each proxied Service, its slices, the Nodes."""
    return (
        {
            name: (value, store.slices_of(name))
            for name, value in store.services.items()
            if value.proxied
        },
        store.node_context(),
    )


def key(event: Event) -> tuple[Kind, ObjectRef]:
    """The object an event is about."""
    assert isinstance(event, Upserted | Deleted)
    return event.kind, event.ref


@settings(deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_order_between_objects_does_not_matter(
    events: list[Event], random: Random
) -> None:
    """The end state is the last event of each object, however they interleave."""
    last = {key(event): event for event in events}
    shuffled = list(last.values())
    random.shuffle(shuffled)
    assert view(store_after(*events)) == view(store_after(*shuffled))


def compiled(store: Store, name: ObjectRef) -> object:
    """All that compiling this Service depends on."""
    value = store.service(name)
    if value is None or not value.proxied:
        return None
    context = store.node_context()
    claims = {*value.external_ips, *value.cluster_ips}
    return (
        value,
        store.slices_of(name),
        context.zone,
        context.node_addresses,
        claims & context.peer_addresses,
    )


def names(stores: Iterable[Store]) -> set[ObjectRef]:
    """Every Service any of the stores knows."""
    return {name for store in stores for name in store.services}


@settings(deadline=None)
@given(EVENTS, EVENTS)
def test_whatever_changed_is_dirty(first: list[Event], then: list[Event]) -> None:
    """A Service that is not dirty compiles to what it compiled to before."""
    before, after = store_after(*first), store_after(*first)
    for event in then:
        after.apply(event)
    dirty = after.take_dirty()
    if not dirty.node_changed:
        for name in names((before, after)) - dirty.services:
            assert compiled(before, name) == compiled(after, name)
