"""What IPVS says by socket options is what it says over netlink."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from ipaddress import ip_interface
from typing import Final

import msgspec
import pytest

from ipvsctl.kernel.ipvs_options import IpvsOptions
from ipvsctl.kernel.ipvs_table import IpvsTable
from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    RealServerStats,
    Tunnel,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.state import NodeState
from ipvsctl.model.steps import finish
from ipvsctl.plan.diff.ops import AddRealServer, AddVirtualServer, UpdateRealServer
from ipvsctl.wire.ipvs.dest_entries import service_name
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster
from tests.lab.traffic import Servers, connect

pytestmark = pytest.mark.kernel

KEYS: Final = (
    VirtualServerKey(
        family=IPFamily.IPV4,
        protocol=Protocol.SCTP,
        address=parse_address("10.96.0.1"),
        port=65535,
    ),
    VirtualServerKey(family=IPFamily.IPV4, fwmark=0x80000001),
)


def real_server(number: int, **fields: object) -> RealServer:
    """One of many that differ in every field."""
    key = RealServerKey(parse_address(f"172.16.0.{number}"), 8000 + number)
    usual = {"weight": number, "upper_threshold": 10 * number, "lower_threshold": 3}
    return msgspec.structs.replace(RealServer(key=key), **{**usual, **fields})


@pytest.fixture(name="table")
def _table(netns: Netns) -> Iterator[IpvsTable]:
    """An empty IPVS table."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    netns.add_address("lo", ip_interface("10.0.0.10/32"))
    with closing(IpvsOptions()) as options, closing(IpvsTable(options)) as table:
        yield table


@pytest.fixture(name="options")
def _options(table: IpvsTable) -> Iterator[IpvsOptions]:
    """What is asked."""
    del table
    with closing(IpvsOptions()) as options:
        yield options


def add(table: IpvsTable, key: VirtualServerKey, *servers: RealServer) -> None:
    """Add a virtual server with real servers."""
    server = VirtualServer(key=key, scheduler="wrr", netmask_bits=32)
    assert table.run([AddVirtualServer(server)]) == []
    assert table.run([AddRealServer(key, each) for each in servers]) == []


def same(
    options: IpvsOptions,
    key: VirtualServerKey,
    expected: Mapping[RealServerKey, RealServer],
) -> Mapping[RealServerKey, RealServerStats] | None:
    """Whether these are the virtual server's, as of now."""
    return options.same_dests(key, expected, options.count_dests())


def held(table: IpvsTable, key: VirtualServerKey) -> dict[RealServerKey, RealServer]:
    """The real servers as netlink tells them."""
    return dict(finish(table.read_in_steps(NodeState())).real_servers[key])


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_the_same(
    table: IpvsTable, options: IpvsOptions, key: VirtualServerKey, count: int
) -> None:
    """Each field counts, and so does one more and one less."""
    add(table, key, *map(real_server, range(1, count + 1)))
    expected = held(table, key)
    assert len(expected) == count
    assert same(options, key, expected) == {}
    more = real_server(200)
    assert same(options, key, {**expected, more.key: more}) is None
    for gone, server in expected.items():
        less = {k: s for k, s in expected.items() if k != gone}
        assert same(options, key, less) is None
        assert same(options, key, {**less, more.key: more}) is None
        for field in ("weight", "upper_threshold", "lower_threshold"):
            value = getattr(server, field) + 1
            other = msgspec.structs.replace(server, **{field: value})
            assert same(options, key, {**expected, gone: other}) is None
    if expected:
        first = next(iter(expected.values()))
        lighter = msgspec.structs.replace(first, weight=0)
        assert table.run([UpdateRealServer(key, lighter)]) == []
        assert same(options, key, expected) is None
        assert same(options, key, {**expected, first.key: lighter}) == {}


