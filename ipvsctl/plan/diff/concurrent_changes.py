"""What changes have touched since some moment, and which ops that concerns."""

from collections.abc import Iterable
from itertools import islice

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.subject import Subject
from ipvsctl.plan.diff.ops import Op
from ipvsctl.plan.union.desired_change import DesiredChange


class ConcurrentChanges:
    """The subjects of changes.

    What was read before a change, and planned from that, is not true of them any more;
    of everything else it is.
    """

    def __init__(self) -> None:
        self._subjects: set[Subject] = set()

    @property
    def keys(self) -> frozenset[VirtualServerKey]:
        """The virtual servers."""
        return frozenset(s for s in self._subjects if isinstance(s, VirtualServerKey))

    def add(self, change: DesiredChange) -> None:
        """Take note of a change that is about to be imposed."""
        self._subjects.update(change.subjects())

    def add_ops(self, ops: Iterable[Op]) -> None:
        """Take note of ops that have been done."""
        self._subjects.update(op.subject for op in ops)

    def take_keys(self, count: int) -> frozenset[VirtualServerKey]:
        """Some of the virtual servers, which are read again: they count no more."""
        keys = frozenset(islice(self.keys, count))
        self._subjects -= keys
        return keys

    def has(self, key: VirtualServerKey) -> bool:
        """Whether a change was about a virtual server."""
        return key in self._subjects

    def concerns(self, op: Op) -> bool:
        """Whether an op is about something that was touched."""
        return bool(self._subjects) and op.subject in self._subjects
