"""What must change in virtual servers and their real servers."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import product
from typing import Final

import msgspec

from ipvsctl.model.ipvs import (
    RealServerKey,
    RealServers,
    RealServerStats,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress, IPFamily, IPNetwork, Protocol, is_in
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.diff.hold import Hold
from ipvsctl.plan.diff.ops import (
    AddRealServer,
    AddVirtualServer,
    DeleteRealServer,
    DeleteVirtualServer,
    Op,
    UpdateRealServer,
    UpdateVirtualServer,
)
from ipvsctl.plan.diff.plan_builder import PlanBuilder
from ipvsctl.plan.diff.ramp import Ramps
from ipvsctl.plan.diff.sets import NOTHING
from ipvsctl.plan.diff.stages import Stage

_MARKING: Final = (SetRole.SHORT_CIRCUIT, SetRole.TUNNEL_ARRIVAL)
"""The sets that rules take marks from."""

Drain = tuple[VirtualServerKey, RealServerKey]
"""A real server that is, or is to be, at weight 0 until its connections end."""


class DiffOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan depends on besides the two states.

    Attributes:
        vip_link: name of the VIP link.
        urgent: addresses whose Services must work before all others.
        expired_drains: real servers that are deleted now, connections or not.
        exclude: virtual servers with an address in one of these networks are changed
            if they are desired, but never deleted.
        short_circuits: fwmark virtual server -> that of the address it is for.
        hold: what may not be taken away; None is nothing.
        foreign: virtual servers that are left alone whatever the sets say.
        ramps: which real servers start slowly; None if none does.
        whole: virtual server of whose real servers the states have a portion -> all
            that it is to have.
    """

    vip_link: str
    urgent: frozenset[IPAddress] = frozenset()
    expired_drains: frozenset[Drain] = frozenset()
    exclude: tuple[IPNetwork, ...] = ()
    short_circuits: Mapping[VirtualServerKey, VirtualServerKey] = EMPTY
    hold: Hold | None = None
    foreign: AbstractSet[VirtualServerKey] = frozenset()
    ramps: Ramps | None = None
    whole: Mapping[VirtualServerKey, RealServers] = EMPTY

    def excludes(self, key: VirtualServerKey) -> bool:
        """Whether a virtual server stays although nobody wants it."""
        address = key.address
        return key in self.foreign or (
            address is not None
            and any(is_in(address, network) for network in self.exclude)
        )


def without_moved(
    plan: PlanBuilder, observed: Observed, desired: NodeState, options: DiffOptions
) -> Observed:
    """Delete the virtual servers that a changed mark takes their last entry from.

    Returns:
        What is observed then.
    """
    state = observed.state
    if not (state.entries and desired.entries):
        return observed
    moved = set()
    for family, role in product(IPFamily, _MARKING):
        marking = set_key(role, family)
        held = state.entries.get(marking, NOTHING)
        wanted = desired.entries.get(marking, NOTHING)
        changed = {entry.identity for entry in wanted - held}
        old = {entry.mark for entry in held if entry.identity in changed}
        old -= {entry.mark for entry in held if entry.identity not in changed}
        moved |= {VirtualServerKey(family=family, fwmark=m) for m in old}
    moved &= state.virtual_servers.keys() - options.foreign
    if not moved:
        return observed
    for key in sorted(moved):
        plan.place(Stage.MOVED_MARKS, DeleteVirtualServer(key))
    servers = {k: v for k, v in state.virtual_servers.items() if k not in moved}
    held_servers = {k: v for k, v in state.real_servers.items() if k not in moved}
    return msgspec.structs.replace(
        observed,
        state=msgspec.structs.replace(
            state, virtual_servers=servers, real_servers=held_servers
        ),
    )


def diff_virtual_server(
    plan: PlanBuilder,
    key: VirtualServerKey,
    observed: Observed,
    desired: NodeState,
    options: DiffOptions,
) -> None:
    """Add or change one desired virtual server and its real servers."""
    server = desired.virtual_servers[key]
    known = observed.state.virtual_servers.get(key)
    if known is None and key.fwmark:
        plan.place(Stage.REAL_SERVERS, AddVirtualServer(server))
    elif known is None:
        plan.add(AddVirtualServer(server), key.address)
    elif known != server:
        plan.add(UpdateVirtualServer(server), key.address)
    wanted = desired.real_servers.get(key, EMPTY)
    held = observed.state.real_servers.get(key, EMPTY)
    # Reading shares what is equal.
    if held is not wanted:
        _add_real_servers(plan, key, held, wanted)
        _remove_real_servers(plan, key, observed, wanted, options)


def _add_real_servers(
    plan: PlanBuilder, key: VirtualServerKey, held: RealServers, wanted: RealServers
) -> None:
    for found, real_server in wanted.items():
        if found not in held:
            op: Op = AddRealServer(key, real_server)
        elif held[found] != real_server:
            # In place: a weight restored ends a drain without touching connections.
            op = UpdateRealServer(key, real_server)
        else:
            continue
        plan.add(op, key.address)


def _remove_real_servers(
    plan: PlanBuilder,
    key: VirtualServerKey,
    observed: Observed,
    wanted: RealServers,
    options: DiffOptions,
) -> None:
    protocol = options.short_circuits.get(key, key).protocol
    connections = observed.connections.get(key, EMPTY)
    for found, real_server in observed.state.real_servers.get(key, EMPTY).items():
        if found in wanted:
            continue
        is_expired = (key, found) in options.expired_drains
        if not is_expired and _must_drain(protocol, connections.get(found)):
            if real_server.weight:
                drained = msgspec.structs.replace(real_server, weight=0)
                plan.place(Stage.REMOVE_REAL_SERVERS, UpdateRealServer(key, drained))
        else:
            plan.add(DeleteRealServer(key, found))


def _must_drain(protocol: Protocol | None, stats: RealServerStats | None) -> bool:
    """Whether an unwanted real server still serves connections that can end.

    UDP has no end to wait for, and an SCTP association has other paths.
    """
    if protocol in {Protocol.UDP, Protocol.SCTP} or stats is None:
        return False
    return stats.active + stats.inactive > 0


def drains(
    observed: Observed,
    desired: NodeState,
    keys: Iterable[VirtualServerKey] | None = None,
) -> Iterator[Drain]:
    """The unwanted real servers of wanted virtual servers, which are draining.

    Args:
        observed: what the kernel holds.
        desired: what it is to hold.
        keys: the virtual servers to look at; None is all.
    """
    for key in desired.virtual_servers if keys is None else keys:
        if key not in desired.virtual_servers:
            continue
        held = observed.state.real_servers.get(key, EMPTY)
        wanted = desired.real_servers.get(key, EMPTY)
        if held is wanted:
            continue
        for found in held:
            if found not in wanted:
                yield key, found
