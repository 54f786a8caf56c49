"""Ops about entries of one set travel together."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from ipvsctl.model.sets import SetEntry, SetKey
from ipvsctl.plan.diff.kinds import Verb
from ipvsctl.plan.diff.ops import AddEntry, DeleteEntry, Op


def grouped(ops: Sequence[Op], most: int) -> Iterator[Sequence[Op]]:
    """Ops that share a message, in order.

    Args:
        ops: about sets and entries.
        most: entries in one message.
    """
    for target, run in groupby(ops, key=_target):
        group = tuple(run)
        size = 1 if target is None else most
        for start in range(0, len(group), size):
            yield group[start : start + size]


def entries_of(group: Sequence[Op]) -> Iterator[SetEntry]:
    """The entries that ops are about."""
    return (op.entry for op in group if isinstance(op, AddEntry | DeleteEntry))


def _target(op: Op) -> tuple[Verb, SetKey] | None:
    if isinstance(op, AddEntry | DeleteEntry):
        return op.verb, op.key
    return None
