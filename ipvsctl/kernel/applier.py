"""Runs plans: splits them into runs of ops that go the same way.

Nothing is decided here: an op is a request, and the kernel's answer is its outcome.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Protocol

from ipvsctl.model.errors import describe_errno
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.diff.ops import FailedOp, Op, Plan, Report
from ipvsctl.wire.netlink.messages import Ack


class Transport(Protocol):
    """One way to the kernel, for ops about some kinds of object."""

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """Run ops in order, each whether or not others failed; those that failed.

        Raises:
            KernelError: a socket is dead; ops may or may not have run.
        """
        ...


class Applier:
    """Runs plans.

    Args:
        transport_for: how an op about a kind of object reaches the kernel; ops that
            share a way are sent together.
    """

    def __init__(self, transport_for: Callable[[ObjectKind], Transport]) -> None:
        self._transports = {kind: transport_for(kind) for kind in ObjectKind}

    def apply(self, plan: Plan) -> Report:
        """See `interface.Kernel.apply`.

        Raises:
            KernelError: a socket is dead; ops may or may not have run.
        """
        failed: list[FailedOp] = []
        for transport, ops in groupby(plan, key=self._transport):
            failed += transport.run(tuple(ops))
        return Report(applied=len(plan) - len(failed), failed=tuple(failed))

    def _transport(self, op: Op) -> Transport:
        return self._transports[op.kind]


def failed_op(op: Op, ack: Ack) -> FailedOp:
    """The outcome of an op whose request was refused."""
    reason = ack.reason or describe_errno(ack.errno)
    return FailedOp(op=op, errno=ack.errno, reason=reason)
