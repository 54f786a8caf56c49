"""The numbers of the ipset netlink subsystem, with the kernel header's names.

Source: uapi/linux/netfilter/ipset/ip_set.h, uapi/linux/netfilter/nfnetlink.h.
"""

from enum import IntEnum, IntFlag
from typing import Final

NFNL_SUBSYS_IPSET: Final = 6
NFPROTO_UNSPEC: Final = 0

IPSET_PROTOCOL_MIN: Final = 6
"""Understood by every kernel; version 7 adds only the lookup of sets by number."""


class IpsetCmd(IntEnum):
    """IPSET_CMD_*."""

    CREATE = 2
    DESTROY = 3
    SWAP = 6
    LIST = 7
    ADD = 9
    DEL = 10


class IpsetAttr(IntEnum):
    """IPSET_ATTR_*: the first level."""

    PROTOCOL = 1
    SETNAME = 2
    TYPENAME = 3
    SETNAME2 = 3
    REVISION = 4
    FAMILY = 5
    FLAGS = 6
    DATA = 7
    ADT = 8
    LINENO = 9


class IpsetDataAttr(IntEnum):
    """IPSET_ATTR_* inside DATA: of a new set up to MEMSIZE, of an entry the others.

    From 17 on a number means one thing for a set and another for an entry.
    """

    IP = 1
    IP_TO = 2
    CIDR = 3
    PORT = 4
    PORT_TO = 5
    TIMEOUT = 6
    PROTO = 7
    CADT_FLAGS = 8
    HASHSIZE = 18
    MAXELEM = 19
    IP2 = 20
    CIDR2 = 21
    ELEMENTS = 24
    SKBMARK = 27


class IpsetIpAttr(IntEnum):
    """IPSET_ATTR_IPADDR_*: inside an IP or IP2."""

    IPV4 = 1
    IPV6 = 2


class IpsetCmdFlag(IntFlag):
    """IPSET_FLAG_* of a command."""

    LIST_SETNAME = 1 << 1
    LIST_HEADER = 1 << 2


class IpsetEntryFlag(IntFlag):
    """IPSET_FLAG_* in CADT_FLAGS: of an entry NOMATCH, of a set WITH_*."""

    NOMATCH = 1 << 2
    WITH_SKBINFO = 1 << 6
