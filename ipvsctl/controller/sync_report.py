"""What a sync or an audit has done."""

from collections.abc import Set as AbstractSet
from errno import EEXIST

import msgspec

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.state import Observed
from ipvsctl.plan.diff.ops import AddVirtualServer, FailedOp, Plan, Report
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.desired_change import DesiredChange


class SyncReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one sync or audit did.

    Attributes:
        plan: the ops that were to be done.
        report: what became of them.
        observed: what was read before, of a sync only what it touches.
        touched: virtual servers that syncs have changed after that, and told of.
        duration_s: reading, comparing and applying.
    """

    plan: Plan
    report: Report
    observed: Observed
    touched: frozenset[VirtualServerKey] = frozenset()
    duration_s: float


def with_refusals(
    done: SyncReport, change: DesiredChange, taken: AbstractSet[VirtualServerKey]
) -> SyncReport:
    """The report of a sync as if the kernel had refused some virtual servers.

    Args:
        done: without them.
        change: what the sync was about.
        taken: those that were in the kernel already.
    """
    refused = tuple(
        AddVirtualServer(change.desired.virtual_servers[key]) for key in sorted(taken)
    )
    failed = tuple(
        FailedOp(
            op=op,
            errno=EEXIST,
            reason="the fwmark is somebody else's"
            if op.server.key.fwmark
            else "another one is there already",
        )
        for op in refused
    )
    report = done.report
    return msgspec.structs.replace(
        done,
        plan=(*done.plan, *refused),
        report=Report(applied=report.applied, failed=(*report.failed, *failed)),
    )


def confirm(desired: Desired, plan: Plan, report: Report) -> None:
    """Take note of the virtual servers that are ours since they were added.

    Args:
        desired: knows which are.
        plan: what was to be done.
        report: what became of it.
    """
    added = {op.server.key for op in plan if isinstance(op, AddVirtualServer)}
    if not added:
        return
    failed = {
        failure.op.server.key: failure.errno
        for failure in report.failed
        if isinstance(failure.op, AddVirtualServer)
    }
    desired.confirm(added - failed.keys())
    # It was not there when the kernel was read.
    desired.doubt({key for key, errno in failed.items() if errno == EEXIST})
