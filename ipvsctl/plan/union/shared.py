"""Things that several Services may need at once: set entries and VIPs, counted."""

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
    """The entries and VIPs that came and went between two looks.

    Attributes:
        sets_before, sets_now: the sets that must be made anew, with more room: a set
            cannot grow in place.
        came_entries, gone_entries: set -> entries, if any came or went there. Of a set
            that is made anew, all that it is to hold, and all that it held.
    """

    sets_before: Mapping[SetKey, SetShape]
    sets_now: Mapping[SetKey, SetShape]
    came_entries: Mapping[SetKey, frozenset[SetEntry]]
    gone_entries: Mapping[SetKey, frozenset[SetEntry]]
    came_vips: frozenset[IPAddress]
    gone_vips: frozenset[IPAddress]


class Shared:
    """The set entries and VIPs that are needed, each as long as somebody needs it."""

    def __init__(self, families: Iterable[IPFamily], roles: Iterable[SetRole]) -> None:
        roles = tuple(roles)
        self._entries: dict[SetKey, Counted[SetEntry]] = {
            set_key(role, family): Counted() for family in families for role in roles
        }
        self._touched: set[SetKey] = set()
        """The sets whose entries may have changed since the last look."""
        self._room = dict.fromkeys(self._entries, DEFAULT_ROOM)
        """Set -> for how many entries it was made last."""
        self._vips: Counted[IPAddress] = Counted()
        self._foreign: dict[IPAddress | None, set[VirtualServerKey]] = {}
        """Address -> the virtual servers of others there."""

    @property
    def vips(self) -> AbstractSet[IPAddress]:
        """The VIPs that are to be bound; a view that follows changes."""
        return self._vips.counts.keys()

    @property
    def counted_vips(self) -> Counted[IPAddress]:
        """The same, with how they change."""
        return self._vips

    @property
    def counted_entries(self) -> Mapping[SetKey, Counted[SetEntry]]:
        """Set -> the entries that are needed, with how they change."""
        return self._entries

    def entries(self) -> Mapping[SetKey, AbstractSet[SetEntry]]:
        """Set -> the entries that are needed; views that follow changes."""
        return {key: held.counts.keys() for key, held in self._entries.items()}

    def sets(self) -> Mapping[SetKey, SetShape]:
        """The sets, with room for their entries and for more to come."""
        return {key: SetShape(self._room_for(key)) for key in self._entries}

    def add(self, member: SetMember) -> None:
        """Note that one owner more needs an entry."""
        self._touched.add(member.key)
        self._entries[member.key].add(member.entry)

    def discard(self, member: SetMember) -> None:
        """Note that one owner needs an entry no more."""
        self._touched.add(member.key)
        self._entries[member.key].discard(member.entry)

    def exchange(self, old: SetMember | None, new: SetMember) -> None:
        """Note that an owner needs an entry in place of another, if it had one."""
        self.add(new)
        if old is not None:
            self.discard(old)

    def replace(self, old: ServerProgram | None, new: ServerProgram | None) -> None:
        """Count the entries and the VIP of one virtual server in place of another's.

        What both need never counts as gone.
        """
        if new is not None:
            for member in _needs(new):
                self.add(member)
            if (vip := _vip(new)) is not None:
                self._add_vip(vip)
        if old is not None:
            for member in _needs(old):
                self.discard(member)
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
    ) -> tuple[dict[SetKey, set[SetEntry]], set[IPAddress]]:
        """The entries (by set) and VIPs that only these virtual servers need."""
        servers = tuple(servers)
        entries: dict[SetKey, set[SetEntry]] = {}
        for member, count in Counter(n for s in servers for n in _needs(s)).items():
            if self._entries[member.key].counts[member.entry] == count:
                entries.setdefault(member.key, set()).add(member.entry)
        vips = Counter(vip for s in servers if (vip := _vip(s)) is not None)
        alone = {vip for vip, count in vips.items() if self._vips.counts[vip] == count}
        return entries, alone

    def take_change(self) -> SharedChange:
        """The entries and VIPs that came and went since the last call."""
        came: dict[SetKey, frozenset[SetEntry]] = {}
        gone: dict[SetKey, frozenset[SetEntry]] = {}
        sets_before: dict[SetKey, SetShape] = {}
        sets_now: dict[SetKey, SetShape] = {}
        for key in self._touched:
            held = self._entries[key]
            changed = held.take_change()
            if any(changed):
                came[key], gone[key] = changed
            if len(held.counts) > self._room[key]:
                sets_before[key] = SetShape(self._room[key])
                self._room[key] = self._room_for(key)
                sets_now[key] = SetShape(self._room[key])
                every = frozenset(held.counts)
                came[key], gone[key] = every, (every - changed[0]) | changed[1]
        self._touched.clear()
        came_vips, gone_vips = self._vips.take_change()
        return SharedChange(
            sets_before=sets_before,
            sets_now=sets_now,
            came_entries=came,
            gone_entries=gone,
            came_vips=came_vips,
            gone_vips=gone_vips,
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

    def _room_for(self, key: SetKey) -> int:
        return _room_for(len(self._entries[key].counts))


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
    """For how many entries a set is made: the default, or more with a quarter free.

    A set cannot grow in place; the room to spare means it is seldom rebuilt.
    """
    room = DEFAULT_ROOM
    if entries <= room:
        return room
    while room * 3 // 4 < entries:
        room *= 2
    return room
