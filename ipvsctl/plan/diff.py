"""What must change: the difference of two states, as ops in a safe order."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from enum import IntEnum, auto

import msgspec

from ipvsctl.model.ipset import SetEntry, SetSpec
from ipvsctl.model.ipvs import (
    RealServerKey,
    RealServerStats,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress, IPFamily, Protocol
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.catalogue import (
    OWNING_ROLES,
    TEMPORARY_PREFIX,
    set_name,
    temporary_name,
)
from ipvsctl.plan.ops import (
    AddEntry,
    AddRealServer,
    AddVirtualServer,
    BindAddress,
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
    SwapSets,
    UnbindAddress,
    UpdateRealServer,
    UpdateVirtualServer,
)
from ipvsctl.plan.rules import plan_rules


class Stage(IntEnum):
    """The order ops run in; a process may die after any of them.

    First what all packets need, then what comes, urgent addresses (the API server's
    and DNS's own) before the rest, then what goes, in reverse.

    An entry is there before its virtual server and after it, because it says whose
    that is; and before rules are written that may be the first to refer to its set: on
    a node taken over from kube-proxy, node ports must not be without their masquerade
    rule for a moment. An address is bound last and unbound first: bound without its
    virtual server, it would make this node answer for a Service it cannot serve.
    """

    SYSCTLS = auto()
    LINK = auto()
    SETS = auto()
    ENTRIES = auto()
    RULES = auto()
    URGENT_VIRTUAL_SERVERS = auto()
    URGENT_REAL_SERVERS = auto()
    URGENT_ADDRESSES = auto()
    VIRTUAL_SERVERS = auto()
    REAL_SERVERS = auto()
    ADDRESSES = auto()
    UNBIND_ADDRESSES = auto()
    REMOVE_REAL_SERVERS = auto()
    REMOVE_VIRTUAL_SERVERS = auto()
    REMOVE_RULES = auto()
    REMOVE_ENTRIES = auto()
    REMOVE_SETS = auto()
    REMOVE_LINK = auto()


_NOTHING: frozenset[SetEntry] = frozenset()

Drain = tuple[VirtualServerKey, RealServerKey]
"""A real server that is, or is to be, at weight 0 until its connections end."""


class DiffOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan depends on besides the two states.

    Attributes:
        vip_link: name of the VIP link.
        urgent: addresses whose Services must work before all others.
        expired_drains: real servers that are deleted now, connections or not.
    """

    vip_link: str
    urgent: frozenset[IPAddress] = frozenset()
    expired_drains: frozenset[Drain] = frozenset()


def diff(observed: Observed, desired: NodeState, options: DiffOptions) -> Plan:
    """The ops that turn the observed state into the desired one.

    Both states may be restricted to the same keys. Real servers that are to drain
    stay at weight 0 for as long as they have connections, so only a later plan makes
    the states equal. Foreign virtual servers are left alone.

    Returns:
        Ops in the order of `Stage`; empty if nothing is to change.
    """
    state = observed.state
    plan = _Builder(options.urgent)
    for name, value in desired.sysctls.items():
        if state.sysctls.get(name) != value:
            plan.add(Stage.SYSCTLS, SetSysctl(name, value))
    if desired.vip_link_up and not state.vip_link_up:
        plan.add(Stage.LINK, EnsureVipLink(options.vip_link))
    holds = _diff_sets(plan, state, desired)
    _diff_rules(plan, state, desired)
    _diff_entries(plan, holds, desired)
    owned = owned_keys(state)
    for key in desired.virtual_servers:
        _diff_virtual_server(plan, key, observed, desired, options)
    for key in state.virtual_servers:
        if key not in desired.virtual_servers and key in owned:
            plan.add(Stage.REMOVE_VIRTUAL_SERVERS, DeleteVirtualServer(key))
    for address in _sorted(desired.addresses - state.addresses):
        plan.add(Stage.ADDRESSES, BindAddress(address), address)
    if state.vip_link_up and not desired.vip_link_up:
        # Its addresses go with it, in one step.
        plan.add(Stage.UNBIND_ADDRESSES, DeleteVipLink(options.vip_link))
    else:
        for address in _sorted(state.addresses - desired.addresses):
            plan.add(Stage.UNBIND_ADDRESSES, UnbindAddress(address))
    return plan.build()


def owned_keys(state: NodeState) -> AbstractSet[VirtualServerKey]:
    """The virtual servers of a state that are ours: those with an owning entry."""
    owning = _OwningEntries(state.entries)
    return {key for key in state.virtual_servers if key in owning}


class _OwningEntries:
    """Tells whether a virtual server has an owning entry."""

    def __init__(self, entries: Mapping[str, AbstractSet[SetEntry]]) -> None:
        self._by_family = {
            family: [
                entries[name]
                for name in (set_name(role, family) for role in OWNING_ROLES)
                if name in entries
            ]
            for family in IPFamily
        }

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, VirtualServerKey) or key.fwmark:
            return False
        entry = SetEntry(address=key.address, protocol=key.protocol, port=key.port)
        return any(entry in entries for entries in self._by_family[key.family])


class _Builder:
    """Collects ops by stage."""

    _URGENT: Mapping[Stage, Stage] = {
        Stage.VIRTUAL_SERVERS: Stage.URGENT_VIRTUAL_SERVERS,
        Stage.REAL_SERVERS: Stage.URGENT_REAL_SERVERS,
        Stage.ADDRESSES: Stage.URGENT_ADDRESSES,
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
        elif known.maxelem < spec.maxelem:
            holds[name] = holds.get(name, _NOTHING) | desired.entries.get(
                name, _NOTHING
            )
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


def _diff_entries(
    plan: _Builder, holds: Mapping[str, AbstractSet[SetEntry]], desired: NodeState
) -> None:
    for name, wanted in desired.entries.items():
        held = holds.get(name, _NOTHING)
        for entry in wanted:
            if entry not in held:
                plan.add(Stage.ENTRIES, AddEntry(name, entry))
    for name, held in holds.items():
        gone = held - desired.entries.get(name, _NOTHING)
        for entry in sorted(gone, key=str):
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
    connections = observed.connections.get(key, EMPTY)
    for found, real_server in held.items():
        if found in wanted:
            continue
        is_expired = (key, found) in options.expired_drains
        if not is_expired and _must_drain(key, connections.get(found)):
            if real_server.weight:
                drained = msgspec.structs.replace(real_server, weight=0)
                plan.add(Stage.REMOVE_REAL_SERVERS, UpdateRealServer(key, drained))
        else:
            plan.add(Stage.REMOVE_REAL_SERVERS, DeleteRealServer(key, found))


def _must_drain(key: VirtualServerKey, stats: RealServerStats | None) -> bool:
    """Whether an unwanted real server still serves connections that can end.

    UDP has no end to wait for, and an SCTP association has other paths.
    """
    if key.protocol in {Protocol.UDP, Protocol.SCTP} or stats is None:
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


def _sorted(addresses: Iterable[IPAddress]) -> list[IPAddress]:
    return sorted(addresses, key=lambda address: (address.version, int(address)))
