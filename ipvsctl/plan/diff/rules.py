"""What must change in the fixed rules of one family."""

from collections.abc import Sequence

from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Chains, Rule, RulesChange, UnknownRule


def plan_rules(
    family: IPFamily, observed: Chains, desired: Chains
) -> RulesChange | None:
    """The change that makes the observed chains the desired ones.

    A chain of ours is written whole when it differs. Jumps in a built-in chain are
    taken out and put at its top when they are not exactly the desired ones in the
    desired order; where other agents' rules stand between or above them is not looked
    at, since two agents that both insist on the top would fight for ever.

    Args:
        family: of both.
        observed: as read; UnknownRule values in it are replaced.
        desired: without any UnknownRule. Empty removes everything of ours.

    Returns:
        None when there is nothing to do.
    """
    differing = sorted(
        ref
        for ref in observed.keys() | desired.keys()
        if observed.get(ref) != desired.get(ref)
    )
    own = [ref for ref in differing if not ref.is_builtin]
    builtin = [ref for ref in differing if ref.is_builtin]
    change = RulesChange(
        family=family,
        write=tuple((ref, _known(desired[ref])) for ref in own if ref in desired),
        unlink=tuple((ref, rule) for ref in builtin for rule in observed.get(ref, ())),
        link=tuple((ref, _known(desired[ref])) for ref in builtin if ref in desired),
        remove=tuple(ref for ref in own if ref not in desired),
    )
    return None if change == RulesChange(family=family) else change


def _known(rules: Sequence[Rule | UnknownRule]) -> tuple[Rule, ...]:
    known = tuple(rule for rule in rules if isinstance(rule, Rule))
    if len(known) != len(rules):
        raise ValueError("a rule that is not understood cannot be desired")
    return known
