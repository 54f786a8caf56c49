"""What several Services may need at once: set entries and VIPs, counted."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.model.sets import SetEntry, SetKey, SetRole, SetShape, set_key
from ipvsctl.plan.service.program import ServerProgram, SetMember
from ipvsctl.plan.union.counted import Counted

DEFAULT_ROOM: Final = 1 << 16
"""Entries a set is made for unless more are needed: 65,536, as kube-proxy's.

kube-proxy does not start on sets of another size: `ipset create -exist` accepts a set
only if it was made alike (ip_set_hash_gen.h:mtype_same_set)."""


class SharedChange(msgspec.Struct, frozen=True, kw_only=True):
    """What came and what went.

    Attributes:
        came_entries, gone_entries: by set.
        is_overfull: a set has not room for what is in it.
    """

    came_entries: Mapping[SetKey, frozenset[SetEntry]]
    gone_entries: Mapping[SetKey, frozenset[SetEntry]]
    came_vips: frozenset[IPAddress]
    gone_vips: frozenset[IPAddress]
    is_overfull: bool


class Shared:
    """The set entries and VIPs that are needed, each as long as somebody needs it."""

    def __init__(self, families: Iterable[IPFamily]) -> None:
        self._entries: dict[SetKey, Counted[SetEntry]] = {
            set_key(role, family): Counted() for family in families for role in SetRole
        }
        self._vips: Counted[IPAddress] = Counted()
        self._foreign: dict[IPAddress | None, set[VirtualServerKey]] = {}
        self._room = dict.fromkeys(self._entries, DEFAULT_ROOM)

    @property
    def vips(self) -> AbstractSet[IPAddress]:
        """The VIPs that are to be bound; a view that follows changes."""
        return self._vips.counts.keys()

    def entries(self) -> Mapping[SetKey, AbstractSet[SetEntry]]:
        """The entries by set; views that follow changes."""
        return {key: held.counts.keys() for key, held in self._entries.items()}

    def add(self, member: SetMember) -> None:
        """Somebody needs an entry."""
        self._entries[member.key].add(member.entry)

    def discard(self, member: SetMember) -> None:
        """He needs it no more."""
        self._entries[member.key].discard(member.entry)

    def replace(self, old: ServerProgram | None, new: ServerProgram | None) -> None:
        """One virtual server needs what it needs in place of another.

        What both need never counts as gone.
        """
        if new is not None:
            for member in _needs(new):
                self._entries[member.key].add(member.entry)
            if (vip := _vip(new)) is not None:
                self._add_vip(vip)
        if old is not None:
            for member in _needs(old):
                self._entries[member.key].discard(member.entry)
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
    ) -> tuple[dict[SetKey, set[SetEntry]], set[IPAddress]]:
        """The entries and VIPs that nobody but these virtual servers needs."""
        servers = tuple(servers)
        entries: dict[SetKey, set[SetEntry]] = {}
        for member, count in Counter(n for s in servers for n in _needs(s)).items():
            if self._entries[member.key].counts[member.entry] == count:
                entries.setdefault(member.key, set()).add(member.entry)
        vips = Counter(vip for s in servers if (vip := _vip(s)) is not None)
        alone = {vip for vip, count in vips.items() if self._vips.counts[vip] == count}
        return entries, alone

    def take_change(self) -> SharedChange:
        """What came and went since the last call."""
        came, gone = {}, {}
        is_overfull = False
        for key, held in self._entries.items():
            came[key], gone[key] = held.take_change()
            is_overfull |= len(held.counts) > self._room[key]
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

    def sets(self) -> Mapping[SetKey, SetShape]:
        """The sets with room for what is in them, and for more until they are full."""
        for key, held in self._entries.items():
            self._room[key] = _room_for(len(held.counts))
        return {key: SetShape(room) for key, room in self._room.items()}


def bound_entry(vip: IPAddress) -> SetMember:
    """The entry of an address that is a VIP and nothing else."""
    return SetMember(set_key(SetRole.IPVS_IPS, family_of(vip)), SetEntry(address=vip))


def _foreign_entry(key: VirtualServerKey) -> SetMember:
    entry = SetEntry(address=key.address, protocol=key.protocol, port=key.port)
    return SetMember(set_key(SetRole.FOREIGN, key.family), entry)


def _vip(server: ServerProgram) -> IPAddress | None:
    return server.server.key.address if server.is_bound else None


def _needs(server: ServerProgram) -> Iterator[SetMember]:
    yield from server.entries
    if (vip := _vip(server)) is not None:
        yield bound_entry(vip)


def _room_for(entries: int) -> int:
    """Entries to make a set for: the default, or a power of two with a quarter free.

    A set cannot grow in place; the room to spare means it is seldom rebuilt.
    """
    room = DEFAULT_ROOM
    if entries <= room:
        return room
    while room * 3 // 4 < entries:
        room *= 2
    return room
