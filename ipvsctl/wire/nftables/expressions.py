"""Rules as nftables' expressions: a small program for each.

An expression loads a part of a packet into a register, computes, compares (and ends the
rule if it does not match), or decides. They are those that nft itself makes of the same
rule, so that it prints them as rules and not as code.
Source: nf_tables_api.c (`nft_expr_policy`), nft_*.c (`*_init`, `*_policy`).
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

from ipvsctl.model.marks import ALL_BITS
from ipvsctl.model.net import IPFamily, family_of
from ipvsctl.model.rules import (
    ChainRef,
    Jump,
    MapMark,
    Masquerade,
    Match,
    MatchAddrTypeLocal,
    MatchConntrackState,
    MatchIcmpType,
    MatchInInterface,
    MatchMark,
    MatchPhysdevIsIn,
    MatchProtocol,
    MatchSet,
    MatchSource,
    Reject,
    Rule,
    SetXMark,
    Side,
    Table,
    Target,
    Verdict,
)
from ipvsctl.model.sets import ENTRY_FORMS, EntryForm, SetKey
from ipvsctl.wire.netlink.attributes import NLA_F_NESTED, attribute, text_attribute
from ipvsctl.wire.nftables.attributes import (
    NF_ACCEPT,
    NF_DROP,
    NF_NAT_RANGE_PROTO_RANDOM_FULLY,
    NFT_FIB_RESULT_ADDRTYPE,
    NFT_JUMP,
    NFT_NAT_DNAT,
    NFT_REG32_00,
    NFT_REG_1,
    NFT_REJECT_ICMP_UNREACH,
    NFT_RETURN,
    NFTA_LIST_ELEM,
    NFTA_MASQ_FLAGS,
    RTN_LOCAL,
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
    NatAttr,
    PayloadAttr,
    PayloadBase,
    RejectAttr,
    VerdictAttr,
)
from ipvsctl.wire.nftables.chains import chain_name
from ipvsctl.wire.nftables.sets import Field, field_bytes, fields, set_name, words

_BE32: Final = Struct(">I")
_SIGNED_BE32: Final = Struct(">i")
_HOST32: Final = Struct("=I")

ADDRESS_OFFSETS: Final = {
    (IPFamily.IPV4, Side.SRC): 12,
    (IPFamily.IPV4, Side.DST): 16,
    (IPFamily.IPV6, Side.SRC): 8,
    (IPFamily.IPV6, Side.DST): 24,
}
"""Where the addresses are in the header of a family."""

IPV4_PROTOCOL_OFFSET: Final = 9
PORT_OFFSETS: Final = {Side.SRC: 0, Side.DST: 2}
ICMP_PROTOCOLS: Final = {IPFamily.IPV4: 1, IPFamily.IPV6: 58}
PORT_UNREACHABLE: Final = {IPFamily.IPV4: 3, IPFamily.IPV6: 4}
IFNAMSIZ: Final = 16

CT_STATES: Final = {"ESTABLISHED": 2, "RELATED": 4, "NEW": 8}
"""Bits of the state of a connection [NF_CT_STATE_BIT]."""

FIRST_PORT_PROTOCOL: Final = 6
LAST_PORT_PROTOCOL: Final = 17
"""From TCP to UDP: a set of ports alone is asked only for these, as `bitmap:port` is
(ip_set_getport.c:ip_set_get_ip_port); none of those between has ports."""


def encode_rule(rule: Rule, ref: ChainRef, family: IPFamily) -> bytes:
    """The expressions of a rule of a family, as a list.

    Args:
        rule: matches and target.
        ref: the chain that it is for.
        family: of the table.

    Raises:
        TypeError: nftables has no such match.
    """
    matches = (part for match in rule.matches for part in _match(match, family))
    return b"".join((*matches, *_target(rule.target, ref, family)))


def register(word: int) -> int:
    """The number of a register that begins at a word of 4 bytes, from 0."""
    if word % WORDS_PER_REGISTER:
        return NFT_REG32_00 + word
    return NFT_REG_1 + word // WORDS_PER_REGISTER


def _match(  # noqa: C901, PLR0911 - one for each kind of match
    match: Match, family: IPFamily
) -> tuple[bytes, ...]:
    match match:
        case MatchSource(network):
            return _match_source(match, family_of(network))
        case MatchInInterface(name, negated):
            found = name.removesuffix("+").encode()
            if not name.endswith("+"):
                found = found.ljust(IFNAMSIZ, b"\0")
            return _meta(MetaKey.IIFNAME), _compare(found, negated=negated)
        case MatchProtocol(protocol):
            return _meta(MetaKey.L4PROTO), _compare(bytes([protocol]))
        case MatchIcmpType(of_family, icmp_type, code):
            wanted = bytes([icmp_type] if code is None else [icmp_type, code])
            return (
                _meta(MetaKey.L4PROTO),
                _compare(bytes([ICMP_PROTOCOLS[of_family]])),
                _payload(PayloadBase.TRANSPORT_HEADER, 0, len(wanted)),
                _compare(wanted),
            )
        case MatchMark(value, mask, negated):
            masked = () if mask == ALL_BITS else (_mask(_HOST32.pack(mask)),)
            wanted = _HOST32.pack(value)
            return _meta(MetaKey.MARK), *masked, _compare(wanted, negated=negated)
        case MatchConntrackState(states):
            bits = _HOST32.pack(sum(CT_STATES[state] for state in states))
            return _ct(CtKey.STATE), _mask(bits), _compare(bytes(4), negated=True)
        case MatchSet(key, sides):
            return *_key(key, sides, family), _lookup(key)
        case MatchAddrTypeLocal(side, negated):
            local = _HOST32.pack(RTN_LOCAL)
            return _address_type(side), _compare(local, negated=negated)
        case MatchPhysdevIsIn():
            raise TypeError(match)


def _match_source(match: MatchSource, family: IPFamily) -> tuple[bytes, ...]:
    """Compare only whole bytes where the network ends with one."""
    network = match.network
    whole, rest = divmod(network.prefixlen, 8)
    size = network.max_prefixlen // 8 if rest or not whole else whole
    wanted = network.network_address.packed[:size]
    offset = ADDRESS_OFFSETS[family, Side.SRC]
    return (
        _payload(PayloadBase.NETWORK_HEADER, offset, size),
        *([] if size == whole else [_mask(network.netmask.packed)]),
        _compare(wanted, negated=match.negated),
    )


def _target(  # noqa: C901, PLR0911 - one for each kind of target
    target: Target, ref: ChainRef, family: IPFamily
) -> tuple[bytes, ...]:
    match target:
        case Verdict.ACCEPT if ref.table is Table.NAT:
            return _accept_untranslated(family)
        case Verdict.ACCEPT:
            return (_verdict(NF_ACCEPT),)
        case Verdict.DROP:
            return (_verdict(NF_DROP),)
        case Verdict.RETURN:
            return (_verdict(NFT_RETURN),)
        case Jump(chain):
            return (_verdict(NFT_JUMP, chain_name(ChainRef(ref.table, chain))),)
        case Reject(of_family):
            code = bytes([PORT_UNREACHABLE[of_family]])
            return (
                _expression(
                    "reject",
                    _number(RejectAttr.TYPE, NFT_REJECT_ICMP_UNREACH)
                    + attribute(RejectAttr.ICMP_CODE, code),
                ),
            )
        case SetXMark(value, mask) if mask == ALL_BITS:
            return _load(_HOST32.pack(value)), _set_mark()
        case SetXMark(value, mask):
            kept = _HOST32.pack(~mask & ALL_BITS)
            return (
                _meta(MetaKey.MARK),
                _mask(kept, _HOST32.pack(value)),
                _set_mark(),
            )
        case Masquerade(random_fully):
            flags = _number(NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY)
            return (_expression("masq", flags if random_fully else b""),)
        case MapMark(key, sides):
            return *_key(key, sides, family), _lookup(key, is_map=True), _set_mark()


def _accept_untranslated(family: IPFamily) -> tuple[bytes, ...]:
    """End translation: "to where it goes anyway".

    In iptables, to accept a packet in table nat spares it all rules below. Here others'
    chains come after ours, unless a packet's translation is settled
    (nf_nat_core.c:nf_nat_inet_fn).
    """
    offset = ADDRESS_OFFSETS[family, Side.DST]
    size = field_bytes(Field.ADDRESS, family)
    return (
        _payload(PayloadBase.NETWORK_HEADER, offset, size),
        _expression(
            "nat",
            _number(NatAttr.TYPE, NFT_NAT_DNAT)
            + _number(NatAttr.FAMILY, family)
            + _number(NatAttr.REG_ADDR_MIN, NFT_REG_1),
        ),
    )


def _key(key: SetKey, sides: tuple[Side, ...], family: IPFamily) -> Iterator[bytes]:
    """Load the parts of a packet that make up a key, one behind the other.

    The protocol of a set with intervals has to be in network order for nft, though it
    is one byte: so it is that of the header, or of the connection, since the header of
    IPv6 may have others between.
    """
    form = ENTRY_FORMS[key.role]
    if form is EntryForm.PORT:
        yield _meta(MetaKey.L4PROTO)
        yield _compare(bytes([FIRST_PORT_PROTOCOL]), CmpOp.GTE)
        yield _compare(bytes([LAST_PORT_PROTOCOL]), CmpOp.LTE)
    ends = iter(sides)
    word = 0
    for field in fields(key):
        at = register(word)
        word += words(field, family)
        size = field_bytes(field, family)
        match field:
            case Field.ADDRESS:
                offset = ADDRESS_OFFSETS[family, next(ends)]
                yield _payload(PayloadBase.NETWORK_HEADER, offset, size, at)
            case Field.PORT:
                offset = PORT_OFFSETS[next(ends)]
                yield _payload(PayloadBase.TRANSPORT_HEADER, offset, size, at)
            case Field.PROTOCOL if form is not EntryForm.PLACE_AND_NETWORK:
                yield _meta(MetaKey.L4PROTO, at)
            case Field.PROTOCOL if family is IPFamily.IPV4:
                base = PayloadBase.NETWORK_HEADER
                yield _payload(base, IPV4_PROTOCOL_OFFSET, size, at)
            case Field.PROTOCOL:
                yield _ct(CtKey.PROTOCOL, at)


def _expression(name: str, attributes: bytes) -> bytes:
    return attribute(
        NLA_F_NESTED | NFTA_LIST_ELEM,
        text_attribute(ExpressionAttr.NAME, name)
        + attribute(NLA_F_NESTED | ExpressionAttr.DATA, attributes),
    )


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, _BE32.pack(value))


def _value(kind: int, data: bytes) -> bytes:
    return attribute(NLA_F_NESTED | kind, attribute(DataAttr.VALUE, data))


def _payload(base: PayloadBase, offset: int, size: int, to: int = NFT_REG_1) -> bytes:
    return _expression(
        "payload",
        _number(PayloadAttr.DREG, to)
        + _number(PayloadAttr.BASE, base)
        + _number(PayloadAttr.OFFSET, offset)
        + _number(PayloadAttr.LEN, size),
    )


def _meta(key: MetaKey, to: int = NFT_REG_1) -> bytes:
    numbers = _number(MetaAttr.KEY, key) + _number(MetaAttr.DREG, to)
    return _expression("meta", numbers)


def _set_mark() -> bytes:
    numbers = _number(MetaAttr.KEY, MetaKey.MARK) + _number(MetaAttr.SREG, NFT_REG_1)
    return _expression("meta", numbers)


def _ct(key: CtKey, to: int = NFT_REG_1) -> bytes:
    return _expression("ct", _number(CtAttr.KEY, key) + _number(CtAttr.DREG, to))


def _address_type(side: Side) -> bytes:
    flag = FibFlag.SADDR if side is Side.SRC else FibFlag.DADDR
    return _expression(
        "fib",
        _number(FibAttr.FLAGS, flag)
        + _number(FibAttr.RESULT, NFT_FIB_RESULT_ADDRTYPE)
        + _number(FibAttr.DREG, NFT_REG_1),
    )


def _compare(data: bytes, op: CmpOp = CmpOp.EQ, *, negated: bool = False) -> bytes:
    return _expression(
        "cmp",
        _number(CmpAttr.SREG, NFT_REG_1)
        + _number(CmpAttr.OP, CmpOp.NEQ if negated else op)
        + _value(CmpAttr.DATA, data),
    )


def _mask(mask: bytes, xor: bytes = b"") -> bytes:
    return _expression(
        "bitwise",
        _number(BitwiseAttr.SREG, NFT_REG_1)
        + _number(BitwiseAttr.DREG, NFT_REG_1)
        + _number(BitwiseAttr.LEN, len(mask))
        + _value(BitwiseAttr.MASK, mask)
        + _value(BitwiseAttr.XOR, xor or bytes(len(mask))),
    )


def _lookup(key: SetKey, *, is_map: bool = False) -> bytes:
    return _expression(
        "lookup",
        _number(LookupAttr.SREG, NFT_REG_1)
        + (_number(LookupAttr.DREG, NFT_REG_1) if is_map else b"")
        + text_attribute(LookupAttr.SET, set_name(key)),
    )


def _load(data: bytes) -> bytes:
    return _expression(
        "immediate",
        _number(ImmediateAttr.DREG, NFT_REG_1) + _value(ImmediateAttr.DATA, data),
    )


def _verdict(code: int, chain: str = "") -> bytes:
    verdict = attribute(VerdictAttr.CODE, _SIGNED_BE32.pack(code))
    if chain:
        verdict += text_attribute(VerdictAttr.CHAIN, chain)
    return _expression(
        "immediate",
        _number(ImmediateAttr.DREG, 0)
        + attribute(
            NLA_F_NESTED | ImmediateAttr.DATA,
            attribute(NLA_F_NESTED | DataAttr.VERDICT, verdict),
        ),
    )
