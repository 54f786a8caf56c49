"""The numbers of ctnetlink, with the kernel header's names.

Source: uapi/linux/netfilter/nfnetlink_conntrack.h, uapi/linux/netfilter/nfnetlink.h.
"""

from enum import IntEnum, IntFlag
from struct import Struct
from typing import Final

from ipvsctl.model.net import IPFamily

NFNL_SUBSYS_CTNETLINK: Final = 1

NFGENMSG: Final = Struct("=BBH")
"""struct nfgenmsg: family, version, resource id."""


class ConntrackCmd(IntEnum):
    """IPCTNL_MSG_CT_*."""

    GET = 1
    DELETE = 2


class CtaAttr(IntEnum):
    """CTA_*."""

    TUPLE_ORIG = 1
    TUPLE_REPLY = 2
    ID = 12
    ZONE = 18
    FILTER = 25


class CtaTuple(IntEnum):
    """CTA_TUPLE_*."""

    IP = 1
    PROTO = 2
    ZONE = 3


class CtaIp(IntEnum):
    """CTA_IP_*."""

    V4_SRC = 1
    V4_DST = 2
    V6_SRC = 3
    V6_DST = 4


class CtaProto(IntEnum):
    """CTA_PROTO_*."""

    NUM = 1
    SRC_PORT = 2
    DST_PORT = 3


class CtaFilter(IntEnum):
    """CTA_FILTER_*."""

    ORIG_FLAGS = 1


class CtaFilterFlag(IntFlag):
    """CTA_FILTER_F_CTA_*: the parts of a tuple that must be equal."""

    PROTO_NUM = 1 << 3


ADDRESSES: Final = {
    IPFamily.IPV4: (CtaIp.V4_SRC, CtaIp.V4_DST),
    IPFamily.IPV6: (CtaIp.V6_SRC, CtaIp.V6_DST),
}
"""Source and destination of a tuple, of each family."""
