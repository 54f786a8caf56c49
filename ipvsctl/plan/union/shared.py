"""What several Services may need at once: set entries and VIPs, counted."""

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


class SharedChange(msgspec.Struct, frozen=True, kw_only=True):
    """What came and what went.

    Attributes:
        came_entries, gone_entries: by set name.
        is_overfull: a set has not room for what is in it.
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
        self._vips: Counted[IPAddress] = Counted()
        self._foreign: dict[IPAddress | None, set[VirtualServerKey]] = {}
        self._room = dict.fromkeys(self._sets, DEFAULT_MAXELEM)

    @property
    def vips(self) -> AbstractSet[IPAddress]:
        """The VIPs that are to be bound; a view that follows changes."""
        return self._vips.counts.keys()

    def entries(self) -> Mapping[str, AbstractSet[SetEntry]]:
        """The entries by set name; views that follow changes."""
        return {name: held.counts.keys() for name, held in self._entries.items()}

    def copy_vips(self) -> AbstractSet[IPAddress]:
        """The VIPs as they are now."""
        return self._vips.counts.copy().keys()

    def copy_entries(self) -> Mapping[str, AbstractSet[SetEntry]]:
        """The entries by set name, as they are now."""
        return {n: held.counts.copy().keys() for n, held in self._entries.items()}

    def add(self, named: NamedEntry) -> None:
        """Somebody needs an entry."""
        self._entries[named.set_name].add(named.entry)

    def discard(self, named: NamedEntry) -> None:
        """He needs it no more."""
        self._entries[named.set_name].discard(named.entry)

    def replace(self, old: ServerProgram | None, new: ServerProgram | None) -> None:
        """One virtual server needs what it needs in place of another.

        What both need never counts as gone.
        """
        if new is not None:
            for named in _needs(new):
                self._entries[named.set_name].add(named.entry)
            if (vip := _vip(new)) is not None:
                self._add_vip(vip)
        if old is not None:
            for named in _needs(old):
                self._entries[named.set_name].discard(named.entry)
            if (vip := _vip(old)) is not None:
                self._discard_vip(vip)

    def set_foreign(self, key: VirtualServerKey, *, is_foreign: bool) -> None:
        """A virtual server has become, or ceased to be, another's."""
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
        """The entries and VIPs that nobody but these virtual servers needs."""
        servers = tuple(servers)
        entries: dict[str, set[SetEntry]] = {}
        for named, count in Counter(n for s in servers for n in _needs(s)).items():
            if self._entries[named.set_name].counts[named.entry] == count:
                entries.setdefault(named.set_name, set()).add(named.entry)
        vips = Counter(vip for s in servers if (vip := _vip(s)) is not None)
        alone = {vip for vip, count in vips.items() if self._vips.counts[vip] == count}
        return entries, alone

    def take_change(self) -> SharedChange:
        """What came and went since the last call."""
        came, gone = {}, {}
        is_overfull = False
        for name, held in self._entries.items():
            came[name], gone[name] = held.take_change()
            is_overfull |= len(held.counts) > self._room[name]
        came_vips, gone_vips = self._vips.take_change()
        return SharedChange(
            came_entries=came,
            gone_entries=gone,
            came_vips=came_vips,
            gone_vips=gone_vips,
            is_overfull=is_overfull,
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

    def specs(self) -> Mapping[str, SetSpec]:
        """The sets with room for what is in them, and for more until they are full."""
        specs = {}
        for name, (role, family) in self._sets.items():
            self._room[name] = _room_for(len(self._entries[name].counts))
            specs[name] = set_spec(role, family, maxelem=self._room[name])
        return specs


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


def _room_for(entries: int) -> int:
    """Entries to create a set for: the default, or a power of two with a quarter free.

    A set cannot grow in place; the room to spare means it is seldom rebuilt.
    """
    maxelem = DEFAULT_MAXELEM
    if entries <= maxelem:
        return maxelem
    while maxelem * 3 // 4 < entries:
        maxelem *= 2
    return maxelem
