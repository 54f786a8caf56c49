"""What an explanation is made from, and the part of a plan that is about a Service."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from ipvsctl.cluster.taken import Objects
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.neighbours import Neighbours
from ipvsctl.model.net import IPAddress
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.problem import Problem
from ipvsctl.model.relay import ListenerStates
from ipvsctl.model.sets import SetEntry, SetKey, SetRole
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.diff.ops import Plan
from ipvsctl.plan.diff.plan import DiffOptions, Drain, diff
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.plan.service.program import ServerProgram, ServiceProgram, SetMember
from ipvsctl.plan.union.frozen import FrozenDesired
from ipvsctl.plan.union.shared import bound_entry
from ipvsctl.plan.union.short_circuits import marked_entry


class ExplainInputs(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a node, all of one moment.

    Attributes:
        objects: what the desired state was compiled from.
        desired: what the kernel should hold.
        observed: what it holds.
        neighbours: what else there is.
        context: what is known of this node.
        config: its settings.
        options: what a plan depends on besides.
        words: what operators call the things of the firewall.
        problems: of all objects.
        drain_ages_s: drain -> for how long it has been seen.
        repair: who puts the kernel right, a clause.
        listeners: the daemon's on localhost; None without a daemon.
        insides: virtual server of an address -> the fwmark virtual server beside it for
            clients inside the cluster.
        arrivals: the same for what other nodes send in tunnels.
    """

    objects: Objects
    desired: FrozenDesired
    observed: Observed
    neighbours: Neighbours
    context: NodeContext
    config: ProxyConfig
    options: DiffOptions
    words: FirewallWords
    problems: tuple[Problem, ...] = ()
    drain_ages_s: Mapping[Drain, float] = EMPTY
    repair: str = ""
    listeners: ListenerStates | None = None
    insides: Mapping[VirtualServerKey, VirtualServerKey] = EMPTY
    arrivals: Mapping[VirtualServerKey, VirtualServerKey] = EMPTY

    def members(self, server: ServerProgram) -> tuple[SetMember, ...]:
        """The set entries that a virtual server needs."""
        members = list(server.entries)
        key = server.server.key
        if server.is_bound and key.address is not None:
            members.append(bound_entry(key.address))
        inside = self.insides.get(key)
        if inside is not None:
            members.append(marked_entry(key, inside))
        arrival = self.arrivals.get(key)
        if arrival is not None:
            members.append(marked_entry(key, arrival, SetRole.TUNNEL_ARRIVAL))
        return tuple(members)

    def plan_for(self, program: ServiceProgram | None) -> Plan:
        """What an audit would do to the node itself, and for one Service.

        Everything else is left out of both states before they are compared: comparing
        ten thousand Services takes a second.
        """
        servers = () if program is None else program.servers
        keys = {server.server.key for server in servers}
        keys |= {
            found
            for beside in (self.insides, self.arrivals)
            for key in keys
            if (found := beside.get(key))
        }
        members = [m for server in servers for m in self.members(server)]
        members += () if program is None else program.entries
        vips = frozenset(key.address for key in keys if key.address is not None)
        wanted = _only(self.desired.state, keys, members, vips)
        held = _only(self.observed.state, keys, members, vips)
        observed = msgspec.structs.replace(self.observed, state=held)
        return diff(observed, wanted, self.options)


def _only(
    state: NodeState,
    keys: AbstractSet[VirtualServerKey],
    members: Iterable[SetMember],
    vips: AbstractSet[IPAddress],
) -> NodeState:
    """A state without all Services but one."""
    wanted: dict[SetKey, set[SetEntry]] = {key: set() for key in state.entries}
    for member in members:
        wanted.setdefault(member.key, set()).add(member.entry.identity)
    return msgspec.structs.replace(
        state,
        virtual_servers={
            key: server
            for key in keys
            if (server := state.virtual_servers.get(key)) is not None
        },
        real_servers={
            key: state.real_servers[key] for key in keys if key in state.real_servers
        },
        entries={key: _held(state, key, some) for key, some in wanted.items() if some},
        addresses=frozenset(state.addresses & vips),
        routes={vip: state.routes[vip] for vip in vips if vip in state.routes},
    )


def _held(
    state: NodeState, key: SetKey, identities: AbstractSet[SetEntry]
) -> frozenset[SetEntry]:
    entries = state.entries.get(key, frozenset())
    plain = frozenset(identities & entries)
    if len(plain) == len(identities):
        return plain
    # One with a mark is found by what it is without.
    return frozenset(entry for entry in entries if entry.identity in identities)
