"""What must change: the difference of two states, as ops in a safe order."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from enum import IntEnum, auto

import msgspec

from ipvsctl.model.ipset import SetEntry, SetSpec
from ipvsctl.model.ipvs import (
    RealServerKey,
    RealServerStats,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress, IPFamily, IPNetwork, Protocol
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.catalogue import (
    OWNING_ROLES,
    TEMPORARY_PREFIX,
    SetRole,
    kube_proxy_node_ports,
    set_name,
    temporary_name,
)
from ipvsctl.plan.flows import plan_flows
from ipvsctl.plan.ops import (
    AddEntry,
    AddRealServer,
    AddVirtualServer,
    ChangeRules,
    CreateSet,
    DeleteEntry,
    DeleteRealServer,
    DeleteVipLink,
    DeleteVirtualServer,
    DestroySet,
    EnsureVipLink,
    Op,
    Plan,
    SetSysctl,
    SetTimeouts,
    SwapSets,
    UpdateRealServer,
    UpdateVirtualServer,
)
from ipvsctl.plan.rules import plan_rules
from ipvsctl.plan.vips import plan_vips


class Stage(IntEnum):
    """The order ops run in; a process may die after any of them.

    First what all packets need, then what comes, urgent addresses (the API server's
    and DNS's own) before the rest, then what goes, in reverse.

    An entry is there before its virtual server and after it, because it says whose
    that is; and before rules are written that may be the first to refer to its set: on
    a node taken over from kube-proxy, node ports must not be without their masquerade
    rule for a moment. An address is bound last and unbound first, and so is a
    route: without its virtual server, it would make this node answer for a Service it
    cannot serve. Routes that the kernel takes away with the last address come back at
    once, and others stand in for them meanwhile. UDP flows end after their real server:
    before, they would only begin again. A virtual server whose mark another entry is to
    have goes first of all: it would be nobody's without its own entry, and inside
    clients have the virtual server of the address meanwhile.
    """

    SYSCTLS = auto()
    LINK = auto()
    MOVED_MARKS = auto()
    SETS = auto()
    ENTRIES = auto()
    RULES = auto()
    URGENT_VIRTUAL_SERVERS = auto()
    URGENT_REAL_SERVERS = auto()
    URGENT_ADDRESSES = auto()
    URGENT_ROUTES = auto()
    VIRTUAL_SERVERS = auto()
    REAL_SERVERS = auto()
    ADDRESSES = auto()
    ROUTES = auto()
    UNBIND_ADDRESSES = auto()
    REMOVE_ROUTES = auto()
    RESTORE_ROUTES = auto()
    REMOVE_STAND_INS = auto()
    REMOVE_REAL_SERVERS = auto()
    STALE_FLOWS = auto()
    REMOVE_VIRTUAL_SERVERS = auto()
    REMOVE_RULES = auto()
    REMOVE_ENTRIES = auto()
    REMOVE_SETS = auto()


_NOTHING: frozenset[SetEntry] = frozenset()

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
    """

    vip_link: str
    urgent: frozenset[IPAddress] = frozenset()
    expired_drains: frozenset[Drain] = frozenset()
    exclude: tuple[IPNetwork, ...] = ()
    short_circuits: Mapping[VirtualServerKey, VirtualServerKey] = EMPTY

    def excludes(self, key: VirtualServerKey) -> bool:
        """Whether a virtual server stays although nobody wants it."""
        address = key.address
        return address is not None and any(
            address in network
            for network in self.exclude
            if network.version == address.version
        )


def diff(observed: Observed, desired: NodeState, options: DiffOptions) -> Plan:
    """The ops that turn the observed state into the desired one.

    Both states may be restricted to the same keys. Real servers that are to drain
    stay at weight 0 for as long as they have connections, so only a later plan makes
    the states equal. Foreign virtual servers are left alone.

    Returns:
        Ops in the order of `Stage`; empty if nothing is to change.
    """
    plan = _Builder(options.urgent)
    observed = _without_moved(plan, observed, desired)
    state = observed.state
    _diff_settings(plan, state, desired)
    if desired.vip_link_up and not state.vip_link_up:
        plan.add(Stage.LINK, EnsureVipLink(options.vip_link))
    holds = _diff_sets(plan, state, desired)
    _diff_rules(plan, state, desired)
    _diff_entries(plan, holds, desired)
    owned = owned_keys(state, observed.host_addresses)
    for key in desired.virtual_servers:
        _diff_virtual_server(plan, key, observed, desired, options)
    for op in plan_flows(observed, desired, options.short_circuits):
        plan.add(Stage.STALE_FLOWS, op)
    for key in state.virtual_servers:
        is_ours = key in owned and not options.excludes(key)
        if key not in desired.virtual_servers and is_ours:
            plan.add(Stage.REMOVE_VIRTUAL_SERVERS, DeleteVirtualServer(key))
    _diff_vips(plan, state, desired, options)
    return plan.build()


def owned_keys(
    state: NodeState, host_addresses: AbstractSet[IPAddress] = frozenset()
) -> AbstractSet[VirtualServerKey]:
    """The virtual servers of a state that are ours: those with an owning entry.

    Args:
        state: with all of its entries.
        host_addresses: this node's own. kube-proxy's node ports have no address, so
            they tell what is ours only together with these.
    """
    owning = _OwningEntries(state.entries, host_addresses)
    return {key for key in state.virtual_servers if key in owning}


class _OwningEntries:
    """Tells whether a virtual server has an owning entry."""

    def __init__(
        self,
        entries: Mapping[str, AbstractSet[SetEntry]],
        host_addresses: AbstractSet[IPAddress],
    ) -> None:
        self._entries = entries
        self._host_addresses = host_addresses
        self._by_family = {
            family: [
                entries[name]
                for name in (set_name(role, family) for role in OWNING_ROLES)
                if name in entries
            ]
            for family in IPFamily
        }
        self._marks = {
            family: {
                entry.mark
                for entry in entries.get(set_name(SetRole.SHORT_CIRCUIT, family), ())
                if entry.mark
            }
            for family in IPFamily
        }

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, VirtualServerKey):
            return False
        if key.fwmark:
            return key.fwmark in self._marks[key.family]
        entry = SetEntry(address=key.address, protocol=key.protocol, port=key.port)
        return any(
            entry in entries for entries in self._by_family[key.family]
        ) or self._is_kube_proxys_node_port(key, entry)

    def _is_kube_proxys_node_port(self, key: VirtualServerKey, entry: SetEntry) -> bool:
        if key.protocol is None:
            return False
        held = self._entries.get(kube_proxy_node_ports(key.protocol, key.family), ())
        is_own_address = key.address in self._host_addresses
        return entry in held or (is_own_address and SetEntry(port=key.port) in held)


