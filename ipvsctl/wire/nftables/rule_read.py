"""Reads a rule of nftables: follows its expressions as the kernel would.

Registers hold what was loaded into them, not values; what is then compared, looked up
or set is a match or a target. So a rule is understood however its registers are chosen,
and one that does anything else is an `UnknownRule`.
"""

from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import (
    ChainRef,
    Rule,
    UnknownRule,
)
from ipvsctl.wire.netlink.attributes import iter_attributes, text
from ipvsctl.wire.nftables.attributes import (
    ExpressionAttr,
)
from ipvsctl.wire.nftables.comparisons import UnknownExpressionError
from ipvsctl.wire.nftables.program import Program, attributes_of


def read_rule(
    expressions: bytes, ref: ChainRef, family: IPFamily, comment: str
) -> Rule | UnknownRule:
    """A rule out of its list of expressions.

    Args:
        expressions: as `encode_rule` makes it.
        ref: the chain that it is in.
        family: of the table.
        comment: beside it.

    Raises:
        WireError: attributes that do not add up.
    """
    names = []
    program = Program(ref, family)
    is_known = True
    for _, start, end in iter_attributes(expressions, 0, len(expressions)):
        parts = attributes_of(expressions[start:end])
        name = text(parts.get(ExpressionAttr.NAME, b""))
        names.append(name)
        try:
            program.run(name, attributes_of(parts.get(ExpressionAttr.DATA, b"")))
        except (UnknownExpressionError, LookupError, ValueError):
            is_known = False
    target = program.target
    if target is None or not is_known or program.is_pending:
        words_ = ", ".join(names) or "no expressions"
        return UnknownRule(f"{words_} ({comment})" if comment else words_)
    return Rule(matches=tuple(program.matches), target=target, comment=comment)
