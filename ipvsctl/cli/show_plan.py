"""A plan, and its outcome, as text."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from ipvsctl.cli.layout import Line, Span
from ipvsctl.cli.plan_view import PlanLine, PlanView
from ipvsctl.plan.diff.kinds import Verb

_SIGNS: Mapping[Verb, tuple[str, str]] = MappingProxyType(
    {
        Verb.ADD: ("+", "green"),
        Verb.CHANGE: ("~", "yellow"),
        Verb.DELETE: ("-", "red"),
    }
)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a plan.

    Attributes:
        applied: how many ops the kernel accepted.
        failed: why each of the others was refused.
    """

    plan: PlanView
    applied: int
    failed: tuple[str, ...] = ()
    duration_s: float


def plan_lines(
    plan: PlanView, summary: str, nameless: str = "of no known Service"
) -> Iterator[Line]:
    """The changes under the Service they are for, the node's own first.

    Args:
        plan: the changes.
        summary: the last line.
        nameless: title of changes for Services without a name.
    """
    for title, changes in _groups(plan, nameless):
        yield (Span(title, "bold"),)
        for change in changes:
            sign, style = _SIGNS[change.action]
            yield (Span(f"  {sign} {change.text}", style),)
    yield (Span(summary),)


def plan_summary(plan: PlanView) -> str:
    """`12 to add, 3 to change, 1 to delete`."""
    return f"{plan.add} to add, {plan.change} to change, {plan.delete} to delete"


def outcome_summary(outcome: Outcome) -> str:
    """`16 changes in 0.02 s: 12 added, 3 changed, 1 deleted`."""
    plan = outcome.plan
    total = len(plan.changes)
    duration = f"in {outcome.duration_s:.2f} s"
    if outcome.failed:
        failed = len(outcome.failed)
        return f"{outcome.applied} of {total} changes {duration}, {failed} failed"
    return (
        f"{total} changes {duration}:"
        f" {plan.add} added, {plan.change} changed, {plan.delete} deleted"
    )


def _groups(plan: PlanView, nameless: str) -> Iterator[tuple[str, list[PlanLine]]]:
    by_service: dict[str | None, list[PlanLine]] = {}
    for change in plan.changes:
        by_service.setdefault(change.service, []).append(change)
    if None in by_service:
        yield "node", by_service.pop(None)
    others = by_service.pop("", [])
    for service, changes in sorted(by_service.items(), key=lambda item: str(item[0])):
        yield str(service), changes
    if others:
        yield nameless, others
