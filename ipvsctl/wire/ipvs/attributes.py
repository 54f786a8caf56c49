"""The numbers of the IPVS generic netlink family, with the kernel header's names.

Source: uapi/linux/ip_vs.h.
"""

from enum import IntEnum
from typing import Final

IPVS_GENL_NAME: Final = "IPVS"
IPVS_GENL_VERSION: Final = 1


class IpvsCmd(IntEnum):
    """IPVS_CMD_*."""

    NEW_SERVICE = 1
    SET_SERVICE = 2
    DEL_SERVICE = 3
    GET_SERVICE = 4
    NEW_DEST = 5
    SET_DEST = 6
    DEL_DEST = 7
    GET_DEST = 8
    SET_CONFIG = 12
    GET_CONFIG = 13


class IpvsCmdAttr(IntEnum):
    """IPVS_CMD_ATTR_*: the first level."""

    SERVICE = 1
    DEST = 2
    TIMEOUT_TCP = 4
    TIMEOUT_TCP_FIN = 5
    TIMEOUT_UDP = 6


class IpvsSvcAttr(IntEnum):
    """IPVS_SVC_ATTR_*: inside SERVICE."""

    AF = 1
    PROTOCOL = 2
    ADDR = 3
    PORT = 4
    FWMARK = 5
    SCHED_NAME = 6
    FLAGS = 7
    TIMEOUT = 8
    NETMASK = 9
    STATS = 10
    PE_NAME = 11
    STATS64 = 12


class IpvsDestAttr(IntEnum):
    """IPVS_DEST_ATTR_*: inside DEST."""

    ADDR = 1
    PORT = 2
    FWD_METHOD = 3
    WEIGHT = 4
    U_THRESH = 5
    L_THRESH = 6
    ACTIVE_CONNS = 7
    INACT_CONNS = 8
    PERSIST_CONNS = 9
    STATS = 10
    ADDR_FAMILY = 11
    STATS64 = 12
    TUN_TYPE = 13
    TUN_PORT = 14
    TUN_FLAGS = 15


class IpvsStatsAttr(IntEnum):
    """IPVS_STATS_ATTR_*: inside STATS and STATS64."""

    CONNS = 1
    INPKTS = 2
    OUTPKTS = 3
    INBYTES = 4
    OUTBYTES = 5
    CPS = 6
    INPPS = 7
    OUTPPS = 8
    INBPS = 9
    OUTBPS = 10
