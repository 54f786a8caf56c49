"""Expressions of nftables, one by one, as bytes.

    LIST_ELEM { NAME | DATA { ... } }

Each loads something into a register, computes, compares, or decides. Numbers are in
network order; what a register holds is in the packet's, or this machine's.
Source: nft_*.c (`*_policy`).
"""

from struct import Struct
from typing import Final

from ipvsctl.model.rules import (
    Side,
)
from ipvsctl.model.sets import SetKey
from ipvsctl.wire.netlink.attributes import NLA_F_NESTED, attribute, text_attribute
from ipvsctl.wire.nftables.attributes import (
    NFT_FIB_RESULT_ADDRTYPE,
    NFT_REG32_00,
    NFT_REG_1,
    NFTA_LIST_ELEM,
    WORDS_PER_REGISTER,
    BitwiseAttr,
    CmpAttr,
    CmpOp,
    CtAttr,
    CtKey,
    DataAttr,
    ExpressionAttr,
    FibAttr,
    FibFlag,
    ImmediateAttr,
    LookupAttr,
    MetaAttr,
    MetaKey,
    PayloadAttr,
    PayloadBase,
    VerdictAttr,
)
from ipvsctl.wire.nftables.sets import set_name

_BE32: Final = Struct(">I")
_SIGNED_BE32: Final = Struct(">i")
HOST32: Final = Struct("=I")
"""Marks, states and types of addresses are in the order of this machine."""


def register(word: int) -> int:
    """The number of a register that begins at a word of 4 bytes, from 0."""
    if word % WORDS_PER_REGISTER:
        return NFT_REG32_00 + word
    return NFT_REG_1 + word // WORDS_PER_REGISTER


def expression(name: str, attributes: bytes) -> bytes:
    """One expression of a list."""
    return attribute(
        NLA_F_NESTED | NFTA_LIST_ELEM,
        text_attribute(ExpressionAttr.NAME, name)
        + attribute(NLA_F_NESTED | ExpressionAttr.DATA, attributes),
    )


def number(kind: int, value: int) -> bytes:
    """A number in network order."""
    return attribute(kind, _BE32.pack(value))


def _value(kind: int, data: bytes) -> bytes:
    return attribute(NLA_F_NESTED | kind, attribute(DataAttr.VALUE, data))


def load_payload(
    base: PayloadBase, offset: int, size: int, to: int = NFT_REG_1
) -> bytes:
    """Load bytes of a header."""
    return expression(
        "payload",
        number(PayloadAttr.DREG, to)
        + number(PayloadAttr.BASE, base)
        + number(PayloadAttr.OFFSET, offset)
        + number(PayloadAttr.LEN, size),
    )


def load_meta(key: MetaKey, to: int = NFT_REG_1) -> bytes:
    """Load what is known of the packet."""
    numbers = number(MetaAttr.KEY, key) + number(MetaAttr.DREG, to)
    return expression("meta", numbers)


def set_mark() -> bytes:
    """Give the packet the mark in the first register."""
    numbers = number(MetaAttr.KEY, MetaKey.MARK) + number(MetaAttr.SREG, NFT_REG_1)
    return expression("meta", numbers)


def load_ct(key: CtKey, to: int = NFT_REG_1) -> bytes:
    """Load what is known of its connection."""
    return expression("ct", number(CtAttr.KEY, key) + number(CtAttr.DREG, to))


def load_address_type(side: Side) -> bytes:
    """Load whose an address is."""
    flag = FibFlag.SADDR if side is Side.SRC else FibFlag.DADDR
    return expression(
        "fib",
        number(FibAttr.FLAGS, flag)
        + number(FibAttr.RESULT, NFT_FIB_RESULT_ADDRTYPE)
        + number(FibAttr.DREG, NFT_REG_1),
    )


def compare(data: bytes, op: CmpOp = CmpOp.EQ, *, negated: bool = False) -> bytes:
    """End the rule unless the first register is as it should be."""
    return expression(
        "cmp",
        number(CmpAttr.SREG, NFT_REG_1)
        + number(CmpAttr.OP, CmpOp.NEQ if negated else op)
        + _value(CmpAttr.DATA, data),
    )


def bitwise(mask: bytes, xor: bytes = b"") -> bytes:
    """Clear bits of the first register that a mask does not have, and flip others."""
    return expression(
        "bitwise",
        number(BitwiseAttr.SREG, NFT_REG_1)
        + number(BitwiseAttr.DREG, NFT_REG_1)
        + number(BitwiseAttr.LEN, len(mask))
        + _value(BitwiseAttr.MASK, mask)
        + _value(BitwiseAttr.XOR, xor or bytes(len(mask))),
    )


def look_up(key: SetKey, *, is_map: bool = False) -> bytes:
    """End the rule unless there is an entry; load its mark if it is a map's."""
    return expression(
        "lookup",
        number(LookupAttr.SREG, NFT_REG_1)
        + (number(LookupAttr.DREG, NFT_REG_1) if is_map else b"")
        + text_attribute(LookupAttr.SET, set_name(key)),
    )


def load_value(data: bytes) -> bytes:
    """Load a constant."""
    return expression(
        "immediate",
        number(ImmediateAttr.DREG, NFT_REG_1) + _value(ImmediateAttr.DATA, data),
    )


def decide(code: int, chain: str = "") -> bytes:
    """End the rule with a verdict."""
    verdict = attribute(VerdictAttr.CODE, _SIGNED_BE32.pack(code))
    if chain:
        verdict += text_attribute(VerdictAttr.CHAIN, chain)
    return expression(
        "immediate",
        number(ImmediateAttr.DREG, 0)
        + attribute(
            NLA_F_NESTED | ImmediateAttr.DATA,
            attribute(NLA_F_NESTED | DataAttr.VERDICT, verdict),
        ),
    )
