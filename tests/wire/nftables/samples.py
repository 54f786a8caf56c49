"""A table of each family with every kind of rule, set and entry."""

from typing import Final

import msgspec

from ipvsctl.model.marks import ALL_BITS
from ipvsctl.model.net import (
    IPAddress,
    IPFamily,
    IPv4Address,
    IPv6Address,
    Protocol,
    parse_network,
)
from ipvsctl.model.rules import (
    ChainRef,
    Chains,
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
    Verdict,
)
from ipvsctl.model.sets import (
    ENTRY_FORMS,
    MARKING_ROLES,
    EntryForm,
    SetEntry,
    SetKey,
    SetRole,
    set_key,
)
from ipvsctl.wire.nftables.chains import BASE_CHAINS
from tests.addresses import later

VIPS: Final[dict[IPFamily, IPAddress]] = {
    IPFamily.IPV4: IPv4Address("10.96.0.10"),
    IPFamily.IPV6: IPv6Address("fd00:96::10"),
}
NETWORKS: Final = {
    IPFamily.IPV4: ("127.0.0.0/8", "10.1.2.0/23", "192.0.2.7/32", "0.0.0.0/0"),
    IPFamily.IPV6: ("fd00::/16", "2001:db8::/33", "::1/128", "::/0"),
}
BOTH: Final = (False, True)
SIDES: Final[dict[EntryForm, list[tuple[Side, ...]]]] = {
    EntryForm.ADDRESS: [(Side.DST,), (Side.SRC,)],
    EntryForm.PORT: [(Side.DST,)],
    EntryForm.PLACE: [(Side.DST, Side.DST), (Side.SRC, Side.DST)],
    EntryForm.PLACE_AND_ADDRESS: [(Side.DST, Side.DST, Side.SRC)],
    EntryForm.PLACE_AND_NETWORK: [(Side.DST, Side.DST, Side.SRC)],
}
"""The ends of a packet that rules ask a set for."""

INSIDE: Final = ChainRef(Table.MANGLE, "KUBE-IPVS-INSIDE")
SERVICES: Final = ChainRef(Table.NAT, "KUBE-SERVICES")
FILTER: Final = ChainRef(Table.FILTER, "KUBE-IPVS-FILTER")


def keys(family: IPFamily) -> tuple[SetKey, ...]:
    """Every set of a family."""
    return tuple(set_key(role, family) for role in SetRole)


def entries(family: IPFamily) -> dict[SetKey, frozenset[SetEntry]]:
    """Some entries of every set of a family."""
    return {key: frozenset(_entries(key)) for key in keys(family)}


def _entries(key: SetKey) -> list[SetEntry]:
    vip = VIPS[key.family]
    place = SetEntry(address=vip, protocol=Protocol.TCP, port=443)
    other = SetEntry(address=vip, protocol=Protocol.SCTP, port=65535)
    match ENTRY_FORMS[key.role]:
        case EntryForm.ADDRESS:
            return [SetEntry(address=vip)]
        case EntryForm.PORT:
            return [SetEntry(port=1), SetEntry(port=31000)]
        case EntryForm.PLACE_AND_ADDRESS:
            return [
                msgspec.structs.replace(some, second_address=later(vip, 1))
                for some in (place, other)
            ]
        case EntryForm.PLACE_AND_NETWORK:
            return [
                msgspec.structs.replace(place, network=parse_network(network))
                for network in NETWORKS[key.family][1:3]
            ]
        case EntryForm.PLACE:
            marks = (0x20001, 0xFFFFFFFF) if key.role in MARKING_ROLES else (0, 0)
            return [
                msgspec.structs.replace(some, mark=mark)
                for some, mark in zip((place, other), marks, strict=True)
            ]


def chains(family: IPFamily) -> Chains:
    """Every kind of match and target, and every place where a chain may begin."""
    found: Chains = dict.fromkeys(BASE_CHAINS, ())
    found[ChainRef(Table.NAT, "PREROUTING")] = (
        Rule(target=Jump(SERVICES.name), comment="kubernetes service portals"),
    )
    found[SERVICES] = (
        *(_rule(Verdict.ACCEPT, match) for match in _matches(family)),
        Rule(target=SetXMark(0x4000, 0x4000)),
        Rule(target=SetXMark(0x4000, 0)),
        Rule(target=SetXMark(0, ALL_BITS)),
        Rule(target=Verdict.RETURN),
    )
    found[ChainRef(Table.NAT, "POSTROUTING")] = (
        _rule(Masquerade(), MatchMark(0x4000, 0x4000)),
        Rule(target=Masquerade(random_fully=True), comment="it's SNAT"),
    )
    found[FILTER] = (
        *(_rule(Verdict.RETURN, match) for match in _matches(family)),
        _rule(Verdict.ACCEPT, MatchConntrackState(("NEW",))),
        Rule(target=Reject(family)),
        Rule(target=Verdict.DROP),
    )
    marking = set_key(SetRole.SHORT_CIRCUIT, family)
    found[INSIDE] = (Rule(target=MapMark(marking, (Side.DST, Side.DST))),)
    return found


def _rule(target: Target, *matches: Match) -> Rule:
    return Rule(matches=matches, target=target)


def _matches(family: IPFamily) -> list[Match]:
    codes = (None, 4) if family is IPFamily.IPV4 else (None,)
    return [
        *(
            MatchSource(parse_network(network), negated)
            for network in NETWORKS[family][:3]
            for negated in BOTH
        ),
        *(MatchProtocol(protocol) for protocol in Protocol),
        *(MatchMark(0x4000, 0x4000, negated) for negated in BOTH),
        MatchMark(7, ALL_BITS),
        *(MatchAddrTypeLocal(s, n) for s in Side for n in BOTH),
        MatchConntrackState(("NEW",)),
        MatchConntrackState(("RELATED", "ESTABLISHED")),
        *(MatchInInterface(name, n) for name in ("cbr0", "cali+") for n in BOTH),
        *(MatchIcmpType(family, 3, code) for code in codes),
        *(
            MatchSet(key, sides)
            for key in keys(family)
            for sides in SIDES[ENTRY_FORMS[key.role]]
        ),
    ]
