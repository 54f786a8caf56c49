"""One iptables rule read from text: the arguments after `-A CHAIN`.

A word that has no value in the model makes the whole rule an UnknownRule: better a rule
that is needlessly put back than a rule taken for more or less than it is.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final
from typing import Protocol as CallProtocol

from ipvsctl.model.marks import ALL_BITS
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.model.rules import (
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
    Target,
    UnknownRule,
    Verdict,
)
from ipvsctl.model.sets import SetKey
from ipvsctl.wire.ipset.sets import key_of
from ipvsctl.wire.iptables.rule_render import REJECT_WITH, match_rank

_WORD: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ARITY: Final = {
    "--physdev-is-in": 0,
    "--random-fully": 0,
    "--match-set": 2,
    "--map-set": 2,
    "--map-mark": 0,
}

# A module may match something by its mere presence (`-m socket`), so only those that
# match nothing without an option are passed over.
_MODULES: Final = frozenset(
    {
        "addrtype",
        "comment",
        "conntrack",
        "icmp",
        "icmp6",
        "mark",
        "physdev",
        "sctp",
        "set",
        "tcp",
        "udp",
    }
)
_ICMP_PROTOCOLS: Final = {
    IPFamily.IPV4: ("icmp", "1"),
    IPFamily.IPV6: ("ipv6-icmp", "icmpv6", "58"),
}
_ICMP_NAMES: Final = {
    (IPFamily.IPV4, "echo-request"): "8",
    (IPFamily.IPV4, "fragmentation-needed"): "3/4",
    (IPFamily.IPV6, "echo-request"): "128",
    (IPFamily.IPV6, "packet-too-big"): "2",
}


def parse_rule(arguments: str, family: IPFamily) -> Rule | UnknownRule:
    """Read a rule, tolerating other spellings than those of `render_rule`."""
    words = [_unquoted(word) for word in _WORD.finditer(arguments)]
    try:
        return _read(words, family)
    except (LookupError, ValueError):
        return UnknownRule(arguments)


# Everything below raises LookupError or ValueError at what is not understood.


def _read(words: list[str], family: IPFamily) -> Rule:
    matches: list[Match] = []
    comment = target = protocol = ""
    target_options: dict[str, str] = {}
    for negated, option, values in _options(words):
        if option in _MATCHES:
            matches.append(_MATCHES[option](values, negated=negated))
        elif negated:
            raise ValueError(option)
        elif option in {"-m", "--match"}:
            if values[0] not in _MODULES:
                raise LookupError(values[0])
        elif option in {"-p", "--protocol"}:
            protocol = values[0]
        elif option in {"--icmp-type", "--icmpv6-type"}:
            matches.append(_parse_icmp_type(values[0], family))
        elif option == "--comment":
            comment = values[0]
        elif option in {"-j", "--jump"}:
            target = values[0]
        else:
            target_options[option] = " ".join(values)
    matches += _match_protocol(protocol, matches, family)
    return Rule(
        matches=tuple(sorted(matches, key=match_rank)),
        target=_parse_target(target, target_options, family),
        comment=comment,
    )


def _options(words: list[str]) -> Iterator[tuple[bool, str, list[str]]]:
    """Yield (negated, option, values)."""
    index = 0
    while index < len(words):
        negated = words[index] == "!"
        index += negated
        option = words[index]
        arity = _ARITY.get(option, 1)
        values = words[index + 1 : index + 1 + arity]
        if len(values) < arity or not option.startswith("-"):
            raise LookupError(option)
        index += 1 + arity
        yield negated, option, values


def _match_protocol(
    protocol: str, matches: list[Match], family: IPFamily
) -> list[Match]:
    """The protocol match, which an ICMP type has in itself."""
    is_icmp = protocol in _ICMP_PROTOCOLS[family]
    if is_icmp != any(isinstance(match, MatchIcmpType) for match in matches):
        raise ValueError("an ICMP protocol without a type, or the reverse")
    if is_icmp or not protocol:
        return []
    if protocol.isdecimal():
        return [MatchProtocol(Protocol(int(protocol)))]
    return [MatchProtocol(Protocol[protocol.upper()])]


class _MatchParser(CallProtocol):
    def __call__(self, values: list[str], /, *, negated: bool) -> Match: ...


def _parse_source(values: list[str], *, negated: bool) -> Match:
    return MatchSource(ip_network(values[0], strict=False), negated=negated)


def _parse_in_interface(values: list[str], *, negated: bool) -> Match:
    return MatchInInterface(values[0], negated=negated)


def _parse_set(values: list[str], *, negated: bool) -> Match:
    if negated:
        raise ValueError(values)
    return MatchSet(_set(values[0]), tuple(map(Side, values[1].split(","))))


def _set(name: str) -> SetKey:
    """The set of a name; that of another agent is not understood."""
    key = key_of(name)
    if key is None:
        raise LookupError(name)
    return key


def _parse_mark(values: list[str], *, negated: bool) -> Match:
    value, mask = _value_and_mask(values[0])
    return MatchMark(value, mask, negated=negated)


def _parse_src_type(values: list[str], *, negated: bool) -> Match:
    return _parse_addrtype(Side.SRC, values, negated=negated)


def _parse_dst_type(values: list[str], *, negated: bool) -> Match:
    return _parse_addrtype(Side.DST, values, negated=negated)


def _parse_addrtype(side: Side, values: list[str], *, negated: bool) -> Match:
    if values != ["LOCAL"]:
        raise ValueError(values)
    return MatchAddrTypeLocal(side, negated=negated)


def _parse_physdev(_: list[str], *, negated: bool) -> Match:
    return MatchPhysdevIsIn(negated=negated)


def _parse_states(values: list[str], *, negated: bool) -> Match:
    if negated:
        raise ValueError(values)
    return MatchConntrackState(tuple(values[0].split(",")))


_MATCHES: Final[dict[str, _MatchParser]] = {
    "-s": _parse_source,
    "--source": _parse_source,
    "-i": _parse_in_interface,
    "--in-interface": _parse_in_interface,
    "--match-set": _parse_set,
    "--mark": _parse_mark,
    "--src-type": _parse_src_type,
    "--dst-type": _parse_dst_type,
    "--physdev-is-in": _parse_physdev,
    "--ctstate": _parse_states,
}


def _parse_icmp_type(word: str, family: IPFamily) -> Match:
    number, _, code = _ICMP_NAMES.get((family, word), word).partition("/")
    # "Any code" may be printed as the range it is.
    exact = int(code) if code and code != "0-255" else None
    return MatchIcmpType(family, int(number), exact)


def _parse_target(name: str, options: dict[str, str], family: IPFamily) -> Target:
    if name == "MARK":
        ((option, value),) = options.items()
        return _parse_mark_target(option, value)
    left = dict(options)
    target: Target
    if name == "MASQUERADE":
        target = Masquerade(random_fully=left.pop("--random-fully", None) is not None)
    elif name == "REJECT":
        if left.pop("--reject-with", REJECT_WITH[family]) != REJECT_WITH[family]:
            raise ValueError(options)
        target = Reject(family)
    elif name == "SET":
        set_name, _, sides = left.pop("--map-set").partition(" ")
        del left["--map-mark"]
        target = MapMark(_set(set_name), tuple(map(Side, sides.split(","))))
    elif name in set(Verdict):
        target = Verdict(name)
    else:
        target = Jump(name)
    if left or not name:
        raise LookupError(name)
    return target


def _parse_mark_target(option: str, text: str) -> SetXMark:
    """All spellings are one operation: clear the mask's bits, then xor the value."""
    value, mask = _value_and_mask(text)
    by_option = {
        "--set-xmark": (value, mask),
        "--set-mark": (value, value | mask),
        "--or-mark": (value, value),
        "--xor-mark": (value, 0),
        "--and-mark": (0, ~value & ALL_BITS),
    }
    return SetXMark(*by_option[option])


def _value_and_mask(text: str) -> tuple[int, int]:
    value, _, mask = text.partition("/")
    return int(value, 0), int(mask, 0) if mask else ALL_BITS


def _unquoted(word: re.Match[str]) -> str:
    quoted, plain = word.groups()
    return plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