class _Builder:
    """Collects ops by stage."""

    _URGENT: Mapping[Stage, Stage] = {
        Stage.VIRTUAL_SERVERS: Stage.URGENT_VIRTUAL_SERVERS,
        Stage.REAL_SERVERS: Stage.URGENT_REAL_SERVERS,
        Stage.ADDRESSES: Stage.URGENT_ADDRESSES,
        Stage.ROUTES: Stage.URGENT_ROUTES,
    }

    def __init__(self, urgent: frozenset[IPAddress]) -> None:
        self._urgent_addresses = urgent
        self._ops: defaultdict[Stage, list[Op]] = defaultdict(list)

    def add(self, stage: Stage, op: Op, address: IPAddress | None = None) -> None:
        if address in self._urgent_addresses:
            stage = self._URGENT[stage]
        self._ops[stage].append(op)

    def build(self) -> Plan:
        return tuple(op for stage in Stage for op in self._ops.get(stage, ()))


def _diff_settings(plan: _Builder, observed: NodeState, desired: NodeState) -> None:
    for name, value in desired.sysctls.items():
        if observed.sysctls.get(name) != value:
            plan.add(Stage.SYSCTLS, SetSysctl(name, value))
    known = msgspec.structs.astuple(observed.timeouts)
    wanted = msgspec.structs.astuple(desired.timeouts)
    # 0 is no wish.
    if any(new not in {0, old} for old, new in zip(known, wanted, strict=True)):
        plan.add(Stage.SYSCTLS, SetTimeouts(desired.timeouts))


