"""What of the kernel could not be read, in words."""

from ipvsctl.model.errors import NotKnown
from ipvsctl.model.net import IPFamily
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.state import Observed
from ipvsctl.plan.diff.words import FirewallWords


def unread_parts(observed: Observed, words: FirewallWords) -> tuple[str, ...]:
    """The parts that nothing is known of, and why, a line each."""
    return tuple(
        unread_rules(observed, words, family) for family in observed.unread_rules
    )


def require_read(observed: Observed, words: FirewallWords) -> None:
    """Do nothing if all of the kernel could be read.

    Raises:
        NotKnown: a part could not; the text names it.
    """
    unread = unread_parts(observed, words)
    if unread:
        raise NotKnown("; ".join(unread))


def unread_rules(observed: Observed, words: FirewallWords, family: IPFamily) -> str:
    """Why nothing is known of the rules of a family."""
    return f"{words.rules(family)} cannot be read: {observed.unread_rules[family]}"


def unread_problems(
    observed: Observed, words: FirewallWords, node: str
) -> tuple[Problem, ...]:
    """The same as problems of the Node."""
    return tuple(
        Problem(
            kind=Kind.NODE,
            ref=ObjectRef("", node),
            field="kernel",
            value=words.rules(family),
            reason=f"cannot be read, and are not repaired: {reason}",
        )
        for family, reason in observed.unread_rules.items()
    )
