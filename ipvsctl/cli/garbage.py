"""When the daemon's garbage collector runs.

Nearly all that a node holds lives as long as the node serves it, and is freed by
counting references. Collections find nothing there, but walk all of it: while the first
state comes in they take as long as reading it does, and one that falls between an event
and its sync delays that. So nothing is collected before the first audit has ended, and
what there is then is never looked at again.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from ipvsctl.controller.audience import AuditDone, Nobody


@contextmanager
def held_back() -> Iterator[None]:
    """Collect nothing in the block, until `settle`."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


class SettlingAudience(Nobody):
    """Collects again once everything has been imposed; see `audience.Audience`."""

    async def audited(self, done: AuditDone) -> None:
        """See `audience.Audience`."""
        if done.is_first:
            settle()


def settle() -> None:
    """Collect again, but only among what comes from now on."""
    gc.collect()
    gc.freeze()
    gc.enable()
