"""Comparing and imposing everything in steps, between which syncs may run.

A sync imposes what it is about on its own, so whatever a sync has touched since the
kernel was read is left out of the audit's plan: what was read of it is not true any
more. The next audit looks at it again. All other ops are as right, and in as safe an
order, as if no sync had run: none of them is about what another is about.
"""

from collections.abc import Callable, Container, Generator
from typing import Final

from ipvsctl.controller.drains import DrainClock
from ipvsctl.kernel.interface import Kernel
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.steps import parts
from ipvsctl.plan.diff.concurrent_changes import ConcurrentChanges
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.diff.ops import (
    AddRealServer,
    AddVirtualServer,
    FailedOp,
    Op,
    Plan,
    Report,
)
from ipvsctl.plan.diff.plan import DiffOptions, diff_in_steps, drains

STEP_OPS: Final = 400
"""Ops that are imposed in one step: some ten milliseconds."""

STEP_KEYS: Final = 1000
"""Virtual servers whose drains are looked for in one step."""


def impose_in_steps(
    kernel: Kernel,
    observed: Observed,
    desired: NodeState,
    options: DiffOptions,
    touched: ConcurrentChanges,
) -> Generator[None, None, tuple[Plan, Report] | None]:
    """Impose the whole desired state, but nothing of what has been touched.

    Args:
        kernel: what is changed.
        observed: what it held when `touched` was empty.
        desired: follows changes between two steps.
        options: of the diff.
        touched: grows between two steps.

    Returns:
        What was done; None, and then nothing was, if a set is to be made or made
        anew: entries that come meanwhile would be lost with the old one.
    """
    plan = yield from diff_in_steps(observed, desired, options)
    if any(op.kind is ObjectKind.SET for op in plan):
        return None
    done: list[Op] = []
    failed: list[FailedOp] = []
    # A kernel keeps real servers from these, if it is asked for both at once.
    refused: set[VirtualServerKey] = set()
    for some in parts(plan, STEP_OPS):
        yield
        ops = tuple(
            op for op in some if not (touched.concerns(op) or _is_in(op, refused))
        )
        report = kernel.apply(ops)
        refused.update(
            failure.op.server.key
            for failure in report.failed
            if isinstance(failure.op, AddVirtualServer)
        )
        done += ops
        failed += report.failed
    return tuple(done), Report(applied=len(done) - len(failed), failed=tuple(failed))


def _is_in(op: Op, refused: Container[VirtualServerKey]) -> bool:
    return isinstance(op, AddRealServer) and op.virtual_server in refused


def note_drains_in_steps(
    clock: DrainClock,
    observed: Observed,
    desired: NodeState,
    touched: ConcurrentChanges,
    now_s: Callable[[], float],
) -> Generator[None, None, None]:
    """Tell the clock which real servers drain; those touched were told by a sync."""
    gone = clock.keys - desired.virtual_servers.keys()
    clock.update(gone, (), now_s())
    for some in parts(tuple(desired.virtual_servers), STEP_KEYS):
        yield
        keys = frozenset(key for key in some if not touched.has(key))
        clock.update(keys, drains(observed, desired, keys), now_s())
