"""Rules of iptables in a few words, for pictures."""

from ipvsctl.model.config import ProxyConfig
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
    Verdict,
)
from ipvsctl.wire.ipset.sets import set_name


def condition(rule: Rule, config: ProxyConfig) -> tuple[str, ...]:
    """What must hold for a packet, all of it; the networks of pods are "a pod"."""
    return tuple(_match(match, config) for match in rule.matches)


def effect(rule: Rule) -> str:
    """What becomes of it."""
    match rule.target:
        case Jump(chain):
            return f"go to {chain}"
        case SetXMark(value, mask):
            # Bits that are not cleared before are turned over, and only set ones come.
            return f"mark {value:#x}" if value & mask else "take the mark off"
        case MapMark(key, _):
            return f"mark from set {set_name(key)}"
        case Masquerade():
            return "MASQUERADE"
        case Reject():
            return "REJECT"
        case Verdict() as verdict:
            return verdict.value


def _match(  # noqa: PLR0911 - one case for each kind of match
    match: Match, config: ProxyConfig
) -> str:
    match match:
        case MatchSet(key, sides):
            asks_client = sides[-1] is Side.SRC
            return f"in set {set_name(key)}" + (" with client" if asks_client else "")
        case MatchSource(network, negated):
            who = "a pod" if network in config.cluster_cidrs else str(network)
            return f"not from {who}" if negated else f"from {who}"
        case MatchAddrTypeLocal(side, negated):
            word = "from" if side is Side.SRC else "to"
            return f"{'not ' * negated}{word} this node"
        case MatchMark(value, mask, negated):
            shown = f"{value:#x}" if value == mask else f"{value:#x}/{mask:#x}"
            return f"no mark {shown}" if negated else f"mark {shown}"
        case MatchConntrackState(states):
            return " or ".join(states)
        case MatchProtocol(protocol):
            return protocol.label
        case MatchIcmpType(_, icmp_type, code):
            return f"ICMP {icmp_type}" + ("" if code is None else f"/{code}")
        case MatchInInterface(name, negated):
            return f"{'not ' * negated}over {name}"
        case MatchPhysdevIsIn(negated):
            return f"{'not ' * negated}through a bridge port"
