"""What must change in sets and their entries."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from operator import attrgetter

from ipvsctl.model.sets import SetCondition, SetEntry, SetKey
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import (
    AddEntry,
    CreateSet,
    DeleteEntry,
    DestroySet,
    RebuildSet,
    RemoveFormer,
)
from ipvsctl.plan.diff.plan_builder import PlanBuilder
from ipvsctl.plan.diff.stages import Stage

NOTHING: frozenset[SetEntry] = frozenset()


def diff_sets(
    plan: PlanBuilder, observed: NodeState, desired: NodeState
) -> Mapping[SetKey, AbstractSet[SetEntry]]:
    """Create, rebuild and destroy sets.

    Returns:
        What each set holds once that is done.
    """
    holds = dict(observed.entries)
    _remove_sets(plan, observed, desired, holds)
    for key, wanted in desired.sets.items():
        known = observed.sets.get(key)
        if known is None:
            holds.pop(key, None)
            plan.add(CreateSet(key, wanted.room))
        elif known.condition is SetCondition.ALIEN:
            # A rule that still refers to it makes this fail; the rules are rewritten
            # next, and the next audit succeeds.
            holds.pop(key, None)
            plan.place(Stage.SETS, DestroySet(key))
            plan.add(CreateSet(key, wanted.room))
        elif known.room < wanted.room or known.condition is SetCondition.OUTDATED:
            came = desired.entries.get(key, NOTHING)
            marked = {entry.identity for entry in came if entry.mark}
            held = holds.get(key, NOTHING)
            entries = frozenset(e for e in held if e.identity not in marked) | came
            holds[key] = entries
            # What is on its way out must fit as well.
            plan.add(RebuildSet(key, max(wanted.room, len(entries)), entries))
    return holds


def _remove_sets(
    plan: PlanBuilder,
    observed: NodeState,
    desired: NodeState,
    holds: dict[SetKey, AbstractSet[SetEntry]],
) -> None:
    """Destroy the sets that are not wanted; their entries go with them."""
    gone = observed.leftovers - desired.leftovers
    for leftover in sorted(gone, key=attrgetter("name")):
        if leftover.is_half_built:
            # No rule refers to it, so it can go first, before it is in the way.
            plan.place(Stage.SETS, DestroySet(leftover))
        else:
            plan.add(DestroySet(leftover))
    if observed.former is not None and desired.former is None:
        plan.add(RemoveFormer(observed.former.name))
    for key in sorted(observed.sets.keys() - desired.sets.keys()):
        holds.pop(key, None)
        plan.add(DestroySet(key))


def add_entries(
    plan: PlanBuilder, key: SetKey, held: AbstractSet[SetEntry], desired: NodeState
) -> None:
    """Add the entries that a set lacks."""
    for entry in desired.entries.get(key, NOTHING):
        if entry not in held:
            plan.add(AddEntry(key, entry))


def remove_entries(
    plan: PlanBuilder, key: SetKey, held: AbstractSet[SetEntry], desired: NodeState
) -> None:
    """Remove the entries that a set has for nothing."""
    wanted = desired.entries.get(key, NOTHING)
    gone = held - wanted
    # One that only has another mark was not added but changed.
    marked = {entry.identity for entry in wanted if entry.mark} if gone else ()
    for entry in sorted(gone, key=str):
        if entry.identity not in marked:
            plan.add(DeleteEntry(key, entry))
