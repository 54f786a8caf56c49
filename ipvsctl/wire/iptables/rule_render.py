"""One iptables rule written as text: the arguments after `-A CHAIN`.

The matches of a rule have no order that means anything, and flavours print them in
different ones; ours are in the order of `MATCH_ORDER`, in which kube-proxy's rules are
printed too.
"""

import re
from typing import Final

from ipvsctl.model.marks import ALL_BITS
from ipvsctl.model.net import IPFamily
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
    Target,
    UnknownRule,
    Verdict,
)
from ipvsctl.wire.ipset.sets import set_name

MATCH_ORDER: Final = (
    MatchSource,
    MatchInInterface,
    MatchProtocol,
    MatchIcmpType,
    MatchMark,
    MatchConntrackState,
    MatchSet,
    MatchPhysdevIsIn,
    MatchAddrTypeLocal,
)

REJECT_WITH: Final = {
    IPFamily.IPV4: "icmp-port-unreachable",
    IPFamily.IPV6: "icmp6-port-unreachable",
}

# These precede the comment, which is itself a match (`-m comment`).
_BEFORE_COMMENT: Final = (MatchSource, MatchInInterface, MatchProtocol)

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")


def render_rule(rule: Rule | UnknownRule) -> str:
    """The arguments of a rule, spelled as `iptables-save` spells them."""
    if isinstance(rule, UnknownRule):
        return rule.text
    matches = sorted(rule.matches, key=match_rank)
    first = [match for match in matches if isinstance(match, _BEFORE_COMMENT)]
    # The protocol of an ICMP match comes early, its type among the other matches.
    icmp = [match for match in matches if isinstance(match, MatchIcmpType)]
    others = matches[len(first) + len(icmp) :]
    words = [
        *(_render_match(match) for match in first),
        *(f"-p {_icmp_words(match.family)[0]}" for match in icmp),
        *([f"-m comment --comment {_quoted(rule.comment)}"] if rule.comment else []),
        *(_render_icmp_type(match) for match in icmp),
        *(_render_match(match) for match in others),
        f"-j {_render_target(rule.target)}",
    ]
    return " ".join(words)


def match_rank(match: Match) -> int:
    """Where a match stands among the matches of its rule."""
    return MATCH_ORDER.index(type(match))


def _render_match(match: Match) -> str:  # noqa: PLR0911 - one for each kind of match
    match match:
        case MatchSource(network):
            return f"{_not(match)}-s {network}"
        case MatchInInterface(name):
            return f"{_not(match)}-i {name}"
        case MatchProtocol(protocol):
            return f"-p {protocol.label}"
        case MatchIcmpType(family):
            return f"-p {_icmp_words(family)[0]} {_render_icmp_type(match)}"
        case MatchMark(value, mask):
            suffix = "" if mask == ALL_BITS else f"/{mask:#x}"
            return f"-m mark {_not(match)}--mark {value:#x}{suffix}"
        case MatchConntrackState(states):
            return f"-m conntrack --ctstate {','.join(states)}"
        case MatchSet(key, sides):
            return f"-m set --match-set {set_name(key)} {','.join(sides)}"
        case MatchPhysdevIsIn():
            return f"-m physdev {_not(match)}--physdev-is-in"
        case MatchAddrTypeLocal(side):
            return f"-m addrtype {_not(match)}--{side}-type LOCAL"


def _not(
    match: MatchSource
    | MatchInInterface
    | MatchMark
    | MatchPhysdevIsIn
    | MatchAddrTypeLocal,
) -> str:
    return "! " if match.negated else ""


def _icmp_words(family: IPFamily) -> tuple[str, str, str]:
    """Protocol, match and option of an ICMP type."""
    if family is IPFamily.IPV4:
        return "icmp", "icmp", "--icmp-type"
    return "ipv6-icmp", "icmp6", "--icmpv6-type"


def _render_icmp_type(match: MatchIcmpType) -> str:
    _, module, option = _icmp_words(match.family)
    code = "" if match.code is None else f"/{match.code}"
    return f"-m {module} {option} {match.icmp_type}{code}"


def _render_target(target: Target) -> str:
    match target:
        case Verdict():
            return target.value
        case Jump(chain):
            return chain
        case Reject(family):
            return f"REJECT --reject-with {REJECT_WITH[family]}"
        case SetXMark(value, mask):
            return f"MARK --set-xmark {value:#x}/{mask:#x}"
        case Masquerade(random_fully):
            return "MASQUERADE --random-fully" if random_fully else "MASQUERADE"
        case MapMark(key, sides):
            return f"SET --map-set {set_name(key)} {','.join(sides)} --map-mark"


def _quoted(text: str) -> str:
    """Quote as libxtables does (xtables.c:xtables_save_string)."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + re.sub(r'(["\\\'])', r"\\\1", text) + '"'
