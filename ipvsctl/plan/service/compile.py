"""What a Service means: the only place that decides it."""

from collections.abc import Generator, Iterable, Mapping
from operator import itemgetter
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from ipvsctl.model.config import LocalFallback, ProxyConfig
from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    ServiceFlags,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.model.objects import (
    EndpointSlice,
    NodeContext,
    Service,
    ServicePort,
    ServicePortName,
    ServiceType,
    TrafficPolicy,
)
from ipvsctl.model.problem import Problem, in_words
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.model.steps import finish
from ipvsctl.plan.rules.local_clients import local_clients
from ipvsctl.plan.service.allowance import (
    EVERYTHING,
    Allowance,
    demand_of,
    served_families,
    slices_by_port,
)
from ipvsctl.plan.service.amounts import service_limit
from ipvsctl.plan.service.endpoints import (
    PortEndpoint,
    port_endpoints,
    usable_endpoints,
)
from ipvsctl.plan.service.entries import (
    health_check_entries,
    loop_back_entries,
    source_range_entries,
)
from ipvsctl.plan.service.frontends import (
    Frontend,
    frontends,
    lost_node_ports,
    uses_cluster_endpoints,
)
from ipvsctl.plan.service.program import (
    HealthCheck,
    InsideProgram,
    ServerProgram,
    ServiceProgram,
    SetMember,
    WayIn,
    precedence,
    without_mark,
)
from ipvsctl.plan.service.refusals import admit
from ipvsctl.plan.service.scheduling import SOURCE_HASH, Scheduling, choose_scheduling
from ipvsctl.plan.service.vips import (
    family_problems,
    service_problem,
)

_STEP: Final = 128
"""Virtual servers that are made in one step: some two milliseconds."""


def compile_service(
    service: Service,
    slices: Iterable[EndpointSlice],
    node: NodeContext,
    config: ProxyConfig,
    allowance: Allowance | None = None,
) -> ServiceProgram:
    """Compile one Service on its own.

    Args:
        service: as the store has it.
        slices: those of this Service, of any family; the one that changed last comes
            last.
        node: this node and its peers' addresses.
        config: settings.
        allowance: what of it may be served; unless given, what one Service may have.

    Returns:
        An empty program for a Service that a proxy leaves alone.

    Source: kube-proxy pkg/proxy/ipvs/proxier.go (`syncProxyRules`), v1.36.
    """
    return finish(compile_in_steps(service, slices, node, config, allowance))


def compile_in_steps(
    service: Service,
    slices: Iterable[EndpointSlice],
    node: NodeContext,
    config: ProxyConfig,
    allowance: Allowance | None = None,
) -> Generator[None, None, ServiceProgram]:
    """The same in steps of some milliseconds."""
    if not service.proxied:
        return ServiceProgram(ref=service.ref)
    if config.is_kube_proxy and service.has_annotated_ranges:
        # It leaves the annotation to the load balancer that it was made for.
        service = msgspec.structs.replace(service, source_ranges=())
    slices = tuple(slices)
    families = served_families(service, node)
    if allowance is None:
        own = service_limit(config.limits)
        allowance = demand_of(service, slices, node, config).allowance(own)
    find_slices = slices_by_port(service, slices)
    admitted, refusals = admit(service, node, config)
    scheduling = choose_scheduling(service, node, config)
    ports: list[_PortProgram] = []
    made = 0
    for family in families:
        for index in range(len(service.ports)):
            if not (allowance is EVERYTHING or allowance.serves_any(index, family)):
                continue
            port = yield from _compile_port(
                admitted,
                index,
                family,
                _Given(find_slices(service.ports[index]), allowance),
                node,
                config,
                scheduling,
                may_fall_back=_falls_back(service, index, family, config, node),
            )
            ports.append(port)
            made += 1 + len(port.servers)
            if made >= _STEP:
                yield
                made = 0
    servers, clashes = _merge_servers(service, ports)
    entries = dict.fromkeys(entry for port in ports for entry in port.loop_back)
    health_check = _health_check(admitted, ports) if allowance.health_check else None
    if health_check is not None:
        entries.update(dict.fromkeys(health_check_entries(admitted, families)))
    return ServiceProgram(
        ref=service.ref,
        created=service.created,
        servers=servers,
        entries=tuple(entries),
        has_ingress_vip=_has_ingress_vip(admitted, servers),
        lost_node_ports=()
        if service.type is ServiceType.CLUSTER_IP
        else lost_node_ports(admitted, families, node, config),
        health_check=health_check,
        problems=in_words(
            (
                *allowance.problems,
                *family_problems(admitted, families, node),
                *refusals,
                *scheduling.problems,
                *clashes,
            )
        ),
    )


