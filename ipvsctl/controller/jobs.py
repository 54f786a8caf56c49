"""The short jobs of the worker: each prepares a change and imposes it, in one step."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import msgspec

from ipvsctl.cluster.taken import Taken
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.sync_report import SyncReport
from ipvsctl.model.errors import KernelError, WireError
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.problem import ObjectRef, Problem
from ipvsctl.model.problem_book import Subject
from ipvsctl.model.state import EMPTY
from ipvsctl.plan.union.desired_change import DesiredChange


class Aftermath(msgspec.Struct, frozen=True, kw_only=True):
    """How a job leaves the desired state, for the thread that waited for it.

    Attributes:
        problems: of each object whose compiled problems may be others since the job
            before, all that it has now.
        doubts: what could not be read of the input.
        is_holding: something stays in the kernel since it may be wanted.
        unfinished: the large Service that is compiled or put into place just now.
        has_parts: another sync would have something to do.
        has_large: a large Service waits to be compiled.
    """

    problems: Mapping[Subject, tuple[Problem, ...]] = EMPTY
    doubts: tuple[str, ...] = ()
    is_holding: bool = False
    unfinished: ObjectRef | None = None
    has_parts: bool = False
    has_large: bool = False


class SyncOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a job that was to impose a change has come to.

    Attributes:
        change: what was compiled.
        report: what was imposed; None if nothing was.
        reason: why the kernel could not be asked; "" if it was, or was not to be.
    """

    change: DesiredChange
    report: SyncReport | None
    reason: str = ""
    aftermath: Aftermath


def sync_some(reconciler: Reconciler, taken: Taken) -> SyncOutcome:
    """Compile some of what is dirty and impose it, unless that needs an audit."""
    change = reconciler.prepare_some(taken)
    if change.needs_audit:
        left = aftermath(reconciler)
        return SyncOutcome(change=change, report=None, aftermath=left)
    return _imposed(reconciler, change)


def check_drains(
    reconciler: Reconciler, keys: AbstractSet[VirtualServerKey]
) -> SyncOutcome:
    """Look at virtual servers that drain, and end the drains that are over."""
    return _imposed(reconciler, reconciler.recheck_drains(keys))


def aftermath(reconciler: Reconciler) -> Aftermath:
    """How the desired state is left; its new problems are told once."""
    book = reconciler.compiled_problems
    return Aftermath(
        problems={subject: book.of(subject) for subject in book.take_changed()},
        doubts=reconciler.doubts,
        is_holding=reconciler.hold is not None,
        unfinished=reconciler.unfinished,
        has_parts=reconciler.has_parts,
        has_large=reconciler.has_large,
    )


def _imposed(reconciler: Reconciler, change: DesiredChange) -> SyncOutcome:
    report, reason = None, ""
    try:
        report = reconciler.sync(change)
    except (KernelError, WireError) as error:
        reason = str(error)
    left = aftermath(reconciler)
    return SyncOutcome(change=change, report=report, reason=reason, aftermath=left)
