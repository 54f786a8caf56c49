"""How a node that cannot reach the API server gets there again, before it is told.

A kernel may hold a VIP that is an address of the API server, or of a gateway or name
server on the way to it: an earlier version left it, kube-proxy did, or the address is
another one since. Such a node never hears that it is to give the VIP up. So this is
planned from what the kernel holds alone, and takes away no more than what is in the
way; the first audit does the rest.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.host import ApiServer, ApiServers, HostNetwork
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress, IPFamily, Protocol, family_of
from ipvsctl.model.sets import MARKING_ROLES, SetEntry, SetKey, SetRole, set_key
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.diff.ops import DeleteEntry, DeleteVirtualServer, Plan
from ipvsctl.plan.diff.plan import DiffOptions, diff_vips
from ipvsctl.plan.diff.plan_builder import PlanBuilder
from ipvsctl.plan.service.guards import guarded_addresses
from ipvsctl.plan.service.refusals import guards_vip
from ipvsctl.plan.union.ownership import OwningEntries

_EXTERNAL_ROLES: Final = (
    SetRole.EXTERNAL_IP,
    SetRole.EXTERNAL_IP_LOCAL,
    SetRole.LOAD_BALANCER,
)


def api_keys(api: AbstractSet[ApiServer]) -> frozenset[VirtualServerKey]:
    """The virtual servers that would answer instead of the API server."""
    return frozenset(
        VirtualServerKey(
            family=family_of(server.address),
            protocol=Protocol.TCP,
            address=server.address,
            port=server.port,
        )
        for server in api
    )


def may_be_cut_off(
    host: HostNetwork,
    api: AbstractSet[ApiServer],
    vips: AbstractSet[IPAddress],
    config: ProxyConfig,
) -> bool:
    """Whether one of these VIPs is in the way, as far as addresses tell.

    Args:
        host: this host's own network.
        api: where the API server is asked; empty while that is not known.
        vips: what is bound, or has a route of ours.
        config: what is allowed.
    """
    on_the_way = _on_the_way(host, ApiServers(used=frozenset(api)), config)
    return not on_the_way.isdisjoint(vips | host.addresses)


def plan_recovery(
    observed: Observed, api: AbstractSet[ApiServer], config: ProxyConfig
) -> Plan:
    """The ops that free the way to the API server; empty if it is free.

    The API server may be asked at its cluster IP. Then that stays, and the way to its
    real servers, of which the kernel knows, is freed.

    Args:
        observed: the complete state.
        api: where the API server is asked; empty while that is not known.
        config: what is allowed.
    """
    state = observed.state
    owning = OwningEntries(state, observed.host_addresses)
    own = frozenset(key for key in api_keys(api) if _is_cluster_ip(state, key))
    behind = frozenset(
        ApiServer(real.address, real.port)
        for key in own
        for real in state.real_servers.get(key, ())
    )
    cluster_ips = {
        entry.address
        for family in IPFamily
        for entry in state.evidence(set_key(SetRole.CLUSTER_IP, family))
    }
    asked = {s for s in api if s.address not in {key.address for key in own}}
    servers = ApiServers(used=frozenset(asked) | behind)
    # A name server, or what looks like one, may be the cluster's own.
    lost = _on_the_way(observed.host, servers, config)
    lost -= cluster_ips - {server.address for server in servers.used}
    options = DiffOptions(vip_link=config.vip_link, exclude=config.exclude_cidrs)
    plan = PlanBuilder(options.urgent)
    gone = frozenset(
        key
        for key in _gone_servers(state, lost, api_keys(servers.used), owning)
        if not options.excludes(key)
    )
    if not lost.isdisjoint((*state.addresses, *state.routes, *state.stand_ins)):
        left = msgspec.structs.replace(
            state,
            addresses=state.addresses - lost,
            routes={vip: via for vip, via in state.routes.items() if vip not in lost},
        )
        diff_vips(plan, state, left, options)
    for key in sorted(gone, key=str):
        plan.add(DeleteVirtualServer(key))
    for held_in, entry in _gone_entries(state, lost, gone):
        plan.add(DeleteEntry(held_in, entry))
    return plan.build()


def _on_the_way(
    host: HostNetwork, api: ApiServers, config: ProxyConfig
) -> frozenset[IPAddress]:
    """The guarded addresses that are in the way as VIPs, and were not allowed."""
    host = msgspec.structs.replace(host, networks=frozenset())
    return frozenset(
        address
        for address, guard in guarded_addresses(host, api).items()
        if all(
            guards_vip(guard, address, allowed, config)
            for allowed in (config.allowed_external_ips, config.allowed_ingress_vips)
        )
    )


def _is_cluster_ip(state: NodeState, key: VirtualServerKey) -> bool:
    """Whether a virtual server is there as a cluster IP's, and leads somewhere."""
    entries = state.evidence(set_key(SetRole.CLUSTER_IP, key.family))
    return _entry(key) in entries and bool(state.real_servers.get(key))


def _gone_servers(
    state: NodeState,
    lost: AbstractSet[IPAddress],
    instead: AbstractSet[VirtualServerKey],
    owning: OwningEntries,
) -> Iterator[VirtualServerKey]:
    """Ours on lost addresses, but not node ports beside the API server's."""
    for key in state.virtual_servers:
        if key.fwmark or key.address not in lost or key not in owning:
            continue
        sets = (set_key(role, key.family) for role in _EXTERNAL_ROLES)
        if key in instead or any(
            _entry(key) in state.evidence(found) for found in sets
        ):
            yield key
            yield from _inside(state, key)


def _inside(state: NodeState, key: VirtualServerKey) -> Iterator[VirtualServerKey]:
    """The virtual server that inside clients of another one have."""
    for role in MARKING_ROLES:
        for entry in state.evidence(set_key(role, key.family)):
            if entry.identity == _entry(key) and entry.mark:
                inside = VirtualServerKey(family=key.family, fwmark=entry.mark)
                if inside in state.virtual_servers:
                    yield inside


def _gone_entries(
    state: NodeState,
    lost: AbstractSet[IPAddress],
    gone: AbstractSet[VirtualServerKey],
) -> Iterator[tuple[SetKey, SetEntry]]:
    """Entries of what is gone, and of addresses that are not bound any more."""
    served = {_entry(key) for key in gone if not key.fwmark}
    for key, entries in sorted(state.entries.items()):
        if key.role is SetRole.LOOP_BACK:
            # Those are about endpoints.
            continue
        for entry in sorted(entries, key=str):
            place = SetEntry(
                address=entry.address, protocol=entry.protocol, port=entry.port
            )
            is_vip = key.role is SetRole.IPVS_IPS and entry.address in lost
            if place in served or is_vip:
                yield key, entry


def _entry(key: VirtualServerKey) -> SetEntry:
    return SetEntry(address=key.address, protocol=key.protocol, port=key.port)
