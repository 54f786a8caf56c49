"""Runs plans: splits them into runs of ops that go the same way.

Nothing is decided here: an op is a request, and the kernel's answer is its outcome.
"""

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Protocol

from ipvsctl.model.errors import describe_errno
from ipvsctl.model.net import family_of
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.diff.ops import (
    ChangeRules,
    FailedOp,
    MakeTunnelEnd,
    Op,
    Plan,
    Report,
)
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
        for transport, run in groupby(plan, key=self._transport):
            ops = tuple(run)
            open_ends = tuple(unguarded(ops, failed))
            if open_ends:
                failed += open_ends
                left = [refused.op for refused in open_ends]
                ops = tuple(op for op in ops if op not in left)
            failed += transport.run(ops)
        return Report(applied=len(plan) - len(failed), failed=tuple(failed))

    def _transport(self, op: Op) -> Transport:
        return self._transports[op.kind]


def unguarded(ops: Iterable[Op], failed: Iterable[FailedOp]) -> Iterator[FailedOp]:
    """The ends of tunnels that nothing would guard, since their rules were refused.

    Args:
        ops: those that are to run next.
        failed: those that were refused before.
    """
    families = {
        refused.op.change.family
        for refused in failed
        if isinstance(refused.op, ChangeRules)
    }
    # There is nothing to look at, nearly always.
    for op in ops if families else ():
        if isinstance(op, MakeTunnelEnd) and family_of(op.end.address) in families:
            reason = "the rules that say who may use it were refused"
            yield FailedOp(op=op, errno=errno.EPERM, reason=reason)


def failed_op(op: Op, ack: Ack) -> FailedOp:
    """The outcome of an op whose request was refused."""
    reason = ack.reason or describe_errno(ack.errno)
    return FailedOp(op=op, errno=ack.errno, reason=reason)
