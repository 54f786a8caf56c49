"""IPVS messages: byte for byte those of another encoder, and back to values."""

from struct import pack, pack_into, unpack_from
from sys import byteorder
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.generic.ipvs import ipvsmsg

from ipvsctl.model.errors import WireError
from ipvsctl.model.ipvs import (
    ForwardingMethod,
    RealServer,
    RealServerKey,
    RealServerStats,
    ServiceFlags,
    Timeouts,
    TrafficStats,
    Tunnel,
    TunnelKind,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    IPv4Address,
    IPv6Address,
    Protocol,
    family_of,
)
from ipvsctl.wire.ipvs.attributes import IpvsCmd, IpvsCmdAttr, IpvsDestAttr, IpvsSvcAttr
from ipvsctl.wire.ipvs.replies import IpvsReplies
from ipvsctl.wire.ipvs.requests import IpvsRequests
from ipvsctl.wire.netlink.attributes import attribute
from tests.wire.golden import KERNELS, each_kernel, payloads
from tests.wire.samples import REAL_SERVERS, VIRTUAL_SERVERS

FAMILY_ID = 0x1C
HEADERS = 20
COUNTERS = (
    IpvsDestAttr.ACTIVE_CONNS,
    IpvsDestAttr.INACT_CONNS,
    IpvsDestAttr.PERSIST_CONNS,
)
REQUESTS = IpvsRequests(FAMILY_ID)

ADDRESSES: st.SearchStrategy[IPAddress] = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.integers(0, 2**128 - 1).map(IPv6Address),
)
PORTS = st.integers(0, 65535)


@st.composite
def virtual_servers(draw: st.DrawFn) -> VirtualServer:
    """Any virtual server that a kernel can have, as it is read."""
    address = draw(ADDRESSES)
    family = family_of(address)
    key = VirtualServerKey(
        family=family,
        protocol=draw(st.sampled_from(Protocol)),
        address=address,
        port=draw(PORTS),
    )
    if draw(st.booleans()):
        key = VirtualServerKey(family=family, fwmark=draw(st.integers(1, 2**32 - 1)))
    flags = ServiceFlags(draw(st.integers(0, 63))) & ~ServiceFlags.HASHED
    is_persistent = ServiceFlags.PERSISTENT in flags
    return VirtualServer(
        key=key,
        scheduler=draw(st.text("abcdefgh", min_size=1, max_size=15)),
        flags=flags,
        timeout_s=draw(st.integers(0, 2**32 - 1)) if is_persistent else 0,
        netmask_bits=draw(st.integers(0, family.bits)),
        pe_name=draw(st.sampled_from(["", "sip"])),
    )


TUNNELS = st.builds(
    Tunnel,
    kind=st.sampled_from((TunnelKind.GUE, TunnelKind.GRE)),
    port=PORTS,
    flags=st.integers(0, 2),
)


@st.composite
def real_servers(draw: st.DrawFn) -> RealServer:
    """Any real server that a kernel can have, as it is read."""
    forwarding = draw(st.sampled_from(ForwardingMethod))
    is_tunnel = forwarding is ForwardingMethod.TUNNEL
    return RealServer(
        key=draw(st.builds(RealServerKey, ADDRESSES, PORTS)),
        weight=draw(st.integers(-(2**31), 2**31 - 1)),
        forwarding=forwarding,
        upper_threshold=draw(st.integers(0, 2**32 - 1)),
        lower_threshold=draw(st.integers(0, 2**32 - 1)),
        tunnel=draw(st.none() | TUNNELS) if is_tunnel else None,
    )


def by_pyroute2(command: IpvsCmd, *attributes: Any, flags: int = 5) -> bytes:
    """The request as pyroute2 encodes it."""
    message = ipvsmsg()
    message["header"].update(type=FAMILY_ID, flags=flags)
    message.update(cmd=command, version=1, attrs=list(attributes))
    message.encode()
    return bytes(message.data)


def service_attribute(key: VirtualServerKey, *more: Any) -> Any:
    """What finds a virtual server, in pyroute2's words."""
    attrs: list[Any] = [("IPVS_SVC_ATTR_AF", key.family)]
    if key.fwmark:
        attrs.append(("IPVS_SVC_ATTR_FWMARK", key.fwmark))
    else:
        attrs += [
            ("IPVS_SVC_ATTR_PROTOCOL", key.protocol),
            ("IPVS_SVC_ATTR_ADDR", str(key.address)),
            ("IPVS_SVC_ATTR_PORT", key.port),
        ]
    return ("IPVS_CMD_ATTR_SERVICE", {"attrs": [*attrs, *more]})


