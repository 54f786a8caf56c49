"""rtnetlink: the main table's routes, as far as they lead through other hosts.

    nlmsghdr | rtmsg | RTA_GATEWAY, or RTA_MULTIPATH: rtnexthop | RTA_GATEWAY ... ...

Source: uapi/linux/rtnetlink.h; net/ipv4/fib_semantics.c:fib_dump_info,
net/ipv6/route.c:rt6_fill_node.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.wire.netlink.addresses import unpack_address
from ipvsctl.wire.netlink.attributes import Table, TableReader, iter_attributes
from ipvsctl.wire.netlink.messages import NLM_F_DUMP, message_header
from ipvsctl.wire.route.routes import RTMSG, RouteMessage, RouteProtocol, RtaAttr

RT_TABLE_MAIN: Final = 254

# struct rtnexthop: length with its attributes, flags, hops, link.
_NEXT_HOP: Final = Struct("=HBBi")
# struct rtvia begins with the family.
_VIA: Final = Struct("=H")


class MainRoute(NamedTuple):
    """A route of the main table.

    Attributes:
        is_default: it leads everywhere.
        metric: the lower, the better; 0 if it has none.
        ifindex: of its link; None if it has several.
        source: what the host's own connections come from; None is the link's choice.
        gateways: its next hops.
    """

    family: IPFamily
    is_default: bool
    metric: int
    ifindex: int | None
    source: IPAddress | None
    gateways: tuple[IPAddress, ...]


def list_main_routes(family: IPFamily) -> bytes:
    """Dump the main table; ENOENT if there is none yet.

    A kernel before 4.20 lists every route of the family all the same.
    """
    body = RTMSG.pack(family, 0, 0, 0, RT_TABLE_MAIN, RouteProtocol.UNSPEC, 0, 0, 0)
    return message_header(RouteMessage.GET, NLM_F_DUMP, len(body)) + body


_ROUTE: Final[Table] = {
    RtaAttr.OIF: "I",
    RtaAttr.GATEWAY: "s",
    RtaAttr.PRIORITY: "I",
    RtaAttr.PREFSRC: "s",
    RtaAttr.MULTIPATH: "s",
    RtaAttr.VIA: "s",
}


class MainRouteReplies:
    """Decodes the payloads of route messages."""

    def __init__(self) -> None:
        self._routes = TableReader(_ROUTE)

    def route(self, buffer: bytes, start: int, end: int) -> MainRoute | None:
        """A route of the main table; None for any other route.

        Args:
            buffer: what was received.
            start: where the payload starts in it.
            end: where it ends.

        Raises:
            WireError: it is not such a payload.
        """
        if end - start < RTMSG.size:
            raise WireError(offset=start, reason="truncated route message")
        number, length, _, _, table, *_ = RTMSG.unpack_from(buffer, start)
        if table != RT_TABLE_MAIN or number not in {IPFamily.IPV4, IPFamily.IPV6}:
            return None
        family = IPFamily(number)
        ifindex, gateway, metric, source, paths, via = self._routes.read(
            buffer, start + RTMSG.size, end
        )
        gateways: list[IPAddress] = []
        if gateway is not None:
            gateways.append(unpack_address(family, gateway))
        if via is not None:
            gateways += _via(via)
        if paths is not None:
            gateways += _next_hops(family, paths)
        return MainRoute(
            family,
            length == 0,
            metric or 0,
            ifindex,
            None if source is None else unpack_address(family, source),
            tuple(gateways),
        )


def _next_hops(family: IPFamily, paths: bytes) -> Iterator[IPAddress]:
    """The gateways of a route over several links."""
    offset = 0
    while offset < len(paths):
        if len(paths) - offset < _NEXT_HOP.size:
            raise WireError(offset=offset, reason="truncated next hop")
        length, _, _, _ = _NEXT_HOP.unpack_from(paths, offset)
        if not _NEXT_HOP.size <= length <= len(paths) - offset:
            raise WireError(offset=offset, reason=f"next hop of {length} bytes")
        first, last = offset + _NEXT_HOP.size, offset + length
        for kind, begin, stop in iter_attributes(paths, first, last):
            if kind == RtaAttr.GATEWAY:
                yield unpack_address(family, paths[begin:stop])
            elif kind == RtaAttr.VIA:
                yield from _via(paths[begin:stop])
        offset += (length + 3) & ~3


def _via(payload: bytes) -> Iterator[IPAddress]:
    """A gateway of another family than its route's."""
    if len(payload) < _VIA.size:
        raise WireError(offset=0, reason="truncated gateway")
    (number,) = _VIA.unpack_from(payload)
    if number in {IPFamily.IPV4, IPFamily.IPV6}:
        yield unpack_address(IPFamily(number), payload[_VIA.size :])
