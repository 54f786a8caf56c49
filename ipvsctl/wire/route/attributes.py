"""The numbers of rtnetlink, with the kernel headers' names.

Source: uapi/linux/rtnetlink.h, uapi/linux/if_addr.h.
"""

from enum import IntEnum, IntFlag
from struct import Struct
from typing import Final

IFADDRMSG: Final = Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, link."""

RTMSG: Final = Struct("=BBBBBBBBI")
"""struct rtmsg: family, lengths of destination and source, TOS, table, protocol, scope,
type, flags."""

NEXT_HOP: Final = Struct("=HBBi")
"""struct rtnexthop: length with its attributes, flags, hops, link."""

VIA: Final = Struct("=H")
"""The beginning of struct rtvia: the family."""

RT_TABLE_MAIN: Final = 254
RT_TABLE_LOCAL: Final = 255
RT_SCOPE_UNIVERSE: Final = 0
RT_SCOPE_HOST: Final = 254
RTN_LOCAL: Final = 2


class RtmType(IntEnum):
    """RTM_*."""

    NEWLINK = 16
    DELLINK = 17
    NEWADDR = 20
    DELADDR = 21
    GETADDR = 22
    NEWROUTE = 24
    DELROUTE = 25
    GETROUTE = 26


class IfaAttr(IntEnum):
    """IFA_*."""

    ADDRESS = 1
    LOCAL = 2
    FLAGS = 8


class IfaFlag(IntFlag):
    """IFA_F_*: flags of an address."""

    DADFAILED = 0x08
    TENTATIVE = 0x40


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