def service_value(server: VirtualServer) -> Any:
    """A virtual server in pyroute2's words."""
    bits = server.netmask_bits
    if server.key.family is IPFamily.IPV4:
        mask = IPv4Address(2**32 - 2 ** (32 - bits))
    else:
        # pyroute2 takes the prefix length, too, for an IPv4 address.
        mask = IPv4Address(pack("=I", bits))
    return service_attribute(
        server.key,
        ("IPVS_SVC_ATTR_SCHED_NAME", server.scheduler),
        ("IPVS_SVC_ATTR_FLAGS", {"flags": int(server.flags), "mask": 0xFFFFFFFF}),
        ("IPVS_SVC_ATTR_TIMEOUT", server.timeout_s),
        ("IPVS_SVC_ATTR_NETMASK", str(mask)),
    )


def dest_attribute(key: RealServerKey, *more: Any) -> Any:
    """What finds a real server, in pyroute2's words."""
    return (
        "IPVS_CMD_ATTR_DEST",
        {
            "attrs": [
                ("IPVS_DEST_ATTR_ADDR_FAMILY", family_of(key.address)),
                ("IPVS_DEST_ATTR_ADDR", str(key.address)),
                ("IPVS_DEST_ATTR_PORT", key.port),
                *more,
            ]
        },
    )


def dest_value(server: RealServer) -> Any:
    """A real server in pyroute2's words."""
    return dest_attribute(
        server.key,
        ("IPVS_DEST_ATTR_FWD_METHOD", int(server.forwarding)),
        ("IPVS_DEST_ATTR_WEIGHT", server.weight),
        ("IPVS_DEST_ATTR_U_THRESH", server.upper_threshold),
        ("IPVS_DEST_ATTR_L_THRESH", server.lower_threshold),
        *tunnel_attributes(server),
    )


def tunnel_attributes(server: RealServer) -> list[Any]:
    """What a real server's packets are wrapped in, in pyroute2's words."""
    if server.tunnel is None:
        return []
    # pyroute2 has the port in host byte order; the kernel takes it from the wire.
    port = int.from_bytes(server.tunnel.port.to_bytes(2, "big"), byteorder)
    return [
        ("IPVS_DEST_ATTR_TUN_TYPE", int(server.tunnel.kind)),
        ("IPVS_DEST_ATTR_TUN_PORT", port),
        ("IPVS_DEST_ATTR_TUN_FLAGS", server.tunnel.flags),
    ]


@pytest.mark.parametrize("server", VIRTUAL_SERVERS, ids=str)
def test_requests_about_a_virtual_server(server: VirtualServer) -> None:
    """They are the bytes that pyroute2 would send."""
    key = server.key
    found = service_attribute(key)
    value = service_value(server)
    assert REQUESTS.new_service(server) == by_pyroute2(IpvsCmd.NEW_SERVICE, value)
    assert REQUESTS.set_service(server) == by_pyroute2(IpvsCmd.SET_SERVICE, value)
    assert REQUESTS.del_service(key) == by_pyroute2(IpvsCmd.DEL_SERVICE, found)
    assert REQUESTS.get_service(key) == by_pyroute2(IpvsCmd.GET_SERVICE, found)
    assert REQUESTS.get_dests(key) == by_pyroute2(IpvsCmd.GET_DEST, found, flags=0x301)


@pytest.mark.parametrize("virtual_server", VIRTUAL_SERVERS, ids=str)
@pytest.mark.parametrize("server", REAL_SERVERS, ids=str)
def test_requests_about_a_real_server(
    virtual_server: VirtualServer, server: RealServer
) -> None:
    """They are the bytes that pyroute2 would send."""
    key = virtual_server.key
    service = service_attribute(key)
    value = dest_value(server)
    assert REQUESTS.new_dest(key, server) == by_pyroute2(
        IpvsCmd.NEW_DEST, service, value
    )
    assert REQUESTS.set_dest(key, server) == by_pyroute2(
        IpvsCmd.SET_DEST, service, value
    )
    assert REQUESTS.del_dest(key, server.key) == by_pyroute2(
        IpvsCmd.DEL_DEST, service, dest_attribute(server.key)
    )


def test_requests_without_a_key() -> None:
    """The dump of the table and the question for timeouts have no attributes."""
    assert REQUESTS.get_services() == by_pyroute2(IpvsCmd.GET_SERVICE, flags=0x301)
    assert REQUESTS.get_config() == by_pyroute2(IpvsCmd.GET_CONFIG)


@given(virtual_servers())
def test_virtual_servers_survive_the_wire(server: VirtualServer) -> None:
    """A request to add a virtual server reads as that virtual server."""
    message = REQUESTS.new_service(server)
    assert IpvsReplies().service(message, 16, len(message)) == (
        server,
        TrafficStats(),
    )


