"""What the kernel tells of links and addresses without being asked.

Source: uapi/linux/rtnetlink.h (`RTMGRP_*`), net/core/rtnetlink.c (`rtmsg_ifinfo`).
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

from ipvsctl.model.errors import WireError
from ipvsctl.model.glance import Notice, NoticeKind
from ipvsctl.model.net import IPAddress
from ipvsctl.wire.netlink.attributes import iter_attributes, text
from ipvsctl.wire.netlink.messages import iter_messages
from ipvsctl.wire.route.attributes import RtmType
from ipvsctl.wire.route.replies import AddressReplies

GROUPS: Final = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR. Routes are not among them: a
node that speaks BGP hears of thousands a second."""

_IFINFOMSG: Final = Struct("=BxHiII")
"""struct ifinfomsg: family, hardware type, link, flags, which flags changed."""

_IFLA_IFNAME: Final = 3
_IFF_UP: Final = 1


def parse_notices(datagram: bytes) -> Iterator[Notice]:
    """The notices in a datagram; changes that matter to nobody are passed over.

    Raises:
        WireError: it is none.
    """
    addresses = AddressReplies()
    for kind, _, _, start, end in iter_messages(datagram):
        match kind:
            case RtmType.NEWLINK | RtmType.DELLINK:
                if end - start < _IFINFOMSG.size:
                    raise WireError(offset=start, reason="truncated link")
                *_, flags, _ = _IFINFOMSG.unpack_from(datagram, start)
                if kind == RtmType.DELLINK or not flags & _IFF_UP:
                    name = _name(datagram, start + _IFINFOMSG.size, end)
                    yield Notice(kind=NoticeKind.LINK_DOWN, link=name)
            case RtmType.NEWADDR | RtmType.DELADDR:
                found = addresses.address(datagram, start, end)
                if found is None or _is_local(found.address):
                    continue
                if kind == RtmType.DELADDR:
                    what = NoticeKind.ADDRESS_GONE
                elif found.usable:
                    what = NoticeKind.ADDRESS_ADDED
                else:
                    continue
                yield Notice(kind=what, address=found.address)


def _name(datagram: bytes, start: int, end: int) -> str:
    for kind, begin, stop in iter_attributes(datagram, start, end):
        if kind == _IFLA_IFNAME:
            return text(datagram[begin:stop])
    return ""


def _is_local(address: IPAddress) -> bool:
    """Nobody outside the link can ask for it."""
    return address.is_loopback or (address.version == 6 and address.is_link_local)
