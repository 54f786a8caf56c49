"""Sets of nftables in memory: what Linux does with an op, and what it refuses."""

import errno
from collections.abc import Callable, Iterable

from ipvsctl.kernel.firewall import SetListing
from ipvsctl.model.net import family_of
from ipvsctl.model.sets import (
    ENTRY_FORMS,
    MARKING_ROLES,
    EntryForm,
    SetEntry,
    SetKey,
    SetShape,
)
from ipvsctl.plan.diff.ops import (
    AddEntry,
    CreateSet,
    DeleteEntry,
    DestroySet,
    RebuildSet,
)
from ipvsctl.wire.nftables.sets import ROOM
from tests.fakes.refusal import Refusal

SetOp = CreateSet | RebuildSet | DestroySet | AddEntry | DeleteEntry
Entries = dict[SetEntry, SetEntry]
"""By their identity."""


class FakeNftSets:
    """Sets by key.

    Args:
        is_used: whether some rule refers to a set.
    """

    def __init__(self, is_used: Callable[[SetKey], bool]) -> None:
        self._sets: dict[SetKey, Entries] = {}
        self._is_used = is_used

    def listing(self) -> SetListing:
        """Every set."""
        return SetListing(
            {key: SetShape(ROOM) for key in self._sets},
            {key: frozenset(held.values()) for key, held in self._sets.items()},
            frozenset(),
        )

    def run(self, op: SetOp) -> None:
        """Run one op, or raise Refusal."""
        match op:
            case CreateSet(key):
                if key in self._sets:
                    raise Refusal(errno.EEXIST)
                self._sets[key] = {}
            case RebuildSet(key, _, entries):
                self._held(key)
                self._sets[key] = _with({}, key, entries)
            case DestroySet(SetKey() as key):
                if key in self._sets and self._is_used(key):
                    raise Refusal(errno.EBUSY)
                self._sets.pop(key, None)
            case DestroySet():
                # Nobody has left one.
                pass
            case AddEntry(key, entry):
                self._sets[key] = _with(self._held(key), key, [entry])
            case DeleteEntry(key, entry):
                self._held(key).pop(entry.identity, None)

    def _held(self, key: SetKey) -> Entries:
        if key not in self._sets:
            raise Refusal(errno.ENOENT)
        return self._sets[key]


def _with(held: Entries, key: SetKey, added: Iterable[SetEntry]) -> Entries:
    """The entries of a set with others, in the place of those in their way."""
    found = dict(held)
    for entry in added:
        _check(key, entry)
        for other in [*found]:
            if _is_in_the_way(other, entry):
                del found[other]
        found[entry.identity] = entry
    return found


def _check(key: SetKey, entry: SetEntry) -> None:
    """Refuse an entry that the set's keys have no room for."""
    parts = (entry.address, entry.second_address, entry.network)
    families = {family_of(part) for part in parts if part is not None}
    if (
        _form(entry) is not ENTRY_FORMS[key.role]
        or not families <= {key.family}
        or bool(entry.mark) != (key.role in MARKING_ROLES)
    ):
        raise Refusal(errno.EINVAL)


def _form(entry: SetEntry) -> EntryForm:
    if entry.address is None:
        return EntryForm.PORT
    if entry.port is None:
        return EntryForm.ADDRESS
    if entry.network is not None:
        return EntryForm.PLACE_AND_NETWORK
    if entry.second_address is not None:
        return EntryForm.PLACE_AND_ADDRESS
    return EntryForm.PLACE


def _is_in_the_way(held: SetEntry, entry: SetEntry) -> bool:
    """Whether a network overlaps with another of the same place."""
    if held.network is None or entry.network is None or held == entry:
        return False
    same = (held.address, held.protocol, held.port)
    return same == (entry.address, entry.protocol, entry.port) and (
        held.network.overlaps(entry.network)
    )
