"""Requests about addresses and routes, as bytes.

    nlmsghdr | ifaddrmsg | IFA_LOCAL | IFA_ADDRESS
    nlmsghdr | rtmsg | RTA_DST | RTA_PREFSRC | RTA_OIF

The answers are read in `replies`.
Source: net/ipv4/devinet.c, net/ipv6/addrconf.c, net/ipv4/fib_trie.c,
net/ipv6/ip6_fib.c.
"""

from struct import Struct
from typing import Final

from ipvsctl.model.net import IPAddress, IPFamily, IPv6Address, family_of
from ipvsctl.wire.netlink.attributes import attribute
from ipvsctl.wire.netlink.messages import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    message_header,
)
from ipvsctl.wire.route.attributes import (
    IFADDRMSG,
    RT_SCOPE_HOST,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTMSG,
    RTN_LOCAL,
    IfaAttr,
    RouteProtocol,
    RtaAttr,
    RtmType,
)

_IFINDEX: Final = Struct("=I")


def bind_address(ifindex: int, address: IPAddress) -> bytes:
    """Put an address on a link with a full-length prefix; EEXIST if it is there.

    An IPv6 address is not usable before a worker of the kernel has had it, see
    `get_address`. On a dummy link it is not looked for on other hosts, which all have
    it (addrconf.c:addrconf_dad_begin, IFF_NOARP).
    """
    return _change_address(RtmType.NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, address)


def unbind_address(ifindex: int, address: IPAddress) -> bytes:
    """Take an address off a link; EADDRNOTAVAIL if it is not there."""
    return _change_address(RtmType.DELADDR, 0, ifindex, address)


def get_address(ifindex: int, address: IPv6Address) -> bytes:
    """Ask about one IPv6 address of a link, which says whether it is usable yet."""
    body = IFADDRMSG.pack(IPFamily.IPV6, 0, 0, 0, ifindex)
    body += attribute(IfaAttr.ADDRESS, address)
    return message_header(RtmType.GETADDR, 0, len(body)) + body


def list_addresses() -> bytes:
    """Dump the addresses of every link."""
    body = IFADDRMSG.pack(0, 0, 0, 0, 0)
    return message_header(RtmType.GETADDR, NLM_F_DUMP, len(body)) + body


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
    body = _rtmsg(family_of(address), protocol, address.family.bits)
    body += attribute(RtaAttr.DST, address)
    body += attribute(RtaAttr.OIF, _IFINDEX.pack(ifindex))
    return message_header(RtmType.DELROUTE, 0, len(body)) + body


def list_routes(
    family: IPFamily, ifindex: int, protocol: RouteProtocol = RouteProtocol.UNSPEC
) -> bytes:
    """Dump the local routes on a link, of one maker or of all, each address in order.

    A kernel before 4.20 lists every route of the family all the same.
    """
    body = _rtmsg(family, protocol, 0, scope=0)
    body += attribute(RtaAttr.OIF, _IFINDEX.pack(ifindex))
    return message_header(RtmType.GETROUTE, NLM_F_DUMP, len(body)) + body


def list_main_routes(family: IPFamily) -> bytes:
    """Dump the main table; ENOENT if there is none yet.

    A kernel before 4.20 lists every route of the family all the same.
    """
    body = RTMSG.pack(family, 0, 0, 0, RT_TABLE_MAIN, RouteProtocol.UNSPEC, 0, 0, 0)
    return message_header(RtmType.GETROUTE, NLM_F_DUMP, len(body)) + body


def _change_address(
    kind: RtmType, flags: int, ifindex: int, address: IPAddress
) -> bytes:
    family = family_of(address)
    body = IFADDRMSG.pack(family, family.bits, 0, RT_SCOPE_UNIVERSE, ifindex)
    body += attribute(IfaAttr.LOCAL, address) + attribute(IfaAttr.ADDRESS, address)
    return message_header(kind, flags, len(body)) + body


def _new_route(
    flags: int, ifindex: int, address: IPAddress, source: IPAddress | None
) -> bytes:
    family = family_of(address)
    body = _rtmsg(family, RouteProtocol.IPVSCTL, family.bits)
    body += attribute(RtaAttr.DST, address)
    if source is not None:
        body += attribute(RtaAttr.PREFSRC, source)
    body += attribute(RtaAttr.OIF, _IFINDEX.pack(ifindex))
    return message_header(RtmType.NEWROUTE, flags, len(body)) + body


def _rtmsg(
    family: IPFamily, protocol: int, length: int, scope: int = RT_SCOPE_HOST
) -> bytes:
    return RTMSG.pack(
        family, length, 0, 0, RT_TABLE_LOCAL, protocol, scope, RTN_LOCAL, 0
    )
