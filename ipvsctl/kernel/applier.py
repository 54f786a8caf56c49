"""Runs plans: splits them into runs of ops that go the same way.

Nothing is decided here: an op is a request, and the kernel's answer is its outcome.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Protocol

from ipvsctl.model.errors import describe_errno
from ipvsctl.plan.diff.ops import FailedOp, Op, Plan, Report
from ipvsctl.wire.netlink.messages import Ack


class Transport(Protocol):
    """One way to the kernel, for some kinds of op."""

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """Run ops in order, each whether or not others failed; those that failed.

        Raises:
            KernelError: a socket is dead; ops may or may not have run.
        """
        ...


class Applier:
    """Runs plans.

    Args:
        transports: how each kind of op reaches the kernel; kinds that share one are
            sent together.
    """

    def __init__(self, transports: Mapping[type[Op], Transport]) -> None:
        self._transports = transports

    def apply(self, plan: Plan) -> Report:
        """See `seam.Kernel.apply`.

        Raises:
            KernelError: a socket is dead; ops may or may not have run.
        """
        failed: list[FailedOp] = []
        for transport, ops in groupby(plan, key=self._transport):
            failed += transport.run(tuple(ops))
        return Report(applied=len(plan) - len(failed), failed=tuple(failed))

    def _transport(self, op: Op) -> Transport:
        return self._transports[type(op)]


def failed_op(op: Op, ack: Ack) -> FailedOp:
    """The outcome of an op whose request was refused."""
    reason = ack.reason or describe_errno(ack.errno)
    return FailedOp(op=op, errno=ack.errno, reason=reason)