def _diff_sets(
    plan: _Builder, observed: NodeState, desired: NodeState
) -> Mapping[str, AbstractSet[SetEntry]]:
    """Create, rebuild and destroy sets.

    Returns:
        What each set holds once that is done, by name.
    """
    holds = dict(observed.entries)
    for name in observed.sets:
        if name in desired.sets:
            continue
        # Its entries go with it. One half-built by a process that died is in the way
        # of the next rebuild; no rule refers to it, so it can go first.
        holds.pop(name, None)
        is_left_over = name.startswith(TEMPORARY_PREFIX)
        stage = Stage.SETS if is_left_over else Stage.REMOVE_SETS
        plan.add(stage, DestroySet(name))
    for name, spec in desired.sets.items():
        known = observed.sets.get(name)
        if known is None:
            holds.pop(name, None)
            plan.add(Stage.SETS, CreateSet(spec))
        elif (known.type, known.family) != (spec.type, spec.family):
            # Another type cannot be swapped in. A rule that still refers to it makes
            # this fail; the rules are rewritten next, and the next audit succeeds.
            holds.pop(name, None)
            plan.add(Stage.SETS, DestroySet(name))
            plan.add(Stage.SETS, CreateSet(spec))
        elif known.maxelem < spec.maxelem or known.skbinfo != spec.skbinfo:
            wanted = desired.entries.get(name, _NOTHING)
            marked = {entry.identity for entry in wanted if entry.mark}
            held = holds.get(name, _NOTHING)
            holds[name] = {e for e in held if e.identity not in marked} | wanted
            _rebuild_set(plan, spec, holds[name])
    return holds


def _rebuild_set(plan: _Builder, spec: SetSpec, entries: AbstractSet[SetEntry]) -> None:
    """Build a larger set aside and swap it in, so that no packet meets it empty."""
    aside = msgspec.structs.replace(spec, name=temporary_name(spec.name))
    plan.add(Stage.SETS, CreateSet(aside))
    for entry in entries:
        plan.add(Stage.SETS, AddEntry(aside.name, entry))
    plan.add(Stage.SETS, SwapSets(aside.name, spec.name))
    plan.add(Stage.SETS, DestroySet(aside.name))


def _diff_rules(plan: _Builder, observed: NodeState, desired: NodeState) -> None:
    for family in IPFamily:
        wanted = desired.chains.get(family, {})
        change = plan_rules(family, observed.chains.get(family, {}), wanted)
        if change is not None:
            stage = Stage.RULES if wanted else Stage.REMOVE_RULES
            plan.add(stage, ChangeRules(change))


def _diff_vips(
    plan: _Builder, state: NodeState, desired: NodeState, options: DiffOptions
) -> None:
    steps = plan_vips(state, desired)
    for address, op in steps.bind:
        plan.add(Stage.ADDRESSES, op, address)
    for address, op in steps.routes:
        plan.add(Stage.ROUTES, op, address)
    if state.vip_link_up and not desired.vip_link_up:
        # Its addresses and routes go with it, in one step.
        plan.add(Stage.UNBIND_ADDRESSES, DeleteVipLink(options.vip_link))
    else:
        for op in steps.unbind:
            plan.add(Stage.UNBIND_ADDRESSES, op)
        for op in steps.delete_routes:
            plan.add(Stage.REMOVE_ROUTES, op)
    for op in steps.restore_routes:
        plan.add(Stage.RESTORE_ROUTES, op)
    for op in steps.delete_stand_ins:
        plan.add(Stage.REMOVE_STAND_INS, op)


