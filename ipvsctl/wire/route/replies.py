"""The kernel's messages about addresses and routes, as values.

    nlmsghdr | ifaddrmsg | IFA_ADDRESS ...
    nlmsghdr | rtmsg | RTA_DST ...
    nlmsghdr | rtmsg | RTA_GATEWAY, or RTA_MULTIPATH: rtnexthop | RTA_GATEWAY ... ...

Every method that decodes takes the buffer and where a payload starts and ends in it.
Source: net/ipv4/devinet.c, net/ipv6/addrconf.c;
net/ipv4/fib_semantics.c:fib_dump_info, net/ipv6/route.c:rt6_fill_node.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import ADDRESSES_OF, IPAddress, IPFamily
from ipvsctl.wire.netlink.addresses import unpack_address
from ipvsctl.wire.netlink.attributes import (
    NLA_ALIGNTO,
    Table,
    TableReader,
    iter_attributes,
)
from ipvsctl.wire.netlink.messages import NLMSG_HDRLEN
from ipvsctl.wire.route.attributes import (
    IFADDRMSG,
    NEXT_HOP,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTMSG,
    RTN_LOCAL,
    VIA,
    IfaAttr,
    IfaFlag,
    RtaAttr,
)

_FLAGS_OFFSET: Final = 2
"""Of the flags in an ifaddrmsg, which are a byte."""

_FAMILIES: Final = {family.value: family for family in IPFamily}


class LinkAddress(NamedTuple):
    """An address on a link.

    Attributes:
        usable: False while, or after, duplicate address detection refuses it.
    """

    ifindex: int
    address: IPAddress
    prefix_length: int
    usable: bool


class LocalRoute(NamedTuple):
    """A route that makes one address the host's own.

    Attributes:
        protocol: who made it, `RouteProtocol` if that is the kernel or we.
        source: what the host's own connections to the address come from; None is
            the kernel's choice.
    """

    ifindex: int
    address: IPAddress
    protocol: int
    source: IPAddress | None


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


_ADDRESS: Final[Table] = {IfaAttr.ADDRESS: "s", IfaAttr.LOCAL: "s", IfaAttr.FLAGS: "I"}
_UNUSABLE: Final = IfaFlag.TENTATIVE | IfaFlag.DADFAILED
_LOCAL_ROUTE: Final[Table] = {RtaAttr.DST: "s", RtaAttr.OIF: "I", RtaAttr.PREFSRC: "s"}
_MAIN_ROUTE: Final[Table] = {
    RtaAttr.OIF: "I",
    RtaAttr.GATEWAY: "s",
    RtaAttr.PRIORITY: "I",
    RtaAttr.PREFSRC: "s",
    RtaAttr.MULTIPATH: "s",
    RtaAttr.VIA: "s",
}


class AddressReplies:
    """Decodes address messages."""

    def __init__(self) -> None:
        self._addresses = TableReader(_ADDRESS)

    def address(self, buffer: bytes, start: int, end: int) -> LinkAddress | None:
        """An address on a link; None for one of another family than IPv4 and IPv6.

        Raises:
            WireError: the bytes are no such payload.
        """
        number, prefix_length, flags8, _, ifindex = _header(
            IFADDRMSG, buffer, start, end
        )
        family = _FAMILIES.get(number)
        if family is None:
            return None
        peer, local, flags = self._addresses.read(buffer, start + IFADDRMSG.size, end)
        # On a point-to-point link ADDRESS is the other end.
        packed = peer if local is None else local
        if packed is None:
            raise WireError(offset=start, reason="no address")
        address = unpack_address(family, packed)
        all_flags = flags8 if flags is None else flags
        return LinkAddress(ifindex, address, prefix_length, not all_flags & _UNUSABLE)

    def addresses(
        self, buffer: bytes, start: int, end: int
    ) -> Sequence[LinkAddress | None]:
        """The same of a message and those behind it that are arranged alike."""
        first = self.address(buffer, start, end)
        if first is None or not _may_be_run(start, end):
            return (first,)
        found: list[LinkAddress | None] = []
        make = ADDRESSES_OF[len(first.address)]
        headers: dict[bytes, tuple[int, ...]] = {}
        for head, values in _run(self._addresses, IFADDRMSG, buffer, start, end):
            header = headers.get(head)
            if header is None:
                header = headers[head] = IFADDRMSG.unpack(head)
            number, prefix_length, flags8, _, ifindex = header
            if number != buffer[start]:
                # Its address may be of another family.
                break
            peer, local, flags = values
            address = make(peer if local is None else local)
            all_flags = flags8 if flags is None else flags
            usable = not all_flags & _UNUSABLE
            found.append(LinkAddress(ifindex, address, prefix_length, usable))
        return found


class LocalRouteReplies:
    """Decodes route messages of which those in the local table count."""

    def __init__(self) -> None:
        self._routes = TableReader(_LOCAL_ROUTE)

    def route(self, buffer: bytes, start: int, end: int) -> LocalRoute | None:
        """A local route to one address; None for any other route.

        Raises:
            WireError: the bytes are no such payload.
        """
        header = _header(RTMSG, buffer, start, end)
        protocol = _protocol(header)
        if protocol is None:
            return None
        family = _FAMILIES[header[0]]
        packed, ifindex, source = self._routes.read(buffer, start + RTMSG.size, end)
        if packed is None:
            raise WireError(offset=start, reason="no destination")
        if ifindex is None:
            # Over several nexthops, which none of an address or of ours is.
            return None
        return LocalRoute(
            ifindex,
            unpack_address(family, packed),
            protocol,
            None if source is None else unpack_address(family, source),
        )

    def routes(
        self, buffer: bytes, start: int, end: int
    ) -> Sequence[LocalRoute | None]:
        """The same of a message and those behind it that are arranged alike."""
        first = self.route(buffer, start, end)
        if first is None or not _may_be_run(start, end):
            return (first,)
        found: list[LocalRoute | None] = []
        make = ADDRESSES_OF[len(first.address)]
        protocols: dict[bytes, int | None] = {}
        for head, (packed, ifindex, source) in _run(
            self._routes, RTMSG, buffer, start, end
        ):
            if head[0] != buffer[start]:
                # Its addresses may be of another family.
                break
            if head not in protocols:
                protocols[head] = _protocol(RTMSG.unpack(head))
            protocol = protocols[head]
            if protocol is None:
                found.append(None)
                continue
            found.append(
                LocalRoute(
                    ifindex,
                    make(packed),
                    protocol,
                    None if source is None else make(source),
                )
            )
        return found


class MainRouteReplies:
    """Decodes route messages of which those in the main table count."""

    def __init__(self) -> None:
        self._routes = TableReader(_MAIN_ROUTE)

    def route(self, buffer: bytes, start: int, end: int) -> MainRoute | None:
        """A route of the main table; None for any other route.

        Raises:
            WireError: the bytes are no such payload.
        """
        number, length, _, _, table, *_ = _header(RTMSG, buffer, start, end)
        family = _FAMILIES.get(number)
        if table != RT_TABLE_MAIN or family is None:
            return None
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


def _protocol(header: tuple[int, ...]) -> int | None:
    """Who made a local route to one address; None for any other route."""
    number, length, _, _, table, protocol, _, kind, _ = header
    family = _FAMILIES.get(number)
    if table != RT_TABLE_LOCAL or kind != RTN_LOCAL or family is None:
        return None
    return protocol if length == family.bits else None


def _may_be_run(start: int, end: int) -> bool:
    """Whether a payload has a header, and the next message follows without a gap."""
    return start >= NLMSG_HDRLEN and (end - start) % NLA_ALIGNTO == 0


def _run(
    reader: TableReader, header: Struct, buffer: bytes, start: int, end: int
) -> list[tuple[bytes, tuple[Any, ...]]]:
    """The headers and values of messages of the same length and dump as the first.

    Args:
        reader: of their attributes.
        header: what these come behind.
        buffer: a datagram.
        start: where the payload of the first one begins.
        end: where it ends, a multiple of 4 bytes from where it begins.
    """
    begin, heads = start - NLMSG_HDRLEN, (NLMSG_HDRLEN, header.size)
    return reader.read_run(buffer, begin, len(buffer), heads=heads, length=end - begin)


def _header(header: Struct, buffer: bytes, start: int, end: int) -> tuple[Any, ...]:
    """The fields before the attributes."""
    if end - start < header.size:
        raise WireError(offset=start, reason="truncated message")
    return header.unpack_from(buffer, start)


def _next_hops(family: IPFamily, paths: bytes) -> Iterator[IPAddress]:
    """The gateways of a route over several links."""
    offset = 0
    while offset < len(paths):
        if len(paths) - offset < NEXT_HOP.size:
            raise WireError(offset=offset, reason="truncated next hop")
        length, _, _, _ = NEXT_HOP.unpack_from(paths, offset)
        if not NEXT_HOP.size <= length <= len(paths) - offset:
            raise WireError(offset=offset, reason=f"next hop of {length} bytes")
        first, last = offset + NEXT_HOP.size, offset + length
        for kind, begin, stop in iter_attributes(paths, first, last):
            if kind == RtaAttr.GATEWAY:
                yield unpack_address(family, paths[begin:stop])
            elif kind == RtaAttr.VIA:
                yield from _via(paths[begin:stop])
        offset += (length + 3) & ~3


def _via(payload: bytes) -> Iterator[IPAddress]:
    """A gateway of another family than its route's."""
    if len(payload) < VIA.size:
        raise WireError(offset=0, reason="truncated gateway")
    (number,) = VIA.unpack_from(payload)
    family = _FAMILIES.get(number)
    if family is not None:
        yield unpack_address(family, payload[VIA.size :])
