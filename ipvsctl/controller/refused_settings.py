"""Sysctls that this host does not let be set: a problem, and no reason to try again."""

from errno import EACCES, ENOENT, EPERM, EROFS
from typing import Final

from ipvsctl.controller.observers import AuditDone, SyncDone
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.plan.diff.ops import FailedOp, Report, SetSysctl

_LASTING: Final = frozenset({EROFS, EACCES, EPERM, ENOENT})
"""Read-only, not permitted, or not there, as without nf_conntrack."""


def is_lasting(failure: FailedOp) -> bool:
    """Whether the op would fail again if it were tried a moment later.

    The audits that come anyway try often enough.
    """
    return isinstance(failure.op, SetSysctl) and failure.errno in _LASTING


def to_try_again(report: Report) -> tuple[FailedOp, ...]:
    """The failed ops that an audit is to try again soon."""
    failed = report.failed
    return tuple(f for f in failed if not is_lasting(f)) if failed else failed


class RefusedSettings:
    """See `Observer`; tells nobody, but has a problem for each such sysctl.

    Args:
        node: the name of this node.
    """

    def __init__(self, node: str) -> None:
        self._node = ObjectRef("", node)
        self._reasons: dict[SetSysctl, str] = {}

    async def audited(self, done: AuditDone) -> None:
        """See `Observer`."""
        # What an audit does not set is as it should be.
        self._reasons.clear()
        self._note(done.report.report)

    async def synced(self, done: SyncDone) -> None:
        """See `Observer`."""
        if done.report.report.failed:
            self._note(done.report.report)

    def problems(self) -> tuple[Problem, ...]:
        """See `Observer`."""
        return tuple(
            Problem(
                kind=Kind.NODE,
                ref=self._node,
                field=f"sysctl {op.name}",
                value=op.value,
                reason=f"cannot be set: {reason}",
            )
            for op, reason in self._reasons.items()
        )

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Observer`."""

    def _note(self, report: Report) -> None:
        for failure in report.failed:
            if isinstance(failure.op, SetSysctl) and is_lasting(failure):
                self._reasons[failure.op] = failure.reason
