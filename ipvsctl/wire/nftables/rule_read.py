"""Reads a rule of nftables: follows its expressions as the kernel would.

Registers hold what was loaded into them, not values; what is then compared, looked up
or set is a match or a target. So a rule is understood however its registers are chosen,
and one that does anything else is an `UnknownRule`.
"""

import sys
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Final

from ipvsctl.model.errors import WireError
from ipvsctl.model.marks import ALL_BITS
from ipvsctl.model.net import IPFamily, Protocol
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
    MatchProtocol,
    MatchSet,
    MatchSource,
    Reject,
    Rule,
    SetXMark,
    Side,
    Table,
    Target,
    UnknownRule,
    Verdict,
)
from ipvsctl.model.sets import ENTRY_FORMS, EntryForm
from ipvsctl.wire.netlink.attributes import iter_attributes, text
from ipvsctl.wire.nftables.attributes import (
    NF_ACCEPT,
    NF_DROP,
    NF_NAT_RANGE_PROTO_RANDOM_FULLY,
    NFT_FIB_RESULT_ADDRTYPE,
    NFT_JUMP,
    NFT_NAT_DNAT,
    NFT_REG32_00,
    NFT_REG_1,
    NFT_REG_4,
    NFT_REJECT_ICMP_UNREACH,
    NFT_RETURN,
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
from ipvsctl.wire.nftables.chains import ref_of
from ipvsctl.wire.nftables.expressions import (
    ADDRESS_OFFSETS,
    CT_STATES,
    FIRST_PORT_PROTOCOL,
    ICMP_PROTOCOLS,
    IFNAMSIZ,
    IPV4_PROTOCOL_OFFSET,
    LAST_PORT_PROTOCOL,
    PORT_OFFSETS,
    PORT_UNREACHABLE,
)
from ipvsctl.wire.nftables.sets import Field, field_bytes, fields, key_of, words

Attributes = Mapping[int, bytes]

_FIB_SIDES: Final = {int(FibFlag.SADDR): Side.SRC, int(FibFlag.DADDR): Side.DST}
_STATES: Final = ("RELATED", "ESTABLISHED", "NEW")
"""In the order of iptables-save, as everywhere."""

_PORT_PROTOCOLS: Final = {
    CmpOp.GTE: bytes([FIRST_PORT_PROTOCOL]),
    CmpOp.LTE: bytes([LAST_PORT_PROTOCOL]),
}


class _UnknownError(Exception):
    """The rule does something that no rule of ours does."""


def read_rule(
    expressions: bytes, ref: ChainRef, family: IPFamily, comment: str
) -> Rule | UnknownRule:
    """A rule out of its list of expressions.

    Args:
        expressions: as `encode_rule` makes it.
        ref: the chain that it is in.
        family: of the table.
        comment: beside it.

    Raises:
        WireError: attributes that do not add up.
    """
    names = []
    program = _Program(ref, family)
    is_known = True
    for _, start, end in iter_attributes(expressions, 0, len(expressions)):
        parts = _attributes(expressions[start:end])
        name = text(parts.get(ExpressionAttr.NAME, b""))
        names.append(name)
        try:
            program.run(name, _attributes(parts.get(ExpressionAttr.DATA, b"")))
        except (_UnknownError, KeyError, ValueError):
            is_known = False
    target = program.target
    if target is None or not is_known or program.is_pending:
        words_ = ", ".join(names) or "no expressions"
        return UnknownRule(f"{words_} ({comment})" if comment else words_)
    return Rule(matches=tuple(program.matches), target=target, comment=comment)


class _Program:
    """A rule's expressions, run one by one."""

    def __init__(self, ref: ChainRef, family: IPFamily) -> None:
        self._ref = ref
        self._family = family
        self._registers: dict[int, tuple[object, ...]] = {}
        self._bounds: dict[CmpOp, bytes] = {}
        self._is_icmp = False
        self.matches: list[Match] = []
        self.target: Target | None = None
        self._steps: Mapping[str, Callable[[Attributes], None]] = {
            "bitwise": self._bitwise,
            "cmp": self._compare,
            "ct": self._ct,
            "fib": self._fib,
            "immediate": self._decide,
            "lookup": self._look_up,
            "masq": self._masquerade,
            "meta": self._meta,
            "nat": self._accept_untranslated,
            "payload": self._load_payload,
            "reject": self._reject,
        }

    @property
    def is_pending(self) -> bool:
        """Something was begun and not ended."""
        return self._is_icmp or bool(self._bounds)

    def run(self, name: str, data: Attributes) -> None:
        """Run one expression."""
        # Whatever comes behind a verdict makes it another rule.
        if self.target is not None or name not in self._steps:
            raise _UnknownError
        self._steps[name](data)

    def _meta(self, data: Attributes) -> None:
        if MetaAttr.SREG in data:
            self._set_mark(data)
            return
        _only(data, MetaAttr.DREG, MetaAttr.KEY)
        self._load(data[MetaAttr.DREG], "meta", _number(data[MetaAttr.KEY]))

    def _ct(self, data: Attributes) -> None:
        _only(data, CtAttr.DREG, CtAttr.KEY)
        self._load(data[CtAttr.DREG], "ct", _number(data[CtAttr.KEY]))

    def _fib(self, data: Attributes) -> None:
        _only(data, *FibAttr)
        if _number(data[FibAttr.RESULT]) != NFT_FIB_RESULT_ADDRTYPE:
            raise _UnknownError
        side = _FIB_SIDES[_number(data[FibAttr.FLAGS])]
        self._load(data[FibAttr.DREG], "type", side)

    def _masquerade(self, data: Attributes) -> None:
        _only(data, NFTA_MASQ_FLAGS)
        flags = _number(data.get(NFTA_MASQ_FLAGS, bytes(4)))
        if flags & ~NF_NAT_RANGE_PROTO_RANDOM_FULLY:
            raise _UnknownError
        self.target = Masquerade(random_fully=bool(flags))

    def _reject(self, data: Attributes) -> None:
        kind, code = data[RejectAttr.TYPE], data[RejectAttr.ICMP_CODE]
        wanted = bytes([PORT_UNREACHABLE[self._family]])
        if _number(kind) != NFT_REJECT_ICMP_UNREACH or code != wanted:
            raise _UnknownError
        self.target = Reject(self._family)

    def _load(self, to: bytes, *what: object) -> None:
        self._registers[_word(to)] = what

    def _load_payload(self, data: Attributes) -> None:
        kinds = (PayloadAttr.BASE, PayloadAttr.OFFSET, PayloadAttr.LEN)
        _only(data, PayloadAttr.DREG, *kinds)
        self._load(
            data[PayloadAttr.DREG], "payload", *(_number(data[kind]) for kind in kinds)
        )

    def _bitwise(self, data: Attributes) -> None:
        _only(data, *BitwiseAttr)
        if _number(data.get(BitwiseAttr.OP, bytes(4))):
            raise _UnknownError
        loaded = self._registers[_word(data[BitwiseAttr.SREG])]
        mask, xor = _value(data[BitwiseAttr.MASK]), _value(data[BitwiseAttr.XOR])
        flipped = int.from_bytes(xor, sys.byteorder)
        self._load(data[BitwiseAttr.DREG], "bits", loaded, mask, flipped)

    def _compare(self, data: Attributes) -> None:
        _only(data, *CmpAttr)
        loaded = self._registers[_word(data[CmpAttr.SREG])]
        op, wanted = CmpOp(_number(data[CmpAttr.OP])), _value(data[CmpAttr.DATA])
        if op in _PORT_PROTOCOLS and loaded == ("meta", MetaKey.L4PROTO):
            if wanted != _PORT_PROTOCOLS[op]:
                raise _UnknownError
            self._bounds[op] = wanted
            return
        if op not in {CmpOp.EQ, CmpOp.NEQ}:
            raise _UnknownError
        self._match(loaded, wanted, negated=op is CmpOp.NEQ)

    def _match(  # noqa: C901 - one case for each kind of match
        self, loaded: tuple[object, ...], wanted: bytes, *, negated: bool
    ) -> None:
        found: Match
        match loaded:
            case ("payload", PayloadBase.NETWORK_HEADER, int(offset), int(size)):
                found = self._source(offset, b"\xff" * size, wanted, negated=negated)
            case (
                "bits",
                ("payload", PayloadBase.NETWORK_HEADER, int(offset), int()),
                bytes(mask),
                0,
            ):
                found = self._source(offset, mask, wanted, negated=negated)
            case ("payload", PayloadBase.TRANSPORT_HEADER, 0, 1 | 2) if (
                self._is_icmp and not negated
            ):
                self._is_icmp = False
                code = wanted[1] if len(wanted) > 1 else None
                found = MatchIcmpType(self._family, wanted[0], code)
            case ("meta", MetaKey.L4PROTO) if not negated:
                if wanted == bytes([ICMP_PROTOCOLS[self._family]]):
                    self._is_icmp = True
                    return
                found = MatchProtocol(Protocol(wanted[0]))
            case ("meta", MetaKey.IIFNAME):
                suffix = "" if len(wanted) == IFNAMSIZ else "+"
                found = MatchInInterface(text(wanted) + suffix, negated)
            case ("meta", MetaKey.MARK):
                found = MatchMark(_host(wanted), ALL_BITS, negated)
            case ("bits", ("meta", MetaKey.MARK), bytes(mask), 0):
                found = MatchMark(_host(wanted), _host(mask), negated)
            case ("bits", ("ct", CtKey.STATE), bytes(mask), 0) if negated and not any(
                wanted
            ):
                found = MatchConntrackState(_states(_host(mask)))
            case ("type", Side() as side) if _host(wanted) == RTN_LOCAL:
                found = MatchAddrTypeLocal(side, negated)
            case _:
                raise _UnknownError
        self.matches.append(found)

    def _source(
        self, offset: int, mask: bytes, wanted: bytes, *, negated: bool
    ) -> MatchSource:
        if offset != ADDRESS_OFFSETS[self._family, Side.SRC] or len(mask) != len(
            wanted
        ):
            raise _UnknownError
        size = field_bytes(Field.ADDRESS, self._family)
        number = int.from_bytes(mask.ljust(size, b"\0"), "big")
        length = number.bit_count()
        if number != (1 << 8 * size) - (1 << 8 * size - length):
            raise _UnknownError
        address = ip_address(wanted.ljust(size, b"\0"))
        return MatchSource(ip_network((address, length)), negated)

    def _look_up(self, data: Attributes) -> None:
        _only(data, *LookupAttr)
        if _number(data.get(LookupAttr.FLAGS, bytes(4))):
            raise _UnknownError
        key = key_of(text(data[LookupAttr.SET]), self._family)
        if key is None:
            raise _UnknownError
        form = ENTRY_FORMS[key.role]
        if (form is EntryForm.PORT) != (self._bounds == _PORT_PROTOCOLS):
            raise _UnknownError
        self._bounds = {}
        word = _word(data[LookupAttr.SREG])
        sides = []
        for field in fields(key):
            side = self._side(field, self._registers[word], form)
            if side is not None:
                sides.append(side)
            word += words(field, self._family)
        if LookupAttr.DREG in data:
            self._load(data[LookupAttr.DREG], "mapped", MapMark(key, tuple(sides)))
        else:
            self.matches.append(MatchSet(key, tuple(sides)))

    def _side(
        self, field: Field, loaded: tuple[object, ...], form: EntryForm
    ) -> Side | None:
        """The end of the packet that a part of a key is of; a protocol is of none."""
        if field is Field.PROTOCOL:
            wanted: tuple[object, ...] = ("meta", MetaKey.L4PROTO)
            if form is EntryForm.PLACE_AND_NETWORK:
                base = PayloadBase.NETWORK_HEADER
                wanted = ("payload", base, IPV4_PROTOCOL_OFFSET, 1)
                if self._family is IPFamily.IPV6:
                    wanted = ("ct", CtKey.PROTOCOL)
            if loaded != wanted:
                raise _UnknownError
            return None
        size = field_bytes(field, self._family)
        for side in Side:
            place: tuple[object, ...] = (
                (PayloadBase.TRANSPORT_HEADER, PORT_OFFSETS[side])
                if field is Field.PORT
                else (PayloadBase.NETWORK_HEADER, ADDRESS_OFFSETS[self._family, side])
            )
            if loaded == ("payload", *place, size):
                return side
        raise _UnknownError

    def _set_mark(self, data: Attributes) -> None:
        _only(data, MetaAttr.SREG, MetaAttr.KEY)
        if _number(data[MetaAttr.KEY]) != MetaKey.MARK:
            raise _UnknownError
        match self._registers[_word(data[MetaAttr.SREG])]:
            case ("bits", ("meta", MetaKey.MARK), bytes(mask), int(flipped)):
                self.target = SetXMark(flipped, ~_host(mask) & ALL_BITS)
            case ("value", int(mark)):
                self.target = SetXMark(mark, ALL_BITS)
            case ("mapped", MapMark() as target):
                self.target = target
            case _:
                raise _UnknownError

    def _decide(self, data: Attributes) -> None:
        _only(data, *ImmediateAttr)
        if _number(data[ImmediateAttr.DREG]):
            value = _host(_value(data[ImmediateAttr.DATA]))
            self._load(data[ImmediateAttr.DREG], "value", value)
            return
        verdict = _attributes(_attributes(data[ImmediateAttr.DATA])[DataAttr.VERDICT])
        code = int.from_bytes(verdict[VerdictAttr.CODE], "big", signed=True)
        if code == NFT_JUMP:
            into = ref_of(text(verdict[VerdictAttr.CHAIN]))
            if into.table is not self._ref.table:
                raise _UnknownError
            self.target = Jump(into.name)
            return
        plain = {
            NF_ACCEPT: Verdict.ACCEPT,
            NF_DROP: Verdict.DROP,
            NFT_RETURN: Verdict.RETURN,
        }[code]
        if plain is Verdict.ACCEPT and self._ref.table is Table.NAT:
            raise _UnknownError
        self.target = plain

    def _accept_untranslated(self, data: Attributes) -> None:
        _only(
            data,
            NatAttr.TYPE,
            NatAttr.FAMILY,
            NatAttr.REG_ADDR_MIN,
            NatAttr.REG_ADDR_MAX,
            NatAttr.FLAGS,
        )
        at = data[NatAttr.REG_ADDR_MIN]
        offset = ADDRESS_OFFSETS[self._family, Side.DST]
        size = field_bytes(Field.ADDRESS, self._family)
        same = ("payload", PayloadBase.NETWORK_HEADER, offset, size)
        if (
            _number(data[NatAttr.TYPE]) != NFT_NAT_DNAT
            or data.get(NatAttr.REG_ADDR_MAX, at) != at
            or self._registers[_word(at)] != same
            or self._ref.table is not Table.NAT
            or not data.keys().isdisjoint(
                {NatAttr.REG_PROTO_MIN, NatAttr.REG_PROTO_MAX}
            )
        ):
            raise _UnknownError
        self.target = Verdict.ACCEPT


def _attributes(payload: bytes) -> Attributes:
    return {
        kind: payload[start:end]
        for kind, start, end in iter_attributes(payload, 0, len(payload))
    }


def _only(data: Attributes, *kinds: int) -> None:
    """Refuse an expression that has more to it."""
    if not data.keys() <= set(kinds):
        raise _UnknownError


def _number(payload: bytes) -> int:
    if len(payload) != 4:
        raise WireError(offset=0, reason=f"a number of {len(payload)} bytes")
    return int.from_bytes(payload, "big")


def _value(payload: bytes) -> bytes:
    return _attributes(payload)[DataAttr.VALUE]


def _word(number: bytes) -> int:
    """The word of 4 bytes, from 0, that a register begins at."""
    register = _number(number)
    if NFT_REG_1 <= register <= NFT_REG_4:
        return (register - NFT_REG_1) * WORDS_PER_REGISTER
    return register - NFT_REG32_00


def _host(payload: bytes) -> int:
    """A number in the order of this machine, as marks and states are."""
    if len(payload) != 4:
        raise _UnknownError
    return int.from_bytes(payload, sys.byteorder)


def _states(bits: int) -> tuple[str, ...]:
    states = tuple(name for name in _STATES if CT_STATES[name] & bits)
    if sum(CT_STATES[name] for name in states) != bits:
        raise _UnknownError
    return states