@pytest.mark.parametrize(
    "other",
    [
        real_server(1, forwarding=ForwardingMethod.DIRECT_ROUTE),
        real_server(1, forwarding=ForwardingMethod.TUNNEL),
        real_server(1, forwarding=ForwardingMethod.TUNNEL, tunnel=Tunnel(port=6080)),
    ],
    ids=str,
)
def test_other_ways_are_never_the_same(
    table: IpvsTable, options: IpvsOptions, other: RealServer
) -> None:
    """Not even to themselves, as it does not tell all of them: netlink is asked."""
    key = KEYS[1]
    add(table, key, other)
    assert same(options, key, {other.key: other}) is None
    plain = real_server(1)
    assert same(options, key, {plain.key: plain}) is None
    listed = finish(
        table.read_in_steps(
            NodeState(real_servers={key: {other.key: other}}, virtual_servers={})
        )
    )
    assert listed.real_servers[key] == {other.key: other}


def test_a_real_server_of_this_host(table: IpvsTable, options: IpvsOptions) -> None:
    """The kernel calls its method another one: what is said over netlink counts."""
    key = KEYS[1]
    local = RealServer(key=RealServerKey(parse_address("10.0.0.10"), 80))
    add(table, key, local)
    expected = held(table, key)
    found = same(options, key, expected)
    assert found is None or found == {}
    is_masqueraded = expected[local.key].forwarding is ForwardingMethod.MASQUERADE
    assert (found == {}) == is_masqueraded


def test_what_is_not_there(table: IpvsTable, options: IpvsOptions) -> None:
    """No virtual server, and IPv6, of which the option knows nothing."""
    assert same(options, KEYS[0], {}) is None
    key = VirtualServerKey(
        family=IPFamily.IPV6,
        protocol=Protocol.TCP,
        address=parse_address("fd00::1"),
        port=80,
    )
    server = VirtualServer(key=key, scheduler="rr", netmask_bits=128)
    assert table.run([AddVirtualServer(server)]) == []
    assert same(options, key, {}) is None


def test_connections_are_counted(cluster: Cluster, servers: Servers) -> None:
    """The same numbers as over netlink, of those alone that have any."""
    node, pod = cluster.nodes[0], cluster.pods["pod-0-0"]
    servers.add(pod.netns, pod.ipv4, 8080)
    key = VirtualServerKey(
        family=IPFamily.IPV4, protocol=Protocol.TCP, address=node.ipv4, port=80
    )
    busy = RealServer(key=RealServerKey(pod.ipv4, 8080))
    idle = RealServer(key=RealServerKey(pod.ipv4, 8081), weight=0)
    with (
        inside(node.netns),
        closing(IpvsOptions()) as options,
        closing(IpvsTable(options)) as table,
    ):
        node.netns.sysctl("net/ipv4/vs/conntrack", "1")
        add(table, key, busy, idle)
        expected = held(table, key)
        assert same(options, key, expected) == {}
        with connect(cluster.client.netns, node.ipv4, 80) as held_open:
            assert held_open.ask().server == "pod-0-0"
            told = same(options, key, expected)
            assert told == {busy.key: RealServerStats(active=1)}
            listing = finish(table.read_in_steps(NodeState()))
            assert listing.connections[key][busy.key] == told[busy.key]
            heavier = msgspec.structs.replace(busy, weight=2)
            other = {**expected, busy.key: heavier}
            assert same(options, key, other) is None


def test_a_real_server_of_the_other_family_is_seen(
    table: IpvsTable, options: IpvsOptions
) -> None:
    """The option passes over it, and the number says so."""
    key = KEYS[0]
    usual = real_server(1)
    add(table, key, usual)
    expected = {usual.key: usual}
    assert same(options, key, expected) == {}
    assert options.read_dests(key) == (expected, {})
    other = RealServer(
        key=RealServerKey(parse_address("fd00::5"), 1),
        forwarding=ForwardingMethod.TUNNEL,
    )
    assert table.run([AddRealServer(key, other)]) == []
    assert same(options, key, expected) is None
    assert options.read_dests(key) is None
    likely = NodeState(real_servers={key: expected})
    every = {**expected, other.key: other}
    assert finish(table.read_in_steps(likely)).real_servers[key] == every
    assert table.read_some([key], {}).real_servers[key] == every


def test_many(table: IpvsTable, options: IpvsOptions) -> None:
    """More than there is room for at first are read over netlink."""
    add(table, KEYS[0], *map(real_server, range(1, 101)))
    assert options.read_dests(KEYS[0]) is None
    assert len(table.read_some([KEYS[0]], {}).real_servers[KEYS[0]]) == 100
    assert options.count_dests()[service_name(KEYS[0])] == 100
