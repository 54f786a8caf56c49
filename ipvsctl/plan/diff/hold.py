"""What stays in the kernel although nobody is known to want it.

While part of the input cannot be read, what is not desired may be wanted all the same.
A plan then treats what the kernel holds of ours as desired too, so it takes nothing
away, nor adds what would shut it off. Two things are known better and do go: whatever
this process has known to be wanted before, and what a Service that is known has
outside of its present shape (an entry about its own address and port).
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import product
from typing import Final

import msgspec

from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.model.sets import (
    MARKING_ROLES,
    SetCondition,
    SetEntry,
    SetKey,
    SetRole,
    SetShape,
    set_key,
)
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.union.ownership import OwningEntries

_NOTHING: Final[frozenset[SetEntry]] = frozenset()


class Known:
    """What this process has known to be wanted, at some time."""

    def __init__(self) -> None:
        self.keys: set[VirtualServerKey] = set()
        self.entries: dict[SetKey, set[SetEntry]] = {}
        self.vips: set[IPAddress] = set()
        self.real_servers: dict[VirtualServerKey, set[RealServerKey]] = {}

    def add(self, desired: NodeState) -> None:
        """Take note of what is wanted now."""
        self.keys |= desired.virtual_servers.keys()
        for held_in, entries in desired.entries.items():
            self.entries.setdefault(held_in, set()).update(entries)
        self.vips |= desired.addresses
        self.vips |= desired.routes.keys()
        for key, servers in desired.real_servers.items():
            self.real_servers.setdefault(key, set()).update(servers)

    def copy(self) -> "Known":
        """The same, and nothing more later."""
        known = Known()
        known.keys = self.keys.copy()
        known.entries = {name: held.copy() for name, held in self.entries.items()}
        known.vips = self.vips.copy()
        known.real_servers = {k: held.copy() for k, held in self.real_servers.items()}
        return known


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """What may not be taken away.

    Attributes:
        known: what may be, although the rest may not.
        services: virtual servers, entries, addresses and routes of Services that are
            not known stay, as they are.
        endpoints: so do the real servers of all virtual servers.
        unsure: and those of these virtual servers, even the ones once known.
    """

    known: Known
    services: bool = False
    endpoints: bool = False
    unsure: frozenset[VirtualServerKey] = frozenset()

    def is_within(self, other: "Hold") -> bool:
        """Whether the other one holds all that this one does."""
        return (
            self.services <= other.services
            and self.endpoints <= other.endpoints
            and self.unsure <= other.unsure
        )


def with_held(
    observed: Observed,
    desired: NodeState,
    hold: Hold,
    foreign: AbstractSet[VirtualServerKey],
) -> NodeState:
    """The desired state, and with it what is held of the observed one.

    The answer follows no later change.

    Args:
        observed: what the kernel holds.
        desired: what it is to hold; both may be restricted to the same keys.
        hold: what may not be taken away.
        foreign: see `DiffOptions`; Services that are known want these in vain.
    """
    if hold.endpoints or hold.unsure:
        desired = _with_real_servers(observed.state, desired, hold)
    if hold.services:
        desired = _with_services(observed, desired, hold.known, foreign)
    return desired


def _with_real_servers(state: NodeState, desired: NodeState, hold: Hold) -> NodeState:
    keys: Iterable[VirtualServerKey] = hold.unsure & desired.virtual_servers.keys()
    if hold.endpoints:
        keys = tuple(desired.virtual_servers)
    real_servers = dict(desired.real_servers)
    shut = {drops: set(held) for drops, held in _drops(desired.entries)}
    for key in keys:
        wanted = real_servers.get(key, EMPTY)
        kept = dict(_kept_real_servers(state, key, wanted, hold))
        if not kept:
            continue
        real_servers[key] = {**wanted, **kept}
        entry = SetEntry(address=key.address, protocol=key.protocol, port=key.port)
        for drops, entries in shut.items():
            # That no endpoint is on this node is not known either.
            if entry not in state.entries.get(drops, _NOTHING):
                entries.discard(entry)
    return msgspec.structs.replace(
        desired, real_servers=real_servers, entries={**desired.entries, **shut}
    )


def _kept_real_servers(
    state: NodeState,
    key: VirtualServerKey,
    wanted: Mapping[RealServerKey, RealServer],
    hold: Hold,
) -> Iterator[tuple[RealServerKey, RealServer]]:
    held = state.real_servers.get(key, EMPTY)
    if held is wanted:
        return
    known: AbstractSet[RealServerKey] = frozenset()
    if key not in hold.unsure:
        known = hold.known.real_servers.get(key, known)
    for found, server in held.items():
        if found not in wanted and found not in known:
            yield found, server


def _drops(
    entries: Mapping[SetKey, AbstractSet[SetEntry]],
) -> Iterator[tuple[SetKey, AbstractSet[SetEntry]]]:
    """The sets of addresses that are shut while they have no endpoint here."""
    roles = (SetRole.NO_LOCAL_ENDPOINTS, SetRole.TUNNEL_SHUT)
    for family, role in product(IPFamily, roles):
        key = set_key(role, family)
        if key in entries:
            yield key, entries[key]


def _with_services(
    observed: Observed,
    desired: NodeState,
    known: Known,
    foreign: AbstractSet[VirtualServerKey],
) -> NodeState:
    state = observed.state
    settled = desired.virtual_servers.keys() | foreign
    entries = {
        held_in: _kept_entries(held_in, state, desired, known, settled)
        for held_in in state.entries
    }
    marks = {
        (family, entry.mark)
        for family in IPFamily
        for role in MARKING_ROLES
        for entry in (
            *entries.get(set_key(role, family), ()),
            *_formers(state, set_key(role, family)),
        )
    }
    owning = OwningEntries(state, observed.host_addresses)
    servers = {
        key: server
        for key, server in state.virtual_servers.items()
        if key not in settled
        and key not in known.keys
        and ((key.family, key.fwmark) in marks if key.fwmark else key in owning)
    }
    merged = {
        held_in: desired.entries.get(held_in, _NOTHING) | kept
        for held_in, kept in entries.items()
        if kept
    }
    vips = desired.addresses | desired.routes.keys() | known.vips
    return msgspec.structs.replace(
        desired,
        sets=_with_room(state.sets, desired.sets, merged),
        entries={**desired.entries, **merged},
        # They say which virtual servers are a former proxy's, and so ours to keep.
        leftovers={left for left in state.leftovers if not left.is_half_built},
        former=state.former,
        virtual_servers={**desired.virtual_servers, **servers},
        real_servers={
            **desired.real_servers,
            **{key: state.real_servers.get(key, EMPTY) for key in servers},
        },
        addresses=desired.addresses | (state.addresses - vips),
        routes={
            **desired.routes,
            **{vip: state.routes[vip] for vip in state.routes.keys() - vips},
        },
    )


def _formers(state: NodeState, key: SetKey) -> AbstractSet[SetEntry]:
    """The entries of a firewall that stays as long as anything is held."""
    return _NOTHING if state.former is None else state.former.entries.get(key, _NOTHING)


def _kept_entries(
    key: SetKey,
    state: NodeState,
    desired: NodeState,
    known: Known,
    settled: AbstractSet[VirtualServerKey | None],
) -> frozenset[SetEntry]:
    held = state.entries[key]
    wanted_set, found = desired.sets.get(key), state.sets.get(key)
    if desired.sets and (
        wanted_set is None or found is None or found.condition is SetCondition.ALIEN
    ):
        # What is in a set of another kind never owned anything.
        return _NOTHING
    wanted = {entry.identity for entry in desired.entries.get(key, _NOTHING)}
    once = known.entries.get(key, _NOTHING)
    return frozenset(
        entry
        for entry in held - once
        if entry.identity not in wanted and _key_of(entry) not in settled
    )


def _key_of(entry: SetEntry) -> VirtualServerKey | None:
    """The virtual server whose address, protocol and port an entry is about."""
    if entry.address is None or entry.protocol is None:
        return None
    return VirtualServerKey(
        family=family_of(entry.address),
        protocol=entry.protocol,
        address=entry.address,
        port=entry.port or 0,
    )


def _with_room(
    held: Mapping[SetKey, SetShape],
    wanted: Mapping[SetKey, SetShape],
    entries: Mapping[SetKey, AbstractSet[SetEntry]],
) -> Mapping[SetKey, SetShape]:
    """The sets for these entries, large enough."""
    sets = dict(wanted)
    for key in entries:
        shape = wanted.get(key, held.get(key))
        if shape is None:
            continue
        room, needed = shape.room, len(entries[key])
        while 0 < room < needed:
            room *= 2
        sets[key] = SetShape(room)
    return sets
