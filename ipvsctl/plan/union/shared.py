"""Things that several Services may need at once: set entries and VIPs, counted."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from ipvsctl.model.ipset import SetEntry, SetSpec
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.plan.rules.catalogue import DEFAULT_MAXELEM, SetRole, set_name, set_spec
from ipvsctl.plan.service.program import NamedEntry, ServerProgram
from ipvsctl.plan.union.counted import Counted

_NO_ENTRIES: frozenset[SetEntry] = frozenset()


class SharedChange(msgspec.Struct, frozen=True, kw_only=True):
    """The entries and VIPs that came and went between two looks.

    Attributes:
        came_entries, gone_entries: set name -> entries, with every set in it.
        is_overfull: a set has more entries than the last audit gave it room for.
    """

    came_entries: Mapping[str, frozenset[SetEntry]]
    gone_entries: Mapping[str, frozenset[SetEntry]]
    came_vips: frozenset[IPAddress]
    gone_vips: frozenset[IPAddress]
    is_overfull: bool


class Shared:
    """The set entries and VIPs that are needed, each as long as somebody needs it."""

    def __init__(self, families: Iterable[IPFamily]) -> None:
        self._sets = {
            set_name(role, family): (role, family)
            for family in families
            for role in SetRole
        }
        self._entries: dict[str, Counted[SetEntry]] = {n: Counted() for n in self._sets}
        self._touched: set[str] = set()
        """Names of the sets whose entries may have changed since the last look."""
        self._room = dict.fromkeys(self._sets, DEFAULT_MAXELEM)
        """Set name -> for how many entries the last audit makes the set."""
        self._overfull: set[str] = set()
        self._vips: Counted[IPAddress] = Counted()
        self._foreign: dict[IPAddress | None, set[VirtualServerKey]] = {}
        """Address -> the virtual servers of others there."""

    @property
    def vips(self) -> AbstractSet[IPAddress]:
        """The VIPs that are to be bound; a view that follows changes."""
        return self._vips.counts.keys()

    def entries(self) -> Mapping[str, AbstractSet[SetEntry]]:
        """Set name -> the entries that are needed; views that follow changes."""
        return {name: held.counts.keys() for name, held in self._entries.items()}

    def specs(self) -> Mapping[str, SetSpec]:
        """The sets by name, with room for their entries and for more to come."""
        return {
            name: set_spec(role, family, maxelem=self._room_for(name))
            for name, (role, family) in self._sets.items()
        }

    def note_room(self) -> None:
        """Take note that an audit makes the sets as `specs` has them now."""
        self._room = {name: self._room_for(name) for name in self._sets}
        self._overfull.clear()

    def add(self, named: NamedEntry) -> None:
        """Note that one owner more needs an entry."""
        self._touched.add(named.set_name)
        self._entries[named.set_name].add(named.entry)

    def discard(self, named: NamedEntry) -> None:
        """Note that one owner needs an entry no more."""
        self._touched.add(named.set_name)
        self._entries[named.set_name].discard(named.entry)

    def replace(self, old: ServerProgram | None, new: ServerProgram | None) -> None:
        """Count the entries and the VIP of one virtual server in place of another's.

        What both need never counts as gone.
        """
        if new is not None:
            for named in _needs(new):
                self.add(named)
            if (vip := _vip(new)) is not None:
                self._add_vip(vip)
        if old is not None:
            for named in _needs(old):
                self.discard(named)
            if (vip := _vip(old)) is not None:
                self._discard_vip(vip)

    def set_foreign(self, key: VirtualServerKey, *, is_foreign: bool) -> None:
        """Note that a virtual server has become, or ceased to be, another's."""
        beside = self._foreign.setdefault(key.address, set())
        if is_foreign:
            beside.add(key)
        else:
            beside.remove(key)
            if not beside:
                del self._foreign[key.address]
        if key.address in self.vips:
            (self.add if is_foreign else self.discard)(_foreign_entry(key))

    def needed_alone_by(
        self, servers: Iterable[ServerProgram]
    ) -> tuple[dict[str, set[SetEntry]], set[IPAddress]]:
        """The entries (by set name) and VIPs that only these virtual servers need."""
        servers = tuple(servers)
        entries: dict[str, set[SetEntry]] = {}
        for named, count in Counter(n for s in servers for n in _needs(s)).items():
            if self._entries[named.set_name].counts[named.entry] == count:
                entries.setdefault(named.set_name, set()).add(named.entry)
        vips = Counter(vip for s in servers if (vip := _vip(s)) is not None)
        alone = {vip for vip, count in vips.items() if self._vips.counts[vip] == count}
        return entries, alone

    def take_change(self) -> SharedChange:
        """The entries and VIPs that came and went since the last call."""
        came = dict.fromkeys(self._sets, _NO_ENTRIES)
        gone = dict.fromkeys(self._sets, _NO_ENTRIES)
        for name in self._touched:
            held = self._entries[name]
            came[name], gone[name] = held.take_change()
            if len(held.counts) > self._room[name]:
                self._overfull.add(name)
            else:
                self._overfull.discard(name)
        self._touched.clear()
        came_vips, gone_vips = self._vips.take_change()
        return SharedChange(
            came_entries=came,
            gone_entries=gone,
            came_vips=came_vips,
            gone_vips=gone_vips,
            is_overfull=bool(self._overfull),
        )

    def _add_vip(self, vip: IPAddress) -> None:
        if vip not in self.vips:
            for key in self._foreign.get(vip, ()):
                self.add(_foreign_entry(key))
        self._vips.add(vip)

    def _discard_vip(self, vip: IPAddress) -> None:
        self._vips.discard(vip)
        if vip not in self.vips:
            for key in self._foreign.get(vip, ()):
                self.discard(_foreign_entry(key))

    def _room_for(self, name: str) -> int:
        return _maxelem_for(len(self._entries[name].counts))


def bound_entry(vip: IPAddress) -> NamedEntry:
    """The entry of an address that is a VIP and nothing else."""
    return NamedEntry(set_name(SetRole.IPVS_IPS, family_of(vip)), SetEntry(address=vip))


def _foreign_entry(key: VirtualServerKey) -> NamedEntry:
    entry = SetEntry(address=key.address, protocol=key.protocol, port=key.port)
    return NamedEntry(set_name(SetRole.FOREIGN, key.family), entry)


def _vip(server: ServerProgram) -> IPAddress | None:
    return server.server.key.address if server.is_bound else None


def _needs(server: ServerProgram) -> Iterator[NamedEntry]:
    yield from server.entries
    if (vip := _vip(server)) is not None:
        yield bound_entry(vip)


def _maxelem_for(entries: int) -> int:
    """For how many entries a set is made: the default, or more with a quarter free.

    A set cannot grow in place; the room to spare means it is seldom rebuilt.
    """
    maxelem = DEFAULT_MAXELEM
    if entries <= maxelem:
        return maxelem
    while maxelem * 3 // 4 < entries:
        maxelem *= 2
    return maxelem
