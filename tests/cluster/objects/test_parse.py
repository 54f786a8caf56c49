"""Facts about reading any object: Nodes, lists, and interpreter."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.objects.nodes import parse_node
from ipvsctl.cluster.objects.parse import (
    API_VERSIONS,
    decode_list,
    parse_object,
    parse_versioned,
)
from ipvsctl.model.errors import BadObject
from ipvsctl.model.net import parse_address, parse_network
from ipvsctl.model.objects import Node
from ipvsctl.model.problem import Kind, ObjectRef
from tests.builders import raw_node, raw_service, to_json


def test_node() -> None:
    """A Node keeps its own addresses, in order, its pod networks and its zone."""
    raw = raw_node("node-0", "10.0.0.10", "fd00:10::10", zone="zone-b")
    raw["status"]["addresses"] += [
        {"type": "Hostname", "address": "node-0"},
        {"type": "ExternalIP", "address": "203.0.113.9"},
        {"type": "InternalIP", "address": "10.0.0.10"},
    ]
    found = parse_node(to_json(raw))
    assert found.ref == ObjectRef("", "node-0")
    assert found.values == (
        Node(
            name="node-0",
            addresses=tuple(
                map(parse_address, ("10.0.0.10", "fd00:10::10", "203.0.113.9"))
            ),
            pod_cidrs=(parse_network("172.16.0.0/24"),),
            zone="zone-b",
        ),
    )
    assert found.problems == ()


def test_bare_node() -> None:
    """A Node that nothing is known about is a Node; one old field stands in."""
    assert parse_node({"metadata": {"name": "a"}}).values == (Node(name="a"),)
    old = parse_node({"metadata": {"name": "a"}, "spec": {"podCIDR": "10.1.0.0/24"}})
    assert old.values == (Node(name="a", pod_cidrs=(parse_network("10.1.0.0/24"),)),)


@pytest.mark.parametrize(
    ("deleted", "taints", "is_leaving"),
    [
        (None, None, False),
        (None, [{"key": "node.kubernetes.io/not-ready"}, {}], False),
        (None, [{"key": "ToBeDeletedByClusterAutoscaler"}], True),
        ("2026-01-01T00:00:00Z", None, True),
    ],
)
def test_a_node_that_leaves(
    deleted: str | None, taints: list[dict[str, str]] | None, *, is_leaving: bool
) -> None:
    """It is being deleted, or tainted by the cluster autoscaler."""
    raw = raw_node("node-0", taints=taints)
    raw["metadata"]["deletionTimestamp"] = deleted
    (value,) = parse_node(to_json(raw)).values
    assert isinstance(value, Node)
    assert value.is_leaving is is_leaving


def test_node_problems() -> None:
    """A bad address or pod network of a Node is left out alone."""
    found = parse_node(
        raw_node("a", "10.0.0.1", "10.0.0", podCIDRs=["x", "10.0.0.0/8"])
    )
    assert [p.field for p in found.problems] == [
        "status.addresses[1].address",
        "spec.podCIDRs[0]",
    ]
    (value,) = found.values
    assert isinstance(value, Node)
    assert value.addresses == (parse_address("10.0.0.1"),)
    assert value.pod_cidrs == (parse_network("10.0.0.0/8"),)


def test_addresses_of_a_node() -> None:
    """Leading zeros are decimal, and link-local and class E addresses are in use."""
    given = ("010.000.000.010", "169.254.1.5", "240.0.0.5", "::ffff:10.0.0.11")
    found = parse_node(raw_node("a", *given, podCIDRs=["010.0.0.0/08", "240.1.0.0/16"]))
    assert found.problems == ()
    (value,) = found.values
    assert isinstance(value, Node)
    assert [str(address) for address in value.addresses] == [
        "10.0.0.10",
        "169.254.1.5",
        "240.0.0.5",
        "10.0.0.11",
    ]
    assert [str(network) for network in value.pod_cidrs] == [
        "10.0.0.0/8",
        "240.1.0.0/16",
    ]


def test_nameless_node() -> None:
    """A Node without a name is nobody's."""
    with pytest.raises(BadObject, match=r"metadata\.name"):
        parse_node({})


def test_list_items_are_independent() -> None:
    """A broken item of a list is an error of its own."""
    raw = {
        "metadata": {"resourceVersion": "7", "continue": "abc"},
        "items": [raw_service("a"), 5, raw_service("b")],
    }
    page = decode_list(to_json(raw))
    assert page.metadata is not None
    assert (page.metadata.resource_version, page.metadata.continue_token) == (
        "7",
        "abc",
    )
    assert page.items is not None
    first, second, third = page.items
    assert parse_object(Kind.SERVICE, first).ref.name == "a"
    assert parse_object(Kind.SERVICE, third).ref.name == "b"
    with pytest.raises(BadObject):
        parse_object(Kind.SERVICE, second)


KINDS = st.sampled_from(sorted(API_VERSIONS))
ADDRESSES = st.sampled_from(
    ["10.0.0.1", "fd00::1", "999.1.1.1", "None", "10.0.0.0/8", ""]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | ADDRESSES
# Names the parsers look at, so that garbage gets past the first field.
WORDS = """
    metadata name namespace labels annotations spec type ports port nodePort protocol
    clusterIP clusterIPs externalIPs status loadBalancer ingress ip addressType
    endpoints addresses conditions ready hints forZones subsets podCIDRs address
    sessionAffinity sessionAffinityConfig clientIP timeoutSeconds
    kubernetes.io/service-name loadBalancerSourceRanges
"""
NAMES = st.sampled_from(WORDS.split())
GARBAGE = st.dictionaries(
    NAMES,
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4)
        ),
        max_leaves=12,
    ),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(KINDS, GARBAGE)
def test_garbage(kind: Kind, garbage: dict[str, object]) -> None:
    """Whatever an object holds, reading it gives a value or a BadObject."""
    for raw in (garbage, {"metadata": {"name": "a"}} | garbage):
        with contextlib.suppress(BadObject):
            assert isinstance(parse_object(kind, raw), Upserted)


@settings(deadline=None)
@given(KINDS, st.binary())
def test_garbage_bytes(kind: Kind, garbage: bytes) -> None:
    """Bytes that are not the object are a BadObject."""
    with pytest.raises(BadObject):
        parse_object(kind, garbage)


@pytest.mark.parametrize(
    ("version", "expected"), [("12", "12"), (None, ""), (12, ""), ([], "")]
)
def test_resource_version(version: object, expected: str) -> None:
    """The resource version is text; a manifest may have anything there."""
    raw = raw_service("web")
    raw["metadata"]["resourceVersion"] = version
    found, told = parse_versioned(Kind.SERVICE, raw)
    assert (found.ref.name, told) == ("web", expected)
