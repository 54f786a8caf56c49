"""What of the kernel could not be read, in words."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from ipvsctl.model.errors import UnreadKernel
from ipvsctl.model.parts import EVIDENCE, RULES, Part
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.state import EMPTY, Observed
from ipvsctl.plan.diff.words import FirewallWords

NEEDED: Final = frozenset(part for part in Part if part.is_needed)
"""See `Part.is_needed`."""

_WORDS: Final = {
    Part.SETS: "sets",
    Part.NETWORK: "links, addresses and routes",
    Part.SOCKETS: "the sockets of this host",
    Part.IPVS: "IPVS",
    Part.CONNTRACK: "conntrack",
}


def unread_parts(
    observed: Observed,
    words: FirewallWords,
    ages_s: Mapping[Part, float | None] = EMPTY,
) -> tuple[str, ...]:
    """The parts that nothing is known of, and why, a line each.

    Args:
        observed: what was read.
        words: what operators call the things of the firewall.
        ages_s: how long ago each part was last read; those that are not known are left
            out.
    """
    return tuple(
        unread_part(observed, words, part, ages_s.get(part)) for part in observed.unread
    )


def require(
    observed: Observed, words: FirewallWords, parts: AbstractSet[Part] = EVIDENCE
) -> None:
    """Do nothing if these parts could be read.

    Raises:
        UnreadKernel: one could not; the text names it.
    """
    unread = tuple(
        unread_part(observed, words, part) for part in observed.unread if part in parts
    )
    if unread:
        raise UnreadKernel(unread)


def unread_part(
    observed: Observed, words: FirewallWords, part: Part, age_s: float | None = None
) -> str:
    """Why nothing is known of a part."""
    since = "" if age_s is None else f" for {age_s:.0f} s"
    return f"{_name(part, words)} cannot be read{since}: {observed.unread[part]}"


def unread_problems(
    observed: Observed, words: FirewallWords, node: str
) -> tuple[Problem, ...]:
    """The same as problems of the Node."""
    return tuple(
        Problem(
            kind=Kind.NODE,
            ref=ObjectRef("", node),
            field="kernel",
            value=_name(part, words),
            reason=_without(part, reason),
        )
        for part, reason in observed.unread.items()
    )


def _without(part: Part, reason: str) -> str:
    if not part.is_needed:
        return f"cannot be read: {reason}"
    if part in EVIDENCE:
        return f"cannot be read, and nothing is deleted without: {reason}"
    return f"cannot be read, and are not repaired: {reason}"


def _name(part: Part, words: FirewallWords) -> str:
    for family, rules in RULES.items():
        if rules is part:
            return words.rules(family)
    return _WORDS[part]
