"""Routes: byte for byte those of another encoder, and back to values."""

from struct import pack
from typing import Any

import pytest
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.wire.netlink.attributes import attribute
from ipvsctl.wire.netlink.messages import iter_messages
from ipvsctl.wire.route.attributes import RouteProtocol, RtaAttr, RtmType
from ipvsctl.wire.route.replies import LocalRoute, LocalRouteReplies
from ipvsctl.wire.route.requests import (
    add_route,
    delete_route,
    list_routes,
    update_route,
)
from tests.addresses import later
from tests.wire.golden import datagrams, each_kernel, in_runs, payloads, repeated
from tests.wire.samples import ROUTES, VIP, VIP6

IFINDEX = 7
OURS = 66

each_route = pytest.mark.parametrize(
    ("address", "source"),
    [(VIP, later(VIP, 1)), (VIP, None), (VIP6, later(VIP6, 1)), (VIP6, None)],
)


def by_pyroute2(
    kind: RtmType,
    message_flags: int,
    family: IPFamily,
    *attributes: tuple[str, Any],
    **fields: Any,
) -> bytes:
    """A request about local routes as pyroute2 encodes it."""
    message = rtmsg()
    message["header"].update(type=kind, flags=message_flags)
    message.update(family=family, table=255, type=2, attrs=list(attributes), **fields)
    message.encode()
    return bytes(message.data)


def route_by_pyroute2(
    kind: RtmType,
    message_flags: int,
    address: IPAddress,
    source: IPAddress | None = None,
    protocol: int = OURS,
) -> bytes:
    """A request about one route."""
    return by_pyroute2(
        kind,
        message_flags,
        family_of(address),
        ("RTA_DST", str(address)),
        *([] if source is None else [("RTA_PREFSRC", str(source))]),
        ("RTA_OIF", IFINDEX),
        dst_len=address.family.bits,
        proto=protocol,
        scope=254,
    )


@each_route
def test_adding(address: IPAddress, source: IPAddress | None) -> None:
    """An IPv4 route comes before all others, an IPv6 one replaces one of ours."""
    flags = 0x405 if address.version == 4 else 0x505
    assert add_route(IFINDEX, address, source) == route_by_pyroute2(
        RtmType.NEWROUTE, flags, address, source
    )


@each_route
def test_updating(address: IPAddress, source: IPAddress | None) -> None:
    """Only what is there is replaced."""
    assert update_route(IFINDEX, address, source) == route_by_pyroute2(
        RtmType.NEWROUTE, 0x105, address, source
    )


@pytest.mark.parametrize("address", [VIP, VIP6])
@pytest.mark.parametrize("protocol", [RouteProtocol.IPVSCTL, RouteProtocol.KERNEL])
def test_deleting(address: IPAddress, protocol: RouteProtocol) -> None:
    """Only the route of the maker named is deleted."""
    assert delete_route(IFINDEX, address, protocol) == route_by_pyroute2(
        RtmType.DELROUTE, 5, address, protocol=protocol
    )


@pytest.mark.parametrize("family", IPFamily)
@pytest.mark.parametrize("protocol", [RouteProtocol.UNSPEC, RouteProtocol.IPVSCTL])
def test_listing(family: IPFamily, protocol: RouteProtocol) -> None:
    """The dump is of local routes on one link, which the kernel picks out."""
    assert list_routes(family, IFINDEX, protocol) == by_pyroute2(
        RtmType.GETROUTE, 0x301, family, ("RTA_OIF", IFINDEX), proto=protocol
    )


@each_route
def test_routes_survive_the_wire(address: IPAddress, source: IPAddress | None) -> None:
    """A request to add a route reads as that route."""
    message = add_route(IFINDEX, address, source)
    assert LocalRouteReplies().route(message, 16, len(message)) == LocalRoute(
        IFINDEX, address, OURS, source
    )


@each_kernel
def test_routes_of_a_kernel(kernel: str) -> None:
    """Ours are listed with those of the addresses, each address in order."""
    replies = LocalRouteReplies()
    listed = [
        found
        for family in IPFamily
        for found in payloads(kernel, f"routes-{family.label}")
    ]
    read = [replies.route(*found) for found in listed]
    assert in_runs(replies.routes, listed) == read
    assert None not in read
    ours = {(r.address, r.source) for r in read if r and r.protocol == OURS}
    assert ours == set(ROUTES)
    makers = [r.protocol for r in read if r and r.address == VIP]
    assert makers == [OURS, RouteProtocol.KERNEL]
    assert len({r.ifindex for r in read if r}) == 1


def route_message(*attributes: bytes, **fields: int) -> bytes:
    """The payload of a message about an IPv4 route."""
    usual = {"family": 2, "length": 32, "table": 255, "protocol": OURS, "kind": 2}
    usual |= fields
    head = pack(
        "=BBBBBBBBI",
        usual["family"],
        usual["length"],
        0,
        0,
        usual["table"],
        usual["protocol"],
        254,
        usual["kind"],
        0,
    )
    return head + b"".join(attributes)


DST = attribute(RtaAttr.DST, VIP.packed)
OIF = attribute(RtaAttr.OIF, pack("=I", IFINDEX))


@pytest.mark.parametrize(
    "payload",
    [
        route_message(DST, OIF, table=254),
        route_message(DST, OIF, kind=1),
        route_message(DST, OIF, length=24),
        route_message(DST, OIF, family=28),
        route_message(DST),
    ],
    ids=["other-table", "unicast", "network", "other-family", "no-link"],
)
def test_other_routes(payload: bytes) -> None:
    """What does not make one address the host's own on one link is passed over."""
    assert LocalRouteReplies().route(payload, 0, len(payload)) is None


def test_a_route_to_nowhere() -> None:
    """A route to one address has that address."""
    payload = route_message(OIF)
    with pytest.raises(WireError, match="no destination"):
        LocalRouteReplies().route(payload, 0, len(payload))


@each_kernel
@pytest.mark.parametrize("family", IPFamily)
def test_truncated_replies(kernel: str, family: IPFamily) -> None:
    """A prefix of a reply is an error, or is read as far as it goes."""
    learned = LocalRouteReplies()
    for buffer, start, end in payloads(kernel, f"routes-{family.label}"):
        whole = learned.route(buffer, start, end)
        assert whole is not None
        for stop in range(start, end):
            try:
                read = learned.route(buffer[:stop], start, stop)
            except WireError:
                continue
            assert read is None or read.address == whole.address


@each_kernel
def test_only_routes_are_in_the_dump(kernel: str) -> None:
    """Its messages are new routes, and its end."""
    kinds = {
        kind
        for family in IPFamily
        for datagram in datagrams(kernel, f"routes-{family.label}")
        for kind, *_ in iter_messages(datagram)
    }
    assert kinds == {RtmType.NEWROUTE, 3}


@each_kernel
@pytest.mark.parametrize("address", [VIP, VIP6])
def test_routes_that_are_alike_are_decoded_at_once(
    kernel: str, address: IPAddress
) -> None:
    """They differ in nothing but their addresses."""
    replies = LocalRouteReplies()
    others = [later(address, 1), later(address, 2)]
    for found in payloads(kernel, f"routes-{family_of(address).label}"):
        route = replies.route(*found)
        if route is None or route.address != address or route.source == address:
            continue
        decoded = replies.routes(*repeated(found, address, others))
        assert decoded == [route._replace(address=one) for one in (address, *others)]
        return
    raise AssertionError(kernel)
