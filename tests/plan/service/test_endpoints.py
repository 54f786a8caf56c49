"""Which endpoints each traffic policy uses: one row a fact."""

import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.ipvs import RealServer, RealServerKey
from ipvsctl.model.net import IPFamily, IPv4Address, IPv6Address, Protocol
from ipvsctl.model.objects import Endpoint, EndpointSlice, NodeContext, SlicePort
from ipvsctl.model.problem import ObjectRef
from ipvsctl.plan.service.endpoints import (
    KnownSlices,
    PortEndpoint,
    port_endpoints,
    usable_endpoints,
)

NODE = NodeContext(name="here", zone="zone-a")

READY = Endpoint(address=IPv4Address("172.16.0.1"))
LEAVING = Endpoint(
    address=IPv4Address("172.16.0.1"), ready=False, serving=True, terminating=True
)
GONE = Endpoint(
    address=IPv4Address("172.16.0.1"), ready=False, serving=False, terminating=True
)
UNREADY = Endpoint(
    address=IPv4Address("172.16.0.1"), ready=False, serving=False, terminating=False
)
ZONE_A = msgspec.structs.replace(READY, hint_zones=frozenset({"zone-a"}))
ZONE_B = msgspec.structs.replace(READY, hint_zones=frozenset({"zone-b"}))
NODE_HERE = msgspec.structs.replace(ZONE_B, hint_nodes=frozenset({"here"}))
NODE_THERE = msgspec.structs.replace(ZONE_A, hint_nodes=frozenset({"there"}))


def usable(*endpoints: tuple[Endpoint, str]) -> tuple[list[int], list[int]]:
    """Indices of the endpoints that policies Cluster and Local use."""
    given = tuple(
        PortEndpoint(
            endpoint=msgspec.structs.replace(
                endpoint, address=IPv4Address(index), node_name=node
            ),
            server=RealServer(key=RealServerKey(IPv4Address(index), 8080)),
            rank=0,
            is_local=node == NODE.name,
        )
        for index, (endpoint, node) in enumerate(endpoints)
    )
    chosen = usable_endpoints(given, NODE)
    return (
        [int(e.endpoint.address) for e in chosen.cluster],
        [int(e.endpoint.address) for e in chosen.local],
    )


@pytest.mark.parametrize(
    ("fact", "endpoints", "cluster", "local"),
    [
        ("nothing from nothing", [], [], []),
        (
            "Cluster uses every ready one, Local those here",
            [(READY, "here"), (READY, "there")],
            [0, 1],
            [0],
        ),
        ("an endpoint without a node is not local", [(READY, "")], [0], []),
        ("an unready one is not used", [(UNREADY, "here"), (READY, "here")], [1], [1]),
        ("nor as the last resort", [(UNREADY, "here"), (GONE, "here")], [], []),
        (
            "a terminating one is not used beside a ready one",
            [(LEAVING, "here"), (READY, "here")],
            [1],
            [1],
        ),
        (
            "terminating but serving ones are the last resort",
            [(LEAVING, "here"), (LEAVING, "there"), (GONE, "here")],
            [0, 1],
            [0],
        ),
        (
            "the last resort is separate for each policy",
            [(LEAVING, "here"), (READY, "there")],
            [1],
            [0],
        ),
        (
            "hints for this zone are followed, and do not touch Local",
            [(ZONE_A, "there"), (ZONE_B, "here")],
            [0],
            [1],
        ),
        (
            "not if one ready endpoint has none",
            [(ZONE_A, "there"), (READY, "there")],
            [0, 1],
            [],
        ),
        (
            "one that is not ready needs none",
            [(ZONE_A, "there"), (UNREADY, "there"), (ZONE_B, "there")],
            [0],
            [],
        ),
        ("not if none is for this zone", [(ZONE_B, "there")], [0], []),
        (
            "hints for this node come before those for its zone",
            [(NODE_HERE, "there"), (NODE_THERE, "there")],
            [0],
            [],
        ),
        (
            "no hint for this node: the zone's count",
            [(NODE_THERE, "there"), (ZONE_B, "there")],
            [0],
            [],
        ),
    ],
)
def test_choice(
    fact: str,
    endpoints: list[tuple[Endpoint, str]],
    cluster: list[int],
    local: list[int],
) -> None:
    """Each policy uses what the row says."""
    assert usable(*endpoints) == (cluster, local), fact


def slice_of(
    *endpoints: Endpoint, port: int = 8080, name: str = "http"
) -> EndpointSlice:
    """An IPv4 slice with one TCP port."""
    return EndpointSlice(
        ref=ObjectRef("default", f"web-{port}"),
        service=ObjectRef("default", "web"),
        family=IPFamily.IPV4,
        ports=(SlicePort(name=name, protocol=Protocol.TCP, port=port),),
        endpoints=endpoints,
    )


