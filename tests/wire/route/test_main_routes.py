"""`wire.route`: next hops, in all the forms that the kernel has for them.

That they are what Linux says is tested with a kernel (tests/kernel/test_linux.py).
"""

import struct

import pytest

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPFamily, parse_address
from ipvsctl.wire.netlink.attributes import attribute
from ipvsctl.wire.netlink.messages import NLMSG_HDRLEN
from ipvsctl.wire.route.attributes import RTMSG, RtaAttr
from ipvsctl.wire.route.replies import MainRoute, MainRouteReplies
from ipvsctl.wire.route.requests import list_main_routes

OIF = attribute(RtaAttr.OIF, struct.pack("=I", 7))
GATEWAY = attribute(RtaAttr.GATEWAY, parse_address("10.0.0.1").packed)
VIA = attribute(RtaAttr.VIA, struct.pack("=H", 10) + parse_address("fd00:10::1").packed)


def route(
    *attributes: bytes, family: int = 2, length: int = 0, table: int = 254
) -> bytes:
    """The payload of a route message."""
    head = RTMSG.pack(family, length, 0, 0, table, 3, 0, 1, 0)
    return head + b"".join(attributes)


def hop(*attributes: bytes) -> bytes:
    """A struct rtnexthop."""
    body = b"".join(attributes)
    return struct.pack("=HBBi", 8 + len(body), 0, 0, 7) + body


def read(payload: bytes) -> MainRoute | None:
    """What it says."""
    return MainRouteReplies().route(payload, 0, len(payload))


def test_the_request_is_for_the_main_table() -> None:
    """With nothing else set, or a strict kernel refuses it (ip_valid_fib_dump_req)."""
    body = list_main_routes(IPFamily.IPV6)[NLMSG_HDRLEN:]
    assert RTMSG.unpack(body) == (10, 0, 0, 0, 254, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("attributes", "gateways"),
    [
        ((OIF,), []),
        ((OIF, GATEWAY), ["10.0.0.1"]),
        ((OIF, VIA), ["fd00:10::1"]),
        (
            (attribute(RtaAttr.MULTIPATH, hop(GATEWAY) + hop() + hop(VIA)),),
            ["10.0.0.1", "fd00:10::1"],
        ),
        ((attribute(99, b"new"), OIF, GATEWAY), ["10.0.0.1"]),
    ],
)
def test_next_hops(attributes: tuple[bytes, ...], gateways: list[str]) -> None:
    """One, one of the other family, and several."""
    found = read(route(*attributes))
    assert found is not None
    assert [*map(str, found.gateways)] == gateways


def test_a_default_route() -> None:
    """Its metric and source say what the host's own connections come from."""
    metric = attribute(RtaAttr.PRIORITY, struct.pack("=I", 100))
    source = attribute(RtaAttr.PREFSRC, parse_address("10.0.0.10").packed)
    assert read(route(OIF, GATEWAY, metric, source)) == MainRoute(
        IPFamily.IPV4,
        is_default=True,
        metric=100,
        ifindex=7,
        source=parse_address("10.0.0.10"),
        gateways=(parse_address("10.0.0.1"),),
    )
    plain = read(route(OIF, length=24))
    assert plain is not None
    assert not plain.is_default
    assert plain.metric == 0


def test_other_tables_and_families_are_passed_over() -> None:
    """A kernel before 4.20 lists them too."""
    assert read(route(OIF, GATEWAY, table=255)) is None
    assert read(route(OIF, GATEWAY, family=28)) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        route()[:-1],
        route(b"\x08\x00\x05"),
        route(attribute(RtaAttr.GATEWAY, b"\x0a\x00")),
        route(attribute(RtaAttr.VIA, b"\x0a")),
        route(attribute(RtaAttr.MULTIPATH, b"\x08\x00")),
        route(attribute(RtaAttr.MULTIPATH, struct.pack("=HBBi", 0, 0, 0, 7))),
        route(attribute(RtaAttr.MULTIPATH, struct.pack("=HBBi", 99, 0, 0, 7))),
    ],
)
def test_what_breaks_off_is_an_error(payload: bytes) -> None:
    """And never a loop."""
    with pytest.raises(WireError):
        read(payload)
