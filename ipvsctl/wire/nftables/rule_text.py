"""Rules, sets and tables in the language of nft, as it prints and loads them."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from ipvsctl.model.marks import ALL_BITS
from ipvsctl.model.net import IPFamily, family_of
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
    UnknownRule,
    Verdict,
)
from ipvsctl.model.sets import (
    ENTRY_FORMS,
    MARKING_ROLES,
    EntryForm,
    SetEntry,
    SetKey,
)
from ipvsctl.wire.nftables.chains import (
    BASE_CHAINS,
    HOOK_NAMES,
    chain_name,
)
from ipvsctl.wire.nftables.packet import FIRST_PORT_PROTOCOL, LAST_PORT_PROTOCOL
from ipvsctl.wire.nftables.sets import TABLE, Field, fields, set_name

_HEADERS: Final = {IPFamily.IPV4: "ip", IPFamily.IPV6: "ip6"}
_SIDES: Final = {Side.SRC: "s", Side.DST: "d"}
_ICMP: Final = {IPFamily.IPV4: "icmp", IPFamily.IPV6: "icmpv6"}
_ADDRESS_TYPES: Final = {IPFamily.IPV4: "ipv4_addr", IPFamily.IPV6: "ipv6_addr"}


def render_rule(rule: Rule | UnknownRule) -> str:
    """A rule as people read it, without its chain."""
    if isinstance(rule, UnknownRule):
        return rule.text
    return _line(rule, _target(rule.target))


def _loadable(rule: Rule | UnknownRule, ref: ChainRef, family: IPFamily) -> str:
    """A rule as nft loads it; see `expressions` for what it is to accept in nat."""
    if isinstance(rule, UnknownRule):
        raise TypeError(rule)
    match rule.target:
        case Jump(chain):
            return _line(rule, f"jump {chain_name(ChainRef(ref.table, chain))}")
        case Verdict.ACCEPT if ref.table is Table.NAT:
            return _line(rule, f"dnat to {_HEADERS[family]} daddr")
        case target:
            return _line(rule, _target(target))


def _line(rule: Rule, target: str) -> str:
    comment = [f'comment "{rule.comment}"'] if rule.comment else []
    return " ".join((*map(_match, rule.matches), target, *comment))


def _match(match: Match) -> str:  # noqa: C901, PLR0911 - one for each kind of match
    match match:
        case MatchSource(network):
            header = _HEADERS[family_of(network)]
            return f"{header} saddr {_unless(match)}{network}"
        case MatchInInterface(name):
            shown = f"{name.removesuffix('+')}*" if name.endswith("+") else name
            return f'iifname {_unless(match)}"{shown}"'
        case MatchProtocol(protocol):
            return f"meta l4proto {protocol.label}"
        case MatchIcmpType(family, icmp_type, code):
            icmp = _ICMP[family]
            suffix = "" if code is None else f" {icmp} code {code}"
            return f"{icmp} type {icmp_type}{suffix}"
        case MatchMark(value, mask):
            if mask == ALL_BITS:
                return f"meta mark {_unless(match)}{value:#x}"
            return f"meta mark & {mask:#x} {_unless(match) or '== '}{value:#x}"
        case MatchConntrackState(states):
            return f"ct state {','.join(states).lower()}"
        case MatchSet(key, sides):
            return f"{_key(key, sides)} @{set_name(key)}"
        case MatchPhysdevIsIn():
            return f"physdev {_unless(match)}in"
        case MatchAddrTypeLocal(side):
            return f"fib {_SIDES[side]}addr type {_unless(match)}local"


def _unless(
    match: MatchSource
    | MatchInInterface
    | MatchMark
    | MatchPhysdevIsIn
    | MatchAddrTypeLocal,
) -> str:
    return "!= " if match.negated else ""


def _target(target: Target) -> str:  # noqa: PLR0911 - one for each kind of target
    match target:
        case Verdict():
            return target.value.lower()
        case Jump(chain):
            return f"jump {chain}"
        case Reject(family):
            return f"reject with {_ICMP[family]} port-unreachable"
        case SetXMark(value, mask):
            if mask == ALL_BITS:
                return f"meta mark set {value:#x}"
            kept = ~mask & ALL_BITS
            return f"meta mark set meta mark & {kept:#x} ^ {value:#x}"
        case Masquerade(random_fully):
            return "masquerade fully-random" if random_fully else "masquerade"
        case MapMark(key, sides):
            return f"meta mark set {_key(key, sides)} map @{set_name(key)}"


def _key(key: SetKey, sides: tuple[Side, ...]) -> str:
    """What of a packet is looked up in a set."""
    form = ENTRY_FORMS[key.role]
    header = _HEADERS[key.family]
    ends = iter(sides)
    words = []
    for field in fields(key):
        match field:
            case Field.ADDRESS:
                words.append(f"{header} {_SIDES[next(ends)]}addr")
            case Field.PORT:
                words.append(f"th {_SIDES[next(ends)]}port")
            case Field.PROTOCOL if form is not EntryForm.PLACE_AND_NETWORK:
                words.append("meta l4proto")
            case Field.PROTOCOL if key.family is IPFamily.IPV4:
                words.append("ip protocol")
            case Field.PROTOCOL:
                words.append("ct protocol")
    text = " . ".join(words)
    if form is EntryForm.PORT:
        return f"meta l4proto {FIRST_PORT_PROTOCOL}-{LAST_PORT_PROTOCOL} {text}"
    return text


def render_table(
    family: IPFamily,
    chains: Chains,
    sets: Iterable[SetKey],
    entries: Mapping[SetKey, AbstractSet[SetEntry]],
) -> Iterator[str]:
    """Our table of a family, line by line, in place of the one that is there.

    Args:
        family: of the table.
        chains: without any UnknownRule.
        sets: all that rules ask.
        entries: of the sets.
    """
    table = f"table {_HEADERS[family]} {TABLE}"
    # To be deleted, it must be there.
    yield from (table, f"delete {table}", f"{table} {{")
    for key in sorted(sets):
        if key.family is family:
            yield from _set(key, entries.get(key, frozenset()))
    # Those that are jumped to first.
    for ref in sorted(chains, key=lambda ref: (ref.is_builtin, ref)):
        yield from _chain(ref, chains[ref], family)
    yield "}"


def _set(key: SetKey, entries: AbstractSet[SetEntry]) -> Iterator[str]:
    is_map = key.role in MARKING_ROLES
    yield f"\t{'map' if is_map else 'set'} {set_name(key)} {{"
    kinds = " . ".join(_type(field, key.family) for field in fields(key))
    yield f"\t\ttype {kinds}{' : mark' if is_map else ''}"
    if ENTRY_FORMS[key.role] is EntryForm.PLACE_AND_NETWORK:
        yield "\t\tflags interval"
    if entries:
        lines = ",\n\t\t\t     ".join(sorted(map(_element, entries)))
        yield f"\t\telements = {{ {lines} }}"
    yield "\t}"


def _type(field: Field, family: IPFamily) -> str:
    match field:
        case Field.ADDRESS:
            return _ADDRESS_TYPES[family]
        case Field.PROTOCOL:
            return "inet_proto"
        case Field.PORT:
            return "inet_service"


def _element(entry: SetEntry) -> str:
    if entry.address is None:
        return str(entry.port)
    words = [str(entry.address)]
    if entry.protocol is not None:
        words += (entry.protocol.label, str(entry.port))
    if entry.second_address is not None:
        words.append(str(entry.second_address))
    if entry.network is not None:
        words.append(str(entry.network))
    text = " . ".join(words)
    return f"{text} : {entry.mark:#x}" if entry.mark else text


def _chain(
    ref: ChainRef, rules: Iterable[Rule | UnknownRule], family: IPFamily
) -> Iterator[str]:
    yield f"\tchain {chain_name(ref)} {{"
    base = BASE_CHAINS.get(ref)
    if base is not None:
        yield (
            f"\t\ttype {base.type} hook {HOOK_NAMES[base.hook]} "
            f"priority {base.priority}; policy accept;"
        )
    yield from (f"\t\t{_loadable(rule, ref, family)}" for rule in rules)
    yield "\t}"
