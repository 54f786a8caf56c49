"""The virtual server that a frontend becomes."""

from collections.abc import Mapping
from functools import partial

import msgspec

from ipvsctl.model.config import LocalFallback, ProxyConfig
from ipvsctl.model.ipvs import (
    RealServers,
    ServiceFlags,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPFamily, family_of
from ipvsctl.model.objects import (
    NodeContext,
    Service,
    ServicePort,
    ServicePortName,
    TrafficPolicy,
)
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.plan.service.entries import source_range_entries
from ipvsctl.plan.service.frontends import Frontend
from ipvsctl.plan.service.program import (
    InsideProgram,
    ServerProgram,
    SetMember,
    WayIn,
)
from ipvsctl.plan.service.scheduling import SOURCE_HASH, Scheduling, weighted
from ipvsctl.plan.service.tunnels import TunnelledServers
from ipvsctl.plan.service.wishes import Wishes, unmasqueraded


def node_port_servers(
    policy: TrafficPolicy,
    real_servers: Mapping[TrafficPolicy, RealServers],
    config: ProxyConfig,
) -> RealServers:
    """The real servers at a node port.

    Pods of other nodes use node ports too and cannot be told from local ones, so pods
    get no short circuit: the answer of an endpoint beside such a pod would not pass
    here. The cluster's endpoints are their last resort, and the node's own.
    """
    chosen = real_servers[policy]
    if not chosen and config.local_fallback is not LocalFallback.NONE:
        return real_servers[TrafficPolicy.CLUSTER]
    return chosen


def server_program(
    service: Service,
    port: ServicePort,
    frontend: Frontend,
    real_servers: Mapping[TrafficPolicy, RealServers],
    node: NodeContext,
    config: ProxyConfig,
    scheduling: Scheduling,
) -> ServerProgram:
    """The program of a frontend's virtual server.

    Args:
        service: whose frontend it is.
        port: of the Service.
        frontend: of that port.
        real_servers: those of each traffic policy.
        node: may be a client itself, see `source_range_entries`.
        config: what Local frontends are to clients inside the cluster.
        scheduling: of all virtual servers of the Service.
    """
    family = family_of(frontend.address)
    wishes = scheduling.wishes
    flags = scheduling.flags | wishes.flags(port)
    if service.affinity_timeout_s is not None:
        flags |= ServiceFlags.PERSISTENT
    entry = SetEntry(
        address=frontend.address, protocol=port.protocol, port=frontend.port
    )
    roles = wishes.roles(port, frontend.roles)
    entries = [SetMember(set_key(role, family), entry) for role in roles]
    if frontend.way is WayIn.INGRESS_VIP:
        entries += source_range_entries(
            service, entry, family, node, is_kube_proxy=config.is_kube_proxy
        )
    chosen = real_servers[frontend.policy]
    inside = None
    if frontend.policy is TrafficPolicy.LOCAL and frontend.way is not WayIn.CLUSTER_IP:
        everywhere = real_servers[TrafficPolicy.CLUSTER]
        if everywhere and not chosen:
            shut = set_key(SetRole.NO_LOCAL_ENDPOINTS, family)
            entries.append(SetMember(shut, entry))
        if frontend.way is WayIn.NODE_PORT:
            chosen = node_port_servers(frontend.policy, real_servers, config)
        elif config.has_short_circuit:
            inside = _inside(service, port, frontend, everywhere, scheduling, config)
    return ServerProgram(
        port_name=ServicePortName(service.ref, port.name, port.protocol),
        way=frontend.way,
        server=VirtualServer(
            key=VirtualServerKey(
                family=family,
                protocol=port.protocol,
                address=frontend.address,
                port=frontend.port,
            ),
            scheduler=scheduling.scheduler,
            flags=flags,
            timeout_s=service.affinity_timeout_s or 0,
            netmask_bits=_netmask_bits(service, wishes, family),
        ),
        real_servers=chosen,
        entries=tuple(entries),
        field=frontend.field,
        policy=frontend.policy,
        drain_timeout_s=wishes.drain_timeout_s,
        slow_start_s=wishes.slow_start_s,
        inside=inside,
        is_bound=frontend.is_bound,
    )


def tunnelled_program(
    plain: ServerProgram,
    service: Service,
    port: ServicePort,
    frontend: Frontend,
    tunnelled: TunnelledServers,
    scheduling: Scheduling,
    config: ProxyConfig,
) -> ServerProgram:
    """The program of a frontend whose packets go to other nodes in tunnels.

    No packet is masqueraded, as at a Local address, so clients inside the cluster have
    a virtual server of their own. Nodes differ in how many endpoints they have, so the
    scheduler is one that looks at weights.

    Args:
        plain: the program where all of it is masqueraded.
        service: whose frontend it is.
        port: of the Service.
        frontend: of that port.
        tunnelled: what is behind it.
        scheduling: of all virtual servers of the Service.
        config: settings.
    """
    family = family_of(frontend.address)
    entry = SetEntry(
        address=frontend.address, protocol=port.protocol, port=frontend.port
    )
    usual = {set_key(role, family) for role in frontend.roles}
    roles = list(unmasqueraded(frontend.roles))
    if not tunnelled.here:
        roles.append(SetRole.TUNNEL_SHUT)
    beside = partial(
        _inside, service, port, frontend, scheduling=scheduling, config=config
    )
    return msgspec.structs.replace(
        plain,
        server=msgspec.structs.replace(
            plain.server, scheduler=weighted(plain.server.scheduler)
        ),
        real_servers=tunnelled.outside,
        entries=(
            *(SetMember(set_key(role, family), entry) for role in roles),
            *(member for member in plain.entries if member.key not in usual),
        ),
        inside=beside(real_servers=tunnelled.everywhere),
        arrival=beside(real_servers=tunnelled.here),
        plain=plain,
    )


def _netmask_bits(service: Service, wishes: Wishes, family: IPFamily) -> int:
    """It says something to persistence alone."""
    if service.affinity_timeout_s is None:
        return family.bits
    return wishes.netmask.bits(family)


def _inside(
    service: Service,
    port: ServicePort,
    frontend: Frontend,
    real_servers: RealServers,
    scheduling: Scheduling,
    config: ProxyConfig,
) -> InsideProgram:
    """A Local frontend as pods and the host have it: with the cluster's endpoints.

    A persistent virtual server of a fwmark sends packets to the port they were sent
    to, whatever port its real server has (ip_vs_core.c:ip_vs_sched_persist). Where the
    two differ, clients are kept on their endpoint by a hash of their address.
    """
    scheduler, wishes, timeout_s = scheduling.scheduler, scheduling.wishes, 0
    flags = scheduling.flags | wishes.flags(port)
    family = family_of(frontend.address)
    if service.affinity_timeout_s is not None:
        if all(key.port == frontend.port for key in real_servers):
            flags |= ServiceFlags.PERSISTENT
            timeout_s = service.affinity_timeout_s
        else:
            scheduler, hashing = SOURCE_HASH
            flags = hashing | wishes.flags(port)
    return InsideProgram(
        scheduler=scheduler,
        flags=flags,
        timeout_s=timeout_s,
        netmask_bits=_netmask_bits(service, wishes, family)
        if timeout_s
        else family.bits,
        real_servers=real_servers,
        is_fallback=config.local_fallback is not LocalFallback.NONE,
    )
