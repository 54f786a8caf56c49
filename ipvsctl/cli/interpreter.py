"""How the daemon has Python run: when it collects garbage, when threads take turns.

Nearly all that a node holds lives as long as the node serves it, and is freed by
counting references. Collections find nothing there, but walk all of it: while the first
state comes in they take as long as reading it does, and one that falls between an event
and its sync delays that. So nothing is collected before the first audit has ended, and
the objects there are then are never looked at again: not even once, which would stop
probes for a tenth of a second, and would find little.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ipvsctl.cli import allocator
from ipvsctl.controller.observers import AuditDone, Nobody

_THRESHOLDS: Final = (10_000, 200, 100)
"""Objects more than freed ones until the youngest are looked at, and how often those
are until older ones: a few milliseconds at a time, twice or thrice in an audit."""


_SWITCH_S: Final = 0.001
"""For how long a thread that computes keeps the others from Python. The event loop asks
for its turn each time that it wakes up, and a change of an endpoint wakes it up some
ten times; with the interpreter's own 5 ms, probes and events would wait for that
whenever the worker is compiling or an answer to `status` is being made."""


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Have threads take turns more often in the block."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def held_back() -> Iterator[None]:
    """Collect nothing in the block, until `settle`."""
    # What imports have left.
    gc.collect()
    gc.disable()
    before = gc.get_threshold()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.enable()
        gc.unfreeze()


class SettlingObserver(Nobody):
    """Collects again once everything has been imposed; see `observers.Observer`."""

    async def audited(self, done: AuditDone) -> None:
        """See `observers.Observer`."""
        if done.is_first:
            settle()


def settle() -> None:
    """Collect again, but only among objects that come from now on, and seldom.

    Objects that an audit has read are young while the audit lasts, and gone after it:
    with the interpreter's thresholds they would be walked time and again.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()
    # What the first state came in, and was imposed with, is not needed again.
    allocator.give_back()
