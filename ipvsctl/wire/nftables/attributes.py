"""Numbers of nftables' netlink interface that are in use.

Source: uapi/linux/netfilter/nf_tables.h, nfnetlink.h and nf_nat.h.
"""

from enum import IntEnum
from typing import Final

NFNL_SUBSYS_NFTABLES: Final = 10
NFNLGRP_NFTABLES: Final = 7
"""The multicast group that every committed change is told to."""

NFNL_MSG_BATCH_BEGIN: Final = 0x10
NFNL_MSG_BATCH_END: Final = 0x11

NFT_REG_1: Final = 1
NFT_REG_4: Final = 4
NFT_REG32_00: Final = 8
WORDS_PER_REGISTER: Final = 4
"""A register of 16 bytes is four of 4 bytes, which have numbers of their own."""

NFT_TABLE_F_DORMANT: Final = 1

NF_DROP: Final = 0
NF_ACCEPT: Final = 1
NFT_JUMP: Final = -3
NFT_RETURN: Final = -5

NF_NAT_RANGE_PROTO_RANDOM_FULLY: Final = 1 << 4
NFT_NAT_DNAT: Final = 1
NFT_REJECT_ICMP_UNREACH: Final = 0


class NftMessage(IntEnum):
    """Messages [NFT_MSG_*]."""

    NEWTABLE = 0
    GETTABLE = 1
    DELTABLE = 2
    NEWCHAIN = 3
    GETCHAIN = 4
    DELCHAIN = 5
    NEWRULE = 6
    GETRULE = 7
    DELRULE = 8
    NEWSET = 9
    GETSET = 10
    DELSET = 11
    NEWSETELEM = 12
    GETSETELEM = 13
    DELSETELEM = 14


class TableAttr(IntEnum):
    """Of a table [NFTA_TABLE_*]."""

    NAME = 1
    FLAGS = 2


class ChainAttr(IntEnum):
    """Of a chain [NFTA_CHAIN_*]."""

    TABLE = 1
    NAME = 3
    HOOK = 4
    POLICY = 5
    TYPE = 7


class HookAttr(IntEnum):
    """Where a chain begins [NFTA_HOOK_*]."""

    HOOKNUM = 1
    PRIORITY = 2


class RuleAttr(IntEnum):
    """Of a rule [NFTA_RULE_*]."""

    TABLE = 1
    CHAIN = 2
    EXPRESSIONS = 4
    USERDATA = 7


class SetAttr(IntEnum):
    """Of a set [NFTA_SET_*]."""

    TABLE = 1
    NAME = 2
    FLAGS = 3
    KEY_TYPE = 4
    KEY_LEN = 5
    DATA_TYPE = 6
    DATA_LEN = 7
    DESC = 9
    ID = 10
    TIMEOUT = 11
    USERDATA = 13
    EXPR = 17
    EXPRESSIONS = 18


class SetDescAttr(IntEnum):
    """Of what a set's keys are made [NFTA_SET_DESC_*, NFTA_SET_FIELD_*]."""

    SIZE = 1
    CONCAT = 2
    FIELD_LEN = 1


class SetFlag(IntEnum):
    """[NFT_SET_*]."""

    INTERVAL = 0x4
    MAP = 0x8
    CONCAT = 0x80


class ElementListAttr(IntEnum):
    """Of elements of one set [NFTA_SET_ELEM_LIST_*]."""

    TABLE = 1
    SET = 2
    ELEMENTS = 3


class ElementAttr(IntEnum):
    """Of one element [NFTA_SET_ELEM_*]."""

    KEY = 1
    DATA = 2
    FLAGS = 3
    TIMEOUT = 4
    EXPIRATION = 5
    USERDATA = 6
    EXPR = 7
    KEY_END = 10
    EXPRESSIONS = 11


class DataAttr(IntEnum):
    """What a register is compared with or filled with [NFTA_DATA_*]."""

    VALUE = 1
    VERDICT = 2


class VerdictAttr(IntEnum):
    """[NFTA_VERDICT_*]."""

    CODE = 1
    CHAIN = 2


NFTA_LIST_ELEM: Final = 1


class ExpressionAttr(IntEnum):
    """Of an expression [NFTA_EXPR_*]."""

    NAME = 1
    DATA = 2


class ImmediateAttr(IntEnum):
    """[NFTA_IMMEDIATE_*]."""

    DREG = 1
    DATA = 2


class CmpAttr(IntEnum):
    """[NFTA_CMP_*]."""

    SREG = 1
    OP = 2
    DATA = 3


class CmpOp(IntEnum):
    """[NFT_CMP_*]."""

    EQ = 0
    NEQ = 1
    LT = 2
    LTE = 3
    GT = 4
    GTE = 5


class BitwiseAttr(IntEnum):
    """[NFTA_BITWISE_*]."""

    SREG = 1
    DREG = 2
    LEN = 3
    MASK = 4
    XOR = 5
    OP = 6


class LookupAttr(IntEnum):
    """[NFTA_LOOKUP_*]."""

    SET = 1
    SREG = 2
    DREG = 3
    SET_ID = 4
    FLAGS = 5


class PayloadAttr(IntEnum):
    """[NFTA_PAYLOAD_*]."""

    DREG = 1
    BASE = 2
    OFFSET = 3
    LEN = 4


class PayloadBase(IntEnum):
    """[NFT_PAYLOAD_*]."""

    NETWORK_HEADER = 1
    TRANSPORT_HEADER = 2


class MetaAttr(IntEnum):
    """[NFTA_META_*]."""

    DREG = 1
    KEY = 2
    SREG = 3


class MetaKey(IntEnum):
    """[NFT_META_*]."""

    MARK = 3
    IIFNAME = 6
    L4PROTO = 16


class CtAttr(IntEnum):
    """[NFTA_CT_*]."""

    DREG = 1
    KEY = 2


class CtKey(IntEnum):
    """[NFT_CT_*]."""

    STATE = 0
    PROTOCOL = 10


class FibAttr(IntEnum):
    """[NFTA_FIB_*]."""

    DREG = 1
    RESULT = 2
    FLAGS = 3


class FibFlag(IntEnum):
    """[NFTA_FIB_F_*]."""

    SADDR = 1
    DADDR = 2


NFT_FIB_RESULT_ADDRTYPE: Final = 3
RTN_LOCAL: Final = 2


class NatAttr(IntEnum):
    """[NFTA_NAT_*]."""

    TYPE = 1
    FAMILY = 2
    REG_ADDR_MIN = 3
    REG_ADDR_MAX = 4
    REG_PROTO_MIN = 5
    REG_PROTO_MAX = 6
    FLAGS = 7


NFTA_MASQ_FLAGS: Final = 1


class RejectAttr(IntEnum):
    """[NFTA_REJECT_*]."""

    TYPE = 1
    ICMP_CODE = 2