class _Given(NamedTuple):
    """What a port is compiled from, beside the Service."""

    slices: tuple[EndpointSlice, ...]
    allowance: Allowance


class _PortProgram(msgspec.Struct, frozen=True, kw_only=True):
    """One port of the Service in one family."""

    servers: tuple[ServerProgram, ...]
    loop_back: tuple[SetMember, ...]
    family: IPFamily
    local_ready: frozenset[IPAddress]


def _compile_port(
    service: Service,
    index: int,
    family: IPFamily,
    given: _Given,
    node: NodeContext,
    config: ProxyConfig,
    scheduling: Scheduling,
    *,
    may_fall_back: bool,
) -> Generator[None, None, _PortProgram]:
    port = service.ports[index]
    slices, allowance = given
    endpoints = port_endpoints(
        slices,
        family=family,
        port_name=port.name,
        protocol=port.protocol,
        node_name=node.name,
    )
    usable = usable_endpoints(endpoints, node)
    # Every frontend of one policy leads to the same real servers: one mapping for all.
    everywhere = here = _real_servers(usable.cluster, node, config)
    if usable.local or not may_fall_back:
        here = _real_servers(usable.local, node, config)
    real_servers = {TrafficPolicy.CLUSTER: everywhere, TrafficPolicy.LOCAL: here}
    servers = []
    for frontend in frontends(service, port, index, family, node, config):
        if not allowance.serves(frontend.way, index, frontend.address):
            continue
        server = _server(
            service, port, frontend, real_servers, node, config, scheduling
        )
        if not allowance.has_mark(frontend.way, index, frontend.address):
            server = without_mark(server)
        servers.append(server)
        if len(servers) % _STEP == 0:
            yield
    return _PortProgram(
        servers=tuple(servers),
        loop_back=tuple(loop_back_entries(endpoints, port, family)),
        family=family,
        local_ready=frozenset(
            e.endpoint.address for e in usable.local if e.endpoint.ready
        ),
    )


def _merge_servers(
    service: Service, ports: Iterable[_PortProgram]
) -> tuple[tuple[ServerProgram, ...], list[Problem]]:
    """Make servers unique by key; two frontends may have one address and port.

    If they are the same port of the Service with the same real servers (an external
    IP that is an ingress VIP too), it is one virtual server with the entries of both;
    else the better way in has it, and the other is a problem.
    """
    servers: dict[VirtualServerKey, ServerProgram] = {}
    problems = []
    for program in (server for port in ports for server in port.servers):
        key = program.server.key
        known = servers.setdefault(key, program)
        if known is program:
            continue
        better, worse = known, program
        if precedence(program.way) < precedence(known.way):
            better, worse = program, known
        servers[key] = better
        if (
            better.port_name == worse.port_name
            and better.real_servers == worse.real_servers
        ):
            servers[key] = msgspec.structs.replace(
                better, entries=(*better.entries, *worse.entries)
            )
        else:
            reason = f"already taken by {better.field} of this Service"
            problems.append(service_problem(service, worse.field, key, reason))
    return tuple(servers.values()), problems


def _has_ingress_vip(service: Service, servers: Iterable[ServerProgram]) -> bool:
    vips = service.ingress_vips
    return bool(vips) and any(
        s.is_bound and s.server.key.address in vips for s in servers
    )


def _falls_back(
    service: Service,
    index: int,
    family: IPFamily,
    config: ProxyConfig,
    node: NodeContext,
) -> bool:
    """Whether Local frontends of a port without local endpoints get the cluster's.

    Not a matter of which frontends are refused: that takes nothing from the others.

    kube-proxy does it for the sake of inside clients, which its one virtual server
    cannot tell from others: outside clients are answered from an address they did not
    ask and drop it. With the short circuit there is no need, as long as pods are known.
    """
    if config.is_kube_proxy:
        may = True
    elif config.local_fallback is not None:
        may = config.local_fallback is LocalFallback.CLUSTER
    else:
        may = not (config.short_circuit and local_clients(family, config, node))
    return may and uses_cluster_endpoints(service, service.ports[index], family)


