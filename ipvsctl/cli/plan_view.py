"""A plan for people: every op with the Service it is for, and whether it adds."""

from collections import Counter
from typing import Any

import msgspec

from ipvsctl.cli.plain import plain
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.state import NodeState
from ipvsctl.model.target import NamedTarget
from ipvsctl.plan.diff.kinds import Verb
from ipvsctl.plan.diff.ops import (
    Plan,
)
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.plan.report.op_text import op_text
from ipvsctl.plan.report.owners import Owners
from ipvsctl.plan.union.frozen import DesiredLookups


class PlanLine(msgspec.Struct, frozen=True, kw_only=True):
    """One op, described.

    Attributes:
        service: the Service it is for; "" for none that is known, None for the node
            itself.
        text: what is added, changed or deleted.
        op: the op as data, its kind in `type`; None unless it was asked for.
    """

    action: Verb
    service: str | None
    text: str
    op: Any = None


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, described; `changes` in the order they run."""

    add: int
    change: int
    delete: int
    changes: tuple[PlanLine, ...]

    @property
    def is_empty(self) -> bool:
        """Nothing is to be done."""
        return not self.changes


def describe(
    plan: Plan,
    observed: NodeState,
    desired: DesiredLookups | None = None,
    *,
    firewall: FirewallWords,
    as_data: bool = False,
) -> PlanView:
    """Describe a plan.

    Args:
        plan: the ops.
        observed: the state it was made for, to say which values were before.
        desired: gives names; without it, no Service is known.
        firewall: what operators call the things of the firewall.
        as_data: with the ops as data, which takes longer than all the rest.
    """
    owners = Owners(desired, frozenset(op.subject for op in plan))
    counts = Counter(op.verb for op in plan)
    return PlanView(
        add=counts[Verb.ADD],
        change=counts[Verb.CHANGE],
        delete=counts[Verb.DELETE],
        changes=tuple(
            PlanLine(
                action=op.verb,
                service=owners.of(op.subject),
                text=op_text(op, observed, firewall),
                op=plain(op, firewall.set_name) if as_data else None,
            )
            for op in plan
        ),
    )


def part_of(plan: PlanView, target: NamedTarget) -> PlanView:
    """The changes for a Service alone."""
    changes = tuple(
        line
        for line in plan.changes
        if line.service and target.is_of(ObjectRef(*line.service.split("/", 1)))
    )
    counts = Counter(line.action for line in changes)
    return PlanView(
        add=counts[Verb.ADD],
        change=counts[Verb.CHANGE],
        delete=counts[Verb.DELETE],
        changes=changes,
    )
