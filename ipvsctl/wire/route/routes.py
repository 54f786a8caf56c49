"""rtnetlink: routes to VIPs in the local table, ours and those of bound addresses.

    nlmsghdr | rtmsg: family, lengths, table, protocol, scope, type | RTA_DST ...

The kernel looks from the first route of an address to the last. IPv4 puts a new route
first unless told otherwise, and that of an address last (fib_frontend.c:fib_magic).
IPv6 sorts by metric: a route of ours has 1024, that of an address 0
(net/ipv6/route.c:inet6_rtm_newroute, addrconf_f6i_alloc).

Source: uapi/linux/rtnetlink.h; net/ipv4/fib_trie.c, net/ipv6/ip6_fib.c.
"""

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.wire.netlink.addresses import unpack_address
from ipvsctl.wire.netlink.attributes import Table, TableReader, attribute
from ipvsctl.wire.netlink.messages import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REPLACE,
    message_header,
)

RTMSG: Final = Struct("=BBBBBBBBI")
"""struct rtmsg: family, lengths of destination and source, TOS, table, protocol, scope,
type, flags."""
_IFINDEX: Final = Struct("=I")


class RouteMessage(IntEnum):
    """RTM_*ROUTE."""

    NEW = 24
    DELETE = 25
    GET = 26


class RtaAttr(IntEnum):
    """RTA_*."""

    DST = 1
    OIF = 4
    GATEWAY = 5
    PRIORITY = 6
    PREFSRC = 7
    MULTIPATH = 9
    VIA = 18


class RouteProtocol(IntEnum):
    """Who made a route [RTPROT_*]; 66 is free in iproute2's list, and ours."""

    UNSPEC = 0
    KERNEL = 2
    IPVSCTL = 66


RT_TABLE_LOCAL: Final = 255
RT_SCOPE_HOST: Final = 254
RTN_LOCAL: Final = 2


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


def add_route(ifindex: int, address: IPAddress, source: IPAddress | None) -> bytes:
    """Add a route of ours; an IPv4 one before all others, EEXIST if it is there.

    An IPv6 one replaces one of ours on whichever link.
    """
    flags = NLM_F_CREATE
    if family_of(address) is IPFamily.IPV6:
        flags |= NLM_F_REPLACE
    return _new_route(flags, ifindex, address, source)


def update_route(ifindex: int, address: IPAddress, source: IPAddress | None) -> bytes:
    """Replace a route of ours in one step; ENOENT if there is none to replace."""
    return _new_route(NLM_F_REPLACE, ifindex, address, source)


def delete_route(ifindex: int, address: IPAddress, protocol: RouteProtocol) -> bytes:
    """Delete the first route that somebody made on a link; ESRCH if there is none."""
    body = _rtmsg(family_of(address), protocol, address.max_prefixlen)
    body += attribute(RtaAttr.DST, address.packed)
    body += attribute(RtaAttr.OIF, _IFINDEX.pack(ifindex))
    return message_header(RouteMessage.DELETE, 0, len(body)) + body


def list_routes(
    family: IPFamily, ifindex: int, protocol: RouteProtocol = RouteProtocol.UNSPEC
) -> bytes:
    """Dump the local routes on a link, of one maker or of all, each address in order.

    A kernel before 4.20 lists every route of the family all the same.
    """
    body = _rtmsg(family, protocol, 0, scope=0)
    body += attribute(RtaAttr.OIF, _IFINDEX.pack(ifindex))
    return message_header(RouteMessage.GET, NLM_F_DUMP, len(body)) + body


def _new_route(
    flags: int, ifindex: int, address: IPAddress, source: IPAddress | None
) -> bytes:
    family = family_of(address)
    body = _rtmsg(family, RouteProtocol.IPVSCTL, family.bits)
    body += attribute(RtaAttr.DST, address.packed)
    if source is not None:
        body += attribute(RtaAttr.PREFSRC, source.packed)
    body += attribute(RtaAttr.OIF, _IFINDEX.pack(ifindex))
    return message_header(RouteMessage.NEW, flags, len(body)) + body


def _rtmsg(
    family: IPFamily, protocol: int, length: int, scope: int = RT_SCOPE_HOST
) -> bytes:
    return RTMSG.pack(
        family, length, 0, 0, RT_TABLE_LOCAL, protocol, scope, RTN_LOCAL, 0
    )


_ROUTE: Final[Table] = {RtaAttr.DST: "s", RtaAttr.OIF: "I", RtaAttr.PREFSRC: "s"}


class RouteReplies:
    """Decodes the payloads of route messages."""

    def __init__(self) -> None:
        self._routes = TableReader(_ROUTE)

    def route(self, buffer: bytes, start: int, end: int) -> LocalRoute | None:
        """A local route to one address; None for any other route.

        Args:
            buffer: what was received.
            start: where the payload starts in it.
            end: where it ends.

        Raises:
            WireError: it is not such a payload.
        """
        if end - start < RTMSG.size:
            raise WireError(offset=start, reason="truncated route message")
        number, length, _, _, table, protocol, _, kind, _ = RTMSG.unpack_from(
            buffer, start
        )
        if table != RT_TABLE_LOCAL or kind != RTN_LOCAL:
            return None
        if number not in {IPFamily.IPV4, IPFamily.IPV6}:
            return None
        family = IPFamily(number)
        if length != family.bits:
            return None
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