def ports_of(*slices: EndpointSlice) -> list[tuple[str, int, bool]]:
    """What `port_endpoints` finds for http/TCP: address, port, ready."""
    found = port_endpoints(
        slices,
        family=IPFamily.IPV4,
        port_name="http",
        protocol=Protocol.TCP,
        node_name="here",
    )
    return [(str(e.endpoint.address), e.port, e.endpoint.ready) for e in found]


def test_one_port_name_may_have_several_numbers() -> None:
    """The same address behind two numbers is two endpoints."""
    assert ports_of(slice_of(READY, port=8081), slice_of(READY)) == [
        ("172.16.0.1", 8080, True),
        ("172.16.0.1", 8081, True),
    ]


def on(node: str, endpoint: Endpoint) -> Endpoint:
    """The endpoint on a node."""
    return msgspec.structs.replace(endpoint, node_name=node)


@pytest.mark.parametrize(
    ("fact", "entries", "counts"),
    [
        (
            "a pod whose address is in use again is gone (k/k#135266)",
            [on("here", GONE), on("there", READY)],
            1,
        ),
        ("whichever is first", [on("there", READY), on("here", GONE)], 0),
        (
            "the new one gets no traffic before it is ready, nor does the old one",
            [on("here", LEAVING), on("there", UNREADY)],
            1,
        ),
        (
            "likewise the other way round",
            [on("there", UNREADY), on("here", LEAVING)],
            0,
        ),
        (
            "of two ghosts and a pod the pod counts",
            [on("here", LEAVING), on("there", READY), on("here", GONE)],
            1,
        ),
        ("one that moves between slices is as the newer one says", [READY, UNREADY], 1),
        ("and where it says", [on("here", READY), on("there", READY)], 1),
        ("of two ghosts the first counts", [on("here", LEAVING), on("here", GONE)], 0),
        ("however much worse it is", [on("there", GONE), on("here", LEAVING)], 0),
    ],
)
def test_one_of_several_entries_counts(
    fact: str, entries: list[Endpoint], counts: int
) -> None:
    """An address that comes twice is one endpoint, in two slices as within one."""
    several = [slice_of(entry) for entry in entries]
    for slices in (several, [slice_of(*entries)]):
        found = port_endpoints(
            slices,
            family=IPFamily.IPV4,
            port_name="http",
            protocol=Protocol.TCP,
            node_name="here",
        )
        chosen = entries[counts]
        is_local = chosen.node_name == "here"
        assert [(e.endpoint, e.is_local) for e in found] == [(chosen, is_local)], fact


@given(
    st.lists(st.sampled_from([READY, LEAVING, GONE]), min_size=4, max_size=4),
    st.lists(st.permutations(range(4)).map(lambda p: p[:3]), max_size=4),
)
def test_what_is_known_of_slices_changes_nothing(
    entries: list[Endpoint], ways: list[list[int]]
) -> None:
    """Slices come, go and come again; two are of one address."""
    pieces = [
        slice_of(msgspec.structs.replace(entry, address=IPv4Address(n // 2)))
        for n, entry in enumerate(entries)
    ]
    known = KnownSlices()
    for way in ways:
        slices = [pieces[n] for n in way]
        known.begin()
        with_known, without = (
            port_endpoints(
                slices,
                family=IPFamily.IPV4,
                port_name="http",
                protocol=Protocol.TCP,
                node_name="here",
                known=memory,
            )
            for memory in (known, None)
        )
        assert with_known == without


def test_a_slice_that_stays_is_looked_through_once() -> None:
    """And one that has gone is not kept."""
    stays, goes = slice_of(READY), slice_of(GONE)
    known = KnownSlices()
    held = sys.getrefcount(goes)
    found = []
    for slices in ([stays, goes], [stays], [stays]):
        known.begin()
        found.append(
            port_endpoints(
                slices,
                family=IPFamily.IPV4,
                port_name="http",
                protocol=Protocol.TCP,
                node_name="here",
                known=known,
            )[0]
        )
    assert found[0] is found[1] is found[2]
    assert sys.getrefcount(goes) == held


def test_other_ports_protocols_and_families_are_not_mixed_in() -> None:
    """Only the port's own name, protocol and family count."""
    other_family = EndpointSlice(
        ref=ObjectRef("default", "web-v6"),
        service=ObjectRef("default", "web"),
        family=IPFamily.IPV6,
        ports=slice_of().ports,
        endpoints=(Endpoint(address=IPv6Address("fd00::1")),),
    )
    udp = msgspec.structs.replace(
        slice_of(READY),
        ports=(SlicePort(name="http", protocol=Protocol.UDP, port=8080),),
    )
    assert ports_of(other_family, udp, slice_of(READY, name="metrics")) == []


def test_a_node_without_a_name_has_no_local_endpoints() -> None:
    """An endpoint without a node name is not on a node without a name."""
    found = port_endpoints(
        [slice_of(READY)],
        family=IPFamily.IPV4,
        port_name="http",
        protocol=Protocol.TCP,
        node_name="",
    )
    assert [e.is_local for e in found] == [False]
