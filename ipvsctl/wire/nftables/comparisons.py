"""What a comparison in a rule of nftables is a match of."""

import sys
from typing import Final

from ipvsctl.model.marks import ALL_BITS
from ipvsctl.model.net import IPFamily, Protocol, network_of, to_address
from ipvsctl.model.rules import (
    Match,
    MatchAddrTypeLocal,
    MatchConntrackState,
    MatchInInterface,
    MatchMark,
    MatchProtocol,
    MatchSource,
    Side,
)
from ipvsctl.wire.netlink.attributes import text
from ipvsctl.wire.nftables.attributes import (
    RTN_LOCAL,
    CtKey,
    MetaKey,
    PayloadBase,
)
from ipvsctl.wire.nftables.packet import (
    ADDRESS_OFFSETS,
    CT_STATES,
    IFNAMSIZ,
)
from ipvsctl.wire.nftables.sets import Field, field_bytes

Loaded = tuple[object, ...]
"""What of a packet a register holds, in words: `("meta", MetaKey.MARK)`."""

_STATES: Final = ("RELATED", "ESTABLISHED", "NEW")
"""In the order of iptables-save, as everywhere."""


class UnknownExpressionError(Exception):
    """The rule does something that no rule of ours does."""


def match_of(  # noqa: PLR0911 - one for each kind of match
    loaded: Loaded, wanted: bytes, family: IPFamily, *, negated: bool
) -> Match:
    """What it means to compare something with a value.

    Args:
        loaded: what of a packet is compared, see `Program`.
        wanted: the value, as a register holds it.
        family: of the table.
        negated: it is to be another value.

    Raises:
        UnknownExpressionError: no rule of ours does so.
    """
    match loaded:
        case ("payload", PayloadBase.NETWORK_HEADER, int(offset), int(size)):
            return _source(family, offset, b"\xff" * size, wanted, negated=negated)
        case (
            "bits",
            ("payload", PayloadBase.NETWORK_HEADER, int(offset), int()),
            bytes(mask),
            0,
        ):
            return _source(family, offset, mask, wanted, negated=negated)
        case ("meta", MetaKey.L4PROTO) if not negated:
            return MatchProtocol(Protocol(wanted[0]))
        case ("meta", MetaKey.IIFNAME):
            suffix = "" if len(wanted) == IFNAMSIZ else "+"
            return MatchInInterface(text(wanted) + suffix, negated)
        case ("meta", MetaKey.MARK):
            return MatchMark(host_number(wanted), ALL_BITS, negated)
        case ("bits", ("meta", MetaKey.MARK), bytes(mask), 0):
            return MatchMark(host_number(wanted), host_number(mask), negated)
        case ("bits", ("ct", CtKey.STATE), bytes(mask), 0) if negated and not any(
            wanted
        ):
            return MatchConntrackState(_states(host_number(mask)))
        case ("type", Side() as side) if host_number(wanted) == RTN_LOCAL:
            return MatchAddrTypeLocal(side, negated)
        case _:
            raise UnknownExpressionError


def _source(
    family: IPFamily, offset: int, mask: bytes, wanted: bytes, *, negated: bool
) -> MatchSource:
    if offset != ADDRESS_OFFSETS[family, Side.SRC] or len(mask) != len(wanted):
        raise UnknownExpressionError
    size = field_bytes(Field.ADDRESS, family)
    number = int.from_bytes(mask.ljust(size, b"\0"), "big")
    length = number.bit_count()
    if number != (1 << 8 * size) - (1 << 8 * size - length):
        raise UnknownExpressionError
    whole = wanted.ljust(size, b"\0")
    # With a bit where the mask has none it is never so, whatever the source.
    if len(whole) != size or int.from_bytes(whole, "big") & ~number:
        raise UnknownExpressionError
    return MatchSource(network_of(to_address(whole), length), negated)


def host_number(payload: bytes) -> int:
    """A number in the order of this machine, as marks and states are."""
    if len(payload) != 4:
        raise UnknownExpressionError
    return int.from_bytes(payload, sys.byteorder)


def _states(bits: int) -> tuple[str, ...]:
    states = tuple(name for name in _STATES if CT_STATES[name] & bits)
    if sum(CT_STATES[name] for name in states) != bits:
        raise UnknownExpressionError
    return states