@given(real_servers(), st.tuples(*[st.integers(0, 2**32 - 1)] * 3), virtual_servers())
def test_real_servers_survive_the_wire(
    server: RealServer, counts: tuple[int, int, int], virtual_server: VirtualServer
) -> None:
    """A request to add a real server reads as that one; its counters are beside it."""
    message = bytearray(REQUESTS.new_dest(virtual_server.key, server))
    (service_bytes,) = unpack_from("=H", message, HEADERS)
    dest = HEADERS + service_bytes
    for kind, count in zip(COUNTERS, counts, strict=True):
        message += attribute(kind, pack("=I", count))
    pack_into("=H", message, dest, len(message) - dest)
    active, inactive, persistent = counts
    assert IpvsReplies().dest(bytes(message), 16, len(message)) == (
        server,
        RealServerStats(active=active, inactive=inactive, persistent=persistent),
    )


@each_kernel
def test_virtual_servers_of_a_kernel(kernel: str) -> None:
    """The samples come back, with flags, timeouts and netmasks as they were given."""
    replies = IpvsReplies()
    read = [replies.service(*found) for found in payloads(kernel, "virtual-servers")]
    assert {server for server, _ in read} == set(VIRTUAL_SERVERS)
    assert {stats for _, stats in read} == {TrafficStats()}
    assert len(read) == len(VIRTUAL_SERVERS)


@each_kernel
def test_real_servers_of_a_kernel(kernel: str) -> None:
    """The samples come back, a tunnel's with its other family."""
    replies = IpvsReplies()
    read = [replies.dest(*found) for found in payloads(kernel, "real-servers")]
    assert {server for server, _ in read} == set(REAL_SERVERS)
    assert {stats for _, stats in read} == {RealServerStats()}


@each_kernel
def test_counters_of_a_kernel(kernel: str) -> None:
    """Counters are read from where the kernel puts them."""
    buffer, start, end = payloads(kernel, "real-servers")[0]
    changed = bytearray(buffer)
    for kind, value in zip(COUNTERS, (3, 5, 7), strict=True):
        changed = changed.replace(
            attribute(kind, pack("=I", 0)), attribute(kind, pack("=I", value)), 1
        )
    _, stats = IpvsReplies().dest(bytes(changed), start, end)
    assert stats == RealServerStats(active=3, inactive=5, persistent=7)


@each_kernel
def test_the_same_real_servers_are_known_without_reading_them(kernel: str) -> None:
    """In any order; but not with one more, one less, or another weight."""
    replies = IpvsReplies()
    found = payloads(kernel, "real-servers")
    expected = {server.key: server for server in reversed(REAL_SERVERS)}
    assert replies.same_dests(found, expected) == {}
    assert replies.same_dests(found[1:], expected) is None
    assert replies.same_dests([*found[1:], found[1]], expected) is None
    for server in REAL_SERVERS:
        heavier = msgspec.structs.replace(server, weight=server.weight + 1)
        other = {**expected, server.key: heavier}
        assert replies.same_dests(found, other) is None
        wrapped = msgspec.structs.replace(server, tunnel=Tunnel(port=1))
        other = {**expected, server.key: wrapped}
        assert replies.same_dests(found, other) is None
        less = {key: held for key, held in expected.items() if key != server.key}
        assert replies.same_dests(found, less) is None


@each_kernel
def test_counters_of_the_same_real_servers(kernel: str) -> None:
    """Only those that have connections are told of."""
    buffer, start, end = payloads(kernel, "real-servers")[0]
    replies = IpvsReplies()
    server, _ = replies.dest(buffer, start, end)
    before, zero, three = buffer[:start], pack("=I", 0), pack("=I", 3)
    kind = COUNTERS[0]
    message = buffer[start:end].replace(
        attribute(kind, zero), attribute(kind, three), 1
    )
    stats = replies.same_dests([(before + message, start, end)], {server.key: server})
    assert stats == {server.key: RealServerStats(active=3)}


@each_kernel
def test_traffic_of_a_kernel(kernel: str) -> None:
    """Traffic is read from the 64-bit counters."""
    buffer, start, end = payloads(kernel, "virtual-servers")[0]
    changed = bytearray(buffer)
    stats64 = buffer.index(pack("=HHHH", 160, IpvsSvcAttr.STATS64, 12, 1), start)
    for kind in range(1, 6):
        place = changed.index(pack("=HH", 12, kind), stats64 + 4)
        pack_into("=Q", changed, place + 4, kind << 40)
    _, stats = IpvsReplies().service(bytes(changed), start, end)
    assert stats == TrafficStats(
        connections=1 << 40,
        packets_in=2 << 40,
        packets_out=3 << 40,
        bytes_in=4 << 40,
        bytes_out=5 << 40,
    )


