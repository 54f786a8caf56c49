"""Rules as nftables' expressions: a small program for each.

An expression loads a part of a packet into a register, computes, compares (and ends the
rule if it does not match), or decides. They are those that nft itself makes of the same
rule, so that it prints them as rules and not as code.
Source: nf_tables_api.c (`nft_expr_policy`), nft_*.c (`*_init`, `*_policy`).
"""

from collections.abc import Iterator

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
from ipvsctl.wire.netlink.attributes import attribute
from ipvsctl.wire.nftables.attributes import (
    NF_ACCEPT,
    NF_DROP,
    NF_NAT_RANGE_PROTO_RANDOM_FULLY,
    NFT_JUMP,
    NFT_NAT_DNAT,
    NFT_REG_1,
    NFT_REJECT_ICMP_UNREACH,
    NFT_RETURN,
    NFTA_MASQ_FLAGS,
    RTN_LOCAL,
    CmpOp,
    CtKey,
    MetaKey,
    NatAttr,
    PayloadBase,
    RejectAttr,
)
from ipvsctl.wire.nftables.chains import chain_name
from ipvsctl.wire.nftables.expressions import (
    HOST32,
    bitwise,
    compare,
    decide,
    expression,
    load_address_type,
    load_ct,
    load_meta,
    load_payload,
    load_value,
    look_up,
    number,
    register,
    set_mark,
)
from ipvsctl.wire.nftables.packet import (
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
from ipvsctl.wire.nftables.sets import Field, field_bytes, fields, words


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
            return load_meta(MetaKey.IIFNAME), compare(found, negated=negated)
        case MatchProtocol(protocol):
            return load_meta(MetaKey.L4PROTO), compare(bytes([protocol]))
        case MatchIcmpType(of_family, icmp_type, code):
            wanted = bytes([icmp_type] if code is None else [icmp_type, code])
            return (
                load_meta(MetaKey.L4PROTO),
                compare(bytes([ICMP_PROTOCOLS[of_family]])),
                load_payload(PayloadBase.TRANSPORT_HEADER, 0, len(wanted)),
                compare(wanted),
            )
        case MatchMark(value, mask, negated):
            masked = () if mask == ALL_BITS else (bitwise(HOST32.pack(mask)),)
            wanted = HOST32.pack(value)
            return load_meta(MetaKey.MARK), *masked, compare(wanted, negated=negated)
        case MatchConntrackState(states):
            bits = HOST32.pack(sum(CT_STATES[state] for state in states))
            return load_ct(CtKey.STATE), bitwise(bits), compare(bytes(4), negated=True)
        case MatchSet(key, sides):
            return *_key(key, sides, family), look_up(key)
        case MatchAddrTypeLocal(side, negated):
            local = HOST32.pack(RTN_LOCAL)
            return load_address_type(side), compare(local, negated=negated)
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
        load_payload(PayloadBase.NETWORK_HEADER, offset, size),
        *([] if size == whole else [bitwise(network.netmask.packed)]),
        compare(wanted, negated=match.negated),
    )


def _target(  # noqa: C901, PLR0911 - one for each kind of target
    target: Target, ref: ChainRef, family: IPFamily
) -> tuple[bytes, ...]:
    match target:
        case Verdict.ACCEPT if ref.table is Table.NAT:
            return _accept_untranslated(family)
        case Verdict.ACCEPT:
            return (decide(NF_ACCEPT),)
        case Verdict.DROP:
            return (decide(NF_DROP),)
        case Verdict.RETURN:
            return (decide(NFT_RETURN),)
        case Jump(chain):
            return (decide(NFT_JUMP, chain_name(ChainRef(ref.table, chain))),)
        case Reject(of_family):
            code = bytes([PORT_UNREACHABLE[of_family]])
            return (
                expression(
                    "reject",
                    number(RejectAttr.TYPE, NFT_REJECT_ICMP_UNREACH)
                    + attribute(RejectAttr.ICMP_CODE, code),
                ),
            )
        case SetXMark(value, mask) if mask == ALL_BITS:
            return load_value(HOST32.pack(value)), set_mark()
        case SetXMark(value, mask):
            kept = HOST32.pack(~mask & ALL_BITS)
            return (
                load_meta(MetaKey.MARK),
                bitwise(kept, HOST32.pack(value)),
                set_mark(),
            )
        case Masquerade(random_fully):
            flags = number(NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY)
            return (expression("masq", flags if random_fully else b""),)
        case MapMark(key, sides):
            return *_key(key, sides, family), look_up(key, is_map=True), set_mark()


def _accept_untranslated(family: IPFamily) -> tuple[bytes, ...]:
    """End translation: "to where it goes anyway".

    In iptables, to accept a packet in table nat spares it all rules below. Here others'
    chains come after ours, unless a packet's translation is settled
    (nf_nat_core.c:nf_nat_inet_fn).
    """
    offset = ADDRESS_OFFSETS[family, Side.DST]
    size = field_bytes(Field.ADDRESS, family)
    return (
        load_payload(PayloadBase.NETWORK_HEADER, offset, size),
        expression(
            "nat",
            number(NatAttr.TYPE, NFT_NAT_DNAT)
            + number(NatAttr.FAMILY, family)
            + number(NatAttr.REG_ADDR_MIN, NFT_REG_1),
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
        yield load_meta(MetaKey.L4PROTO)
        yield compare(bytes([FIRST_PORT_PROTOCOL]), CmpOp.GTE)
        yield compare(bytes([LAST_PORT_PROTOCOL]), CmpOp.LTE)
    ends = iter(sides)
    word = 0
    for field in fields(key):
        at = register(word)
        word += words(field, family)
        size = field_bytes(field, family)
        match field:
            case Field.ADDRESS:
                offset = ADDRESS_OFFSETS[family, next(ends)]
                yield load_payload(PayloadBase.NETWORK_HEADER, offset, size, at)
            case Field.PORT:
                offset = PORT_OFFSETS[next(ends)]
                yield load_payload(PayloadBase.TRANSPORT_HEADER, offset, size, at)
            case Field.PROTOCOL if form is not EntryForm.PLACE_AND_NETWORK:
                yield load_meta(MetaKey.L4PROTO, at)
            case Field.PROTOCOL if family is IPFamily.IPV4:
                base = PayloadBase.NETWORK_HEADER
                yield load_payload(base, IPV4_PROTOCOL_OFFSET, size, at)
            case Field.PROTOCOL:
                yield load_ct(CtKey.PROTOCOL, at)
