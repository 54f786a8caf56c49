"""What changes have touched since some moment, and which ops that concerns."""

from collections.abc import Iterable
from itertools import islice

from ipvsctl.model.ipset import SetEntry
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress
from ipvsctl.plan.diff.ops import (
    AddEntry,
    AddRealServer,
    AddRoute,
    AddVirtualServer,
    BindAddress,
    DeleteEntry,
    DeleteRealServer,
    DeleteRoute,
    DeleteStaleFlows,
    DeleteVirtualServer,
    Op,
    UnbindAddress,
    UpdateRealServer,
    UpdateRoute,
    UpdateVirtualServer,
)
from ipvsctl.plan.union.desired_change import DesiredChange

_Subject = VirtualServerKey | tuple[str, SetEntry] | IPAddress | None


class ConcurrentChanges:
    """Virtual servers, entries and addresses that changes were about.

    What was read before a change, and planned from that, is not true of them any more;
    of everything else it is.
    """

    def __init__(self) -> None:
        self._subjects: set[_Subject] = set()

    @property
    def keys(self) -> frozenset[VirtualServerKey]:
        """The virtual servers."""
        return frozenset(s for s in self._subjects if isinstance(s, VirtualServerKey))

    def add(self, change: DesiredChange) -> None:
        """Take note of a change that is about to be imposed."""
        self._subjects |= change.keys
        for state in (change.desired, change.presumed):
            for name, entries in state.entries.items():
                self._subjects.update((name, entry.identity) for entry in entries)
            self._subjects |= state.addresses
            self._subjects |= state.routes.keys()

    def add_ops(self, ops: Iterable[Op]) -> None:
        """Take note of ops that have been done."""
        self._subjects.update(map(_subject, ops))
        self._subjects.discard(None)

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
        return bool(self._subjects) and _subject(op) in self._subjects


def _subject(op: Op) -> _Subject:
    """What an op is about; None for what no change of a Service is about."""
    match op:
        case AddVirtualServer(server) | UpdateVirtualServer(server):
            return server.key
        case AddEntry(set_name, entry) | DeleteEntry(set_name, entry):
            return set_name, entry.identity
        case (
            DeleteVirtualServer(subject)
            | AddRealServer(subject)
            | UpdateRealServer(subject)
            | DeleteRealServer(subject)
            | DeleteStaleFlows(subject)
            | BindAddress(subject)
            | UnbindAddress(subject)
            | AddRoute(subject)
            | UpdateRoute(subject)
            | DeleteRoute(subject)
        ):
            return subject
        case _:
            return None
