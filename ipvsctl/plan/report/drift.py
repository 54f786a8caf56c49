"""Drift: changes by others that an audit repairs."""

from collections.abc import Collection, Iterator
from typing import Final

from ipvsctl.model.state import EMPTY, Observed
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.diff.ops import DeleteRealServer, Op, Plan
from ipvsctl.plan.union.desired_change import DesiredChange

DRIFTING_KINDS: Final = frozenset(ObjectKind) - {ObjectKind.FLOWS}
"""The kinds of object that somebody can change; that a flow is stale is nobody's
doing."""

_REMADE_KINDS: Final = frozenset({ObjectKind.ADDRESS, ObjectKind.ROUTE})
"""What an audit changes for another way of binding."""


def find_drift(
    plan: Plan,
    observed: Observed,
    changes: Collection[DesiredChange],
    tried: Collection[str],
) -> Iterator[Op]:
    """The ops of an audit that no event is the reason of.

    Args:
        plan: of the audit.
        observed: what it was made from.
        changes: what was desired anew.
        tried: the ops that failed before, as text.
    """
    if not plan or any(change.ends_hold for change in changes):
        return
    changed = {subject for change in changes for subject in change.subjects()}
    # What needs an audit is in no state of the change.
    remade = any(change.needs_audit for change in changes)
    for op in plan:
        if op.kind not in DRIFTING_KINDS or _ends_drain(op, observed):
            continue
        if op.subject in changed or (remade and op.kind in _REMADE_KINDS):
            continue
        if tried and str(op) in tried:
            continue
        yield op


def _ends_drain(op: Op, observed: Observed) -> bool:
    """Whether a real server goes that took no new connections any more."""
    if not isinstance(op, DeleteRealServer):
        return False
    held = observed.state.real_servers.get(op.virtual_server, EMPTY).get(op.key)
    return held is not None and held.weight == 0