@each_kernel
def test_timeouts_of_a_kernel(kernel: str) -> None:
    """The kernel's defaults."""
    (payload,) = payloads(kernel, "timeouts")
    assert IpvsReplies().config(*payload) == Timeouts(900, 120, 300)


def test_setting_timeouts() -> None:
    """Timeouts are numbers of seconds in three attributes."""
    message = REQUESTS.set_config(Timeouts(1, 2, 3))
    assert message[16] == IpvsCmd.SET_CONFIG
    assert IpvsReplies().config(message, 16, len(message)) == Timeouts(1, 2, 3)


@each_kernel
@pytest.mark.parametrize(
    ("name", "decode"),
    [("virtual-servers", IpvsReplies.service), ("real-servers", IpvsReplies.dest)],
)
def test_truncated_replies(kernel: str, name: str, decode: Any) -> None:
    """No prefix of a reply is a reply, whatever was read before."""
    learned = IpvsReplies()
    for buffer, start, end in payloads(kernel, name):
        decode(learned, buffer, start, end)
        for stop in range(start, end):
            for replies in (learned, IpvsReplies()):
                with pytest.raises(WireError):
                    decode(replies, buffer[:stop], start, stop)


@pytest.mark.parametrize(
    "change",
    [
        (IpvsSvcAttr.AF, "=H", 3),
        (IpvsSvcAttr.PROTOCOL, "=H", 1),
    ],
)
def test_replies_that_mean_nothing(change: tuple[int, str, int]) -> None:
    """An unknown family or protocol is an error, not a wrong virtual server."""
    kind, code, value = change
    good = attribute(kind, pack(code, 2 if kind == IpvsSvcAttr.AF else 6))
    message = REQUESTS.new_service(VIRTUAL_SERVERS[0])
    assert good in message
    with pytest.raises(WireError):
        IpvsReplies().service(
            message.replace(good, attribute(kind, pack(code, value))), 16, len(message)
        )


def test_an_unknown_forwarding_method_is_an_error() -> None:
    """Forwarding methods end at 4."""
    good = attribute(IpvsDestAttr.FWD_METHOD, pack("=I", 0))
    buffer, start, end = payloads(KERNELS[0], "real-servers")[-1]
    assert good in buffer
    bad = attribute(IpvsDestAttr.FWD_METHOD, pack("=I", 5))
    with pytest.raises(WireError, match="not a real server"):
        IpvsReplies().dest(buffer.replace(good, bad), start, end)


@pytest.mark.parametrize(("kind", "is_known"), [(0, True), (2, True), (3, False)])
def test_a_tunnel_of_a_kind_that_nobody_knows_is_an_error(
    kind: int, *, is_known: bool
) -> None:
    """Nothing is said of what cannot be read; other methods have no tunnel."""
    wrapped = RealServer(
        key=RealServerKey(IPv4Address("10.0.0.2"), 80),
        forwarding=ForwardingMethod.TUNNEL,
        tunnel=Tunnel(port=6080),
    )
    message = REQUESTS.new_dest(VIRTUAL_SERVERS[0].key, wrapped)
    for counter in COUNTERS:
        (service_bytes,) = unpack_from("=H", message, HEADERS)
        dest = HEADERS + service_bytes
        longer = bytearray(message + attribute(counter, bytes(4)))
        pack_into("=H", longer, dest, len(longer) - dest)
        message = bytes(longer)
    good = attribute(IpvsDestAttr.TUN_TYPE, b"\x01")
    message = message.replace(good, attribute(IpvsDestAttr.TUN_TYPE, bytes([kind])))
    if is_known:
        server, _ = IpvsReplies().dest(message, 16, len(message))
        assert (server.tunnel is not None) == bool(kind)
    else:
        with pytest.raises(WireError, match="tunnel"):
            IpvsReplies().dest(message, 16, len(message))


def test_a_short_address_is_an_error() -> None:
    """An address that ends early is not padded."""
    server = attribute(
        IpvsCmdAttr.SERVICE,
        attribute(IpvsSvcAttr.AF, pack("=H", 2))
        + attribute(IpvsSvcAttr.PROTOCOL, pack("=H", 6))
        + attribute(IpvsSvcAttr.ADDR, b"\x0a\0\0")
        + attribute(IpvsSvcAttr.PORT, b"\0\x50")
        + attribute(IpvsSvcAttr.SCHED_NAME, b"rr\0")
        + attribute(IpvsSvcAttr.FLAGS, b"\0" * 8)
        + attribute(IpvsSvcAttr.TIMEOUT, b"\0" * 4)
        + attribute(IpvsSvcAttr.NETMASK, b"\xff" * 4),
    )
    with pytest.raises(WireError, match="address"):
        IpvsReplies().service(b"\0" * 4 + server, 0, 4 + len(server))
