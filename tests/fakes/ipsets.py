"""ipsets in memory: what Linux does with an op about a set, and what it refuses."""

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ipvsctl.kernel.firewall import SetListing
from ipvsctl.model.net import family_of
from ipvsctl.model.sets import Leftover, SetEntry, SetKey
from ipvsctl.plan.diff.ops import (
    AddEntry,
    CreateSet,
    DeleteEntry,
    DestroySet,
    RebuildSet,
)
from ipvsctl.wire.ipset.sets import (
    KUBE_PROXY_SET_NAMES,
    TEMPORARY_NAMES,
    SetSpec,
    SetType,
    key_of,
    leftover_of,
    set_name,
    set_spec,
    shape_of,
    temporary_name,
)
from tests.fakes.refusal import Refusal

IPSET_ERR_PROTOCOL: Final = 4097
IPSET_ERR_BUSY: Final = 4100
IPSET_ERR_EXIST_SETNAME2: Final = 4101
IPSET_ERR_TYPE_MISMATCH: Final = 4102
IPSET_ERR_INVALID_CIDR: Final = 4104
IPSET_ERR_SKBINFO: Final = 4114
IPSET_ERR_HASH_FULL: Final = 4352

SetOp = CreateSet | RebuildSet | DestroySet | AddEntry | DeleteEntry


@dataclass(slots=True)
class FakeSet:
    """A set; `spec.name` is the name it was created under.

    Attributes:
        entries: by their identity.
    """

    spec: SetSpec
    entries: dict[SetEntry, SetEntry] = field(default_factory=dict)


class FakeIpsets:
    """Sets by name.

    Args:
        is_used: whether some rule refers to the set of a name.
    """

    def __init__(self, is_used: Callable[[str], bool]) -> None:
        self.by_name: dict[str, FakeSet] = {}
        self._is_used = is_used

    def listing(self) -> SetListing:
        """Every set that is ours or of no use."""
        held = {key_of(name): found for name, found in self.by_name.items()}
        ours = {key: found for key, found in held.items() if key is not None}
        names = self.by_name.keys() & (TEMPORARY_NAMES | KUBE_PROXY_SET_NAMES)
        return SetListing(
            {key: shape_of(key, found.spec) for key, found in ours.items()},
            {key: frozenset(found.entries.values()) for key, found in ours.items()},
            {leftover_of(name, self.by_name[name].entries) for name in names},
        )

    def put(self, spec: SetSpec, entries: Iterable[SetEntry] = ()) -> None:
        """Have a set as it is, whoever made it."""
        self.by_name[spec.name] = FakeSet(spec, {e.identity: e for e in entries})

    def run(self, op: SetOp) -> None:
        """Run one op, or raise Refusal."""
        match op:
            case CreateSet(key, room):
                self._create(set_spec(key, room))
            case RebuildSet(key, room, entries):
                self._rebuild(key, room, entries)
            case DestroySet(Leftover(name=name)):
                self._destroy(name)
            case DestroySet(SetKey() as key):
                self._destroy(set_name(key))
            case AddEntry(key, entry):
                self._add(set_name(key), entry)
            case DeleteEntry(key, entry):
                held = self._set_for(set_name(key), entry).entries
                held.pop(entry.identity, None)

    def _create(self, spec: SetSpec) -> None:
        if spec.name in self.by_name:
            raise Refusal(errno.EEXIST)
        self.by_name[spec.name] = FakeSet(spec)

    def _add(self, name: str, entry: SetEntry) -> None:
        found = self._set_for(name, entry)
        is_full = len(found.entries) >= found.spec.maxelem > 0
        if is_full and entry.identity not in found.entries:
            raise Refusal(IPSET_ERR_HASH_FULL)
        found.entries[entry.identity] = entry

    def _destroy(self, name: str) -> None:
        if name in self.by_name and self._is_used(name):
            raise Refusal(IPSET_ERR_BUSY)
        self.by_name.pop(name, None)

    def _rebuild(self, key: SetKey, room: int, entries: Iterable[SetEntry]) -> None:
        aside = temporary_name(key)
        try:
            self._create(msgspec.structs.replace(set_spec(key, room), name=aside))
            for entry in entries:
                self._add(aside, entry)
            self._swap(aside, set_name(key))
        finally:
            self.by_name.pop(aside, None)

    def _swap(self, first: str, second: str) -> None:
        if first not in self.by_name:
            raise Refusal(errno.ENOENT)
        if second not in self.by_name:
            raise Refusal(IPSET_ERR_EXIST_SETNAME2)
        one, other = self.by_name[first], self.by_name[second]
        if (one.spec.type, one.spec.family) != (other.spec.type, other.spec.family):
            raise Refusal(IPSET_ERR_TYPE_MISMATCH)
        self.by_name[first], self.by_name[second] = other, one

    def _set_for(self, name: str, entry: SetEntry) -> FakeSet:
        """The set, if it takes such entries."""
        if name not in self.by_name:
            raise Refusal(errno.ENOENT)
        found = self.by_name[name]
        if _type_of(entry) is not found.spec.type:
            raise Refusal(IPSET_ERR_PROTOCOL)
        for part in (entry.address, entry.second_address, entry.network):
            if part is not None and family_of(part) is not found.spec.family:
                raise Refusal(IPSET_ERR_PROTOCOL)
        if entry.network is not None and entry.network.prefixlen == 0:
            raise Refusal(IPSET_ERR_INVALID_CIDR)
        if entry.mark and not found.spec.skbinfo:
            raise Refusal(IPSET_ERR_SKBINFO)
        return found


def _type_of(entry: SetEntry) -> SetType:
    """The type of the sets that take such entries."""
    if entry.address is None:
        return SetType.BITMAP_PORT
    if entry.port is None:
        return SetType.HASH_IP
    if entry.network is not None:
        return SetType.HASH_IP_PORT_NET
    if entry.second_address is not None:
        return SetType.HASH_IP_PORT_IP
    return SetType.HASH_IP_PORT