def _real_servers(
    endpoints: tuple[PortEndpoint, ...], node: NodeContext, config: ProxyConfig
) -> Mapping[RealServerKey, RealServer]:
    """Real servers in this node's own order.

    With `rr` every virtual server starts at the first one; were that the same on all
    nodes, a new Service's first requests from everywhere would meet one pod.
    """
    has_weights = not config.is_kube_proxy
    seed = crc32(node.name.encode())
    ranked = [
        (crc32(e.endpoint.address.packed + e.port.to_bytes(2, "big"), seed), e)
        for e in endpoints
    ]
    ranked.sort(key=_rank)
    servers = {}
    for _, e in ranked:
        key = RealServerKey(e.endpoint.address, e.port)
        servers[key] = RealServer(key=key, weight=e.weight if has_weights else 1)
    return servers


_rank = itemgetter(0)


def _server(
    service: Service,
    port: ServicePort,
    frontend: Frontend,
    real_servers: Mapping[TrafficPolicy, Mapping[RealServerKey, RealServer]],
    node: NodeContext,
    config: ProxyConfig,
    scheduling: Scheduling,
) -> ServerProgram:
    family = family_of(frontend.address)
    flags = scheduling.flags
    if service.affinity_timeout_s is not None:
        flags |= ServiceFlags.PERSISTENT
    entry = SetEntry(
        address=frontend.address, protocol=port.protocol, port=frontend.port
    )
    entries = [SetMember(set_key(role, family), entry) for role in frontend.roles]
    if frontend.way is WayIn.INGRESS_VIP:
        entries += source_range_entries(service, entry, family, node)
    chosen = real_servers[frontend.policy]
    inside = None
    if frontend.policy is TrafficPolicy.LOCAL and frontend.way is not WayIn.CLUSTER_IP:
        everywhere = real_servers[TrafficPolicy.CLUSTER]
        if everywhere and not chosen:
            shut = set_key(SetRole.NO_LOCAL_ENDPOINTS, family)
            entries.append(SetMember(shut, entry))
        if frontend.way is WayIn.NODE_PORT:
            # Pods of other nodes come to a node port too, and the answer of an
            # endpoint beside them would not pass here: no short circuit for pods, who
            # cannot be told apart. The cluster's endpoints are their last resort.
            if not chosen and config.local_fallback is not LocalFallback.NONE:
                chosen = everywhere
        elif config.has_short_circuit:
            inside = _inside(service, frontend, everywhere, scheduling, config)
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
            netmask_bits=family.bits,
        ),
        real_servers=chosen,
        entries=tuple(entries),
        field=frontend.field,
        inside=inside,
        is_bound=frontend.is_bound,
    )


def _inside(
    service: Service,
    frontend: Frontend,
    real_servers: Mapping[RealServerKey, RealServer],
    scheduling: Scheduling,
    config: ProxyConfig,
) -> InsideProgram:
    """What a Local frontend is to pods and the host: the cluster's endpoints.

    A persistent virtual server of a fwmark sends packets to the port they were sent
    to, whatever port its real server has (ip_vs_core.c:ip_vs_sched_persist). Where the
    two differ, clients are kept on their endpoint by a hash of their address.
    """
    scheduler, flags, timeout_s = scheduling.scheduler, scheduling.flags, 0
    if service.affinity_timeout_s is not None:
        if all(key.port == frontend.port for key in real_servers):
            flags |= ServiceFlags.PERSISTENT
            timeout_s = service.affinity_timeout_s
        else:
            scheduler, flags = SOURCE_HASH
    return InsideProgram(
        scheduler=scheduler,
        flags=flags,
        timeout_s=timeout_s,
        real_servers=real_servers,
        is_fallback=config.local_fallback is not LocalFallback.NONE,
    )


def _health_check(
    service: Service, ports: Iterable[_PortProgram]
) -> HealthCheck | None:
    """Count the ready endpoints on this node by address, whatever their ports.

    A pod of both families is one endpoint of each.
    Source: kube-proxy pkg/proxy/endpointschangetracker.go (`LocalReadyEndpoints`).
    """
    if not service.health_check_node_port:
        return None
    ready: dict[IPFamily, frozenset[IPAddress]] = {}
    for port in ports:
        known = ready.get(port.family, frozenset())
        ready[port.family] = known | port.local_ready
    return HealthCheck(
        port=service.health_check_node_port,
        local_endpoints=max(map(len, ready.values()), default=0),
    )
