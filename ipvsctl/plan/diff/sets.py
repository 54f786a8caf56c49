"""What must change in sets and their entries."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import msgspec

from ipvsctl.model.ipset import SetEntry, SetSpec
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import AddEntry, CreateSet, DeleteEntry, DestroySet, SwapSets
from ipvsctl.plan.diff.plan_builder import PlanBuilder
from ipvsctl.plan.diff.stages import Stage
from ipvsctl.plan.rules.catalogue import TEMPORARY_PREFIX, temporary_name

NOTHING: frozenset[SetEntry] = frozenset()


def diff_sets(
    plan: PlanBuilder, observed: NodeState, desired: NodeState
) -> Mapping[str, AbstractSet[SetEntry]]:
    """Create, rebuild and destroy sets.

    Returns:
        What each set holds once that is done, by name.
    """
    holds = dict(observed.entries)
    for name in observed.sets:
        if name in desired.sets:
            continue
        # Its entries go with it. One half-built by a process that died is in the way
        # of the next rebuild; no rule refers to it, so it can go first.
        holds.pop(name, None)
        if name.startswith(TEMPORARY_PREFIX):
            plan.place(Stage.SETS, DestroySet(name))
        else:
            plan.add(DestroySet(name))
    for name, spec in desired.sets.items():
        known = observed.sets.get(name)
        if known is None:
            holds.pop(name, None)
            plan.add(CreateSet(spec))
        elif (known.type, known.family) != (spec.type, spec.family):
            # Another type cannot be swapped in. A rule that still refers to it makes
            # this fail; the rules are rewritten next, and the next audit succeeds.
            holds.pop(name, None)
            plan.place(Stage.SETS, DestroySet(name))
            plan.add(CreateSet(spec))
        elif known.maxelem < spec.maxelem or known.skbinfo != spec.skbinfo:
            wanted = desired.entries.get(name, NOTHING)
            marked = {entry.identity for entry in wanted if entry.mark}
            held = holds.get(name, NOTHING)
            holds[name] = {e for e in held if e.identity not in marked} | wanted
            _rebuild_set(plan, spec, holds[name])
    return holds


def _rebuild_set(
    plan: PlanBuilder, spec: SetSpec, entries: AbstractSet[SetEntry]
) -> None:
    """Build a larger set aside and swap it in, so that no packet meets it empty."""
    aside = msgspec.structs.replace(spec, name=temporary_name(spec.name))
    plan.add(CreateSet(aside))
    for entry in entries:
        plan.place(Stage.SETS, AddEntry(aside.name, entry))
    plan.add(SwapSets(aside.name, spec.name))
    plan.place(Stage.SETS, DestroySet(aside.name))


def add_entries(
    plan: PlanBuilder, name: str, held: AbstractSet[SetEntry], desired: NodeState
) -> None:
    """Add the entries that a set lacks."""
    for entry in desired.entries.get(name, NOTHING):
        if entry not in held:
            plan.add(AddEntry(name, entry))


def remove_entries(
    plan: PlanBuilder, name: str, held: AbstractSet[SetEntry], desired: NodeState
) -> None:
    """Remove the entries that a set has for nothing."""
    wanted = desired.entries.get(name, NOTHING)
    gone = held - wanted
    # One that only has another mark was not added but changed.
    marked = {entry.identity for entry in wanted if entry.mark} if gone else ()
    for entry in sorted(gone, key=str):
        if entry.identity not in marked:
            plan.add(DeleteEntry(name, entry))