def _without_moved(plan: _Builder, observed: Observed, desired: NodeState) -> Observed:
    """Delete the virtual servers that a changed mark takes their last entry from.

    Returns:
        What is observed then.
    """
    state = observed.state
    moved = set()
    for family in IPFamily:
        name = set_name(SetRole.SHORT_CIRCUIT, family)
        held = state.entries.get(name, _NOTHING)
        wanted = desired.entries.get(name, _NOTHING)
        changed = {entry.identity for entry in wanted - held}
        old = {entry.mark for entry in held if entry.identity in changed}
        old -= {entry.mark for entry in held if entry.identity not in changed}
        moved |= {VirtualServerKey(family=family, fwmark=m) for m in old}
    moved &= state.virtual_servers.keys()
    if not moved:
        return observed
    for key in sorted(moved):
        plan.add(Stage.MOVED_MARKS, DeleteVirtualServer(key))
    servers = {k: v for k, v in state.virtual_servers.items() if k not in moved}
    held_servers = {k: v for k, v in state.real_servers.items() if k not in moved}
    return msgspec.structs.replace(
        observed,
        state=msgspec.structs.replace(
            state, virtual_servers=servers, real_servers=held_servers
        ),
    )


def _diff_entries(
    plan: _Builder, holds: Mapping[str, AbstractSet[SetEntry]], desired: NodeState
) -> None:
    for name, wanted in desired.entries.items():
        held = holds.get(name, _NOTHING)
        for entry in wanted:
            if entry not in held:
                plan.add(Stage.ENTRIES, AddEntry(name, entry))
    for name, held in holds.items():
        wanted = desired.entries.get(name, _NOTHING)
        gone = held - wanted
        # One that only has another mark was not added but changed.
        marked = {entry.identity for entry in wanted if entry.mark} if gone else ()
        for entry in sorted(gone, key=str):
            if entry.identity not in marked:
                plan.add(Stage.REMOVE_ENTRIES, DeleteEntry(name, entry))


def _diff_virtual_server(
    plan: _Builder,
    key: VirtualServerKey,
    observed: Observed,
    desired: NodeState,
    options: DiffOptions,
) -> None:
    server = desired.virtual_servers[key]
    known = observed.state.virtual_servers.get(key)
    if known is None:
        plan.add(Stage.VIRTUAL_SERVERS, AddVirtualServer(server), key.address)
    elif known != server:
        plan.add(Stage.VIRTUAL_SERVERS, UpdateVirtualServer(server), key.address)
    wanted = desired.real_servers.get(key, EMPTY)
    held = observed.state.real_servers.get(key, EMPTY)
    for found, real_server in wanted.items():
        known_server = held.get(found)
        if known_server is None:
            op: Op = AddRealServer(key, real_server)
        elif known_server != real_server:
            # In place: a weight restored ends a drain without touching connections.
            op = UpdateRealServer(key, real_server)
        else:
            continue
        plan.add(Stage.REAL_SERVERS, op, key.address)
    protocol = options.short_circuits.get(key, key).protocol
    connections = observed.connections.get(key, EMPTY)
    for found, real_server in held.items():
        if found in wanted:
            continue
        is_expired = (key, found) in options.expired_drains
        if not is_expired and _must_drain(protocol, connections.get(found)):
            if real_server.weight:
                drained = msgspec.structs.replace(real_server, weight=0)
                plan.add(Stage.REMOVE_REAL_SERVERS, UpdateRealServer(key, drained))
        else:
            plan.add(Stage.REMOVE_REAL_SERVERS, DeleteRealServer(key, found))


def _must_drain(protocol: Protocol | None, stats: RealServerStats | None) -> bool:
    """Whether an unwanted real server still serves connections that can end.

    UDP has no end to wait for, and an SCTP association has other paths.
    """
    if protocol in {Protocol.UDP, Protocol.SCTP} or stats is None:
        return False
    return stats.active + stats.inactive > 0


def drains(observed: Observed, desired: NodeState) -> Iterator[Drain]:
    """The unwanted real servers of wanted virtual servers, which are draining."""
    for key in desired.virtual_servers:
        held = observed.state.real_servers.get(key, EMPTY)
        wanted = desired.real_servers.get(key, EMPTY)
        for found in held:
            if found not in wanted:
                yield key, found
