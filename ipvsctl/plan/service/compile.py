"""The program of a Service: the only place that decides what a Service means."""

from collections.abc import Generator, Iterable
from typing import Final, NamedTuple

import msgspec

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.objects import EndpointSlice, NodeContext, Service, ServiceType
from ipvsctl.model.problem import Problem, in_words
from ipvsctl.model.steps import finish
from ipvsctl.plan.service.allowance import EVERYTHING, Allowance
from ipvsctl.plan.service.amounts import service_limit
from ipvsctl.plan.service.demand import demand_of
from ipvsctl.plan.service.endpoints import (
    KnownSlices,
    port_endpoints,
    slices_by_port,
    usable_endpoints,
)
from ipvsctl.plan.service.entries import health_check_entries, loop_back_entries
from ipvsctl.plan.service.families import (
    family_problems,
    served_families,
    service_problem,
)
from ipvsctl.plan.service.frontends import frontends, lost_node_ports
from ipvsctl.plan.service.kube_router import annotation_problems, as_annotated
from ipvsctl.plan.service.localhost_ports import localhost_port, one_of_each
from ipvsctl.plan.service.program import (
    HealthCheck,
    LocalhostPort,
    ServerProgram,
    ServiceProgram,
    SetMember,
    WayIn,
    precedence,
    without_mark,
)
from ipvsctl.plan.service.real_servers import falls_back, real_servers_by_policy
from ipvsctl.plan.service.refusals import admit
from ipvsctl.plan.service.scheduling import Scheduling, choose_scheduling
from ipvsctl.plan.service.servers import server_program, tunnelled_program
from ipvsctl.plan.service.tunnels import may_be_tunnelled, tunnelled_servers

_STEP: Final = 128
"""Virtual servers that are made in one step: some two milliseconds."""


def compile_service(
    service: Service,
    slices: Iterable[EndpointSlice],
    node: NodeContext,
    config: ProxyConfig,
    allowance: Allowance | None = None,
) -> ServiceProgram:
    """Compile one Service on its own: the pure entry point, all in one call.

    The daemon takes `compile_in_steps`, lest a large Service keep others waiting.

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
    known: KnownSlices | None = None,
) -> Generator[None, None, ServiceProgram]:
    """Do `compile_service` in steps of some milliseconds.

    What was found in slices of this Service before (`known`) is not looked for again.
    """
    if not service.proxied:
        return ServiceProgram(ref=service.ref)
    if config.is_kube_proxy and service.has_annotated_ranges:
        # It leaves the annotation to the load balancer that it was made for.
        service = msgspec.structs.replace(service, source_ranges=())
    annotated = tuple(annotation_problems(service, config))
    service = as_annotated(service, config)
    slices = tuple(slices)
    families = served_families(service, node)
    if allowance is None:
        own = service_limit(config.limits)
        allowance = demand_of(service, slices, node, config).allowance(own)
    find_slices = slices_by_port(service, slices)
    if known is not None:
        known.begin()
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
                _Given(find_slices(service.ports[index]), allowance, known),
                node,
                config,
                scheduling,
                may_fall_back=falls_back(
                    service, service.ports[index], family, config, node
                ),
            )
            ports.append(port)
            made += 1 + len(port.servers)
            if made >= _STEP:
                yield
                made = 0
    servers, clashes = _merge_servers(service, ports)
    localhost_ports, more_clashes = one_of_each(
        service, (port.localhost for port in ports if port.localhost is not None)
    )
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
        localhost_ports=localhost_ports,
        problems=in_words(
            (
                *allowance.problems,
                *family_problems(admitted, families, node),
                *refusals,
                *annotated,
                *scheduling.problems,
                *clashes,
                *more_clashes,
            )
        ),
    )


class _Given(NamedTuple):
    """The things a port is compiled from that are not the Service."""

    slices: tuple[EndpointSlice, ...]
    allowance: Allowance
    known: KnownSlices | None


class _PortProgram(msgspec.Struct, frozen=True, kw_only=True):
    """One port of the Service in one family."""

    servers: tuple[ServerProgram, ...]
    loop_back: tuple[SetMember, ...]
    localhost: LocalhostPort | None
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
    slices, allowance, known = given
    endpoints = port_endpoints(
        slices,
        family=family,
        port_name=port.name,
        protocol=port.protocol,
        node_name=node.name,
        known=known,
    )
    usable = usable_endpoints(endpoints, node)
    # Every frontend of one policy leads to the same real servers: one mapping for all.
    real_servers = real_servers_by_policy(
        usable, config, scheduling.wishes, may_fall_back=may_fall_back
    )
    tunnelled = tunnelled_servers(
        service, port, family, usable, real_servers, scheduling.wishes, node, config
    )
    servers = []
    for frontend in frontends(service, port, index, family, node, config):
        if not allowance.serves(frontend.way, index, frontend.address):
            continue
        server = server_program(
            service, port, frontend, real_servers, node, config, scheduling
        )
        if tunnelled is not None and may_be_tunnelled(frontend):
            server = tunnelled_program(
                server, service, port, frontend, tunnelled, scheduling, config
            )
        if not allowance.has_mark(frontend.way, index, frontend.address):
            server = without_mark(server)
        servers.append(server)
        if len(servers) % _STEP == 0:
            yield
    localhost = localhost_port(
        service, port, index, family, real_servers, node, config, scheduling
    )
    if localhost is not None and not allowance.serves(
        WayIn.NODE_PORT, index, localhost.listener.address
    ):
        localhost = None
    return _PortProgram(
        servers=tuple(servers),
        localhost=localhost,
        loop_back=tuple(loop_back_entries(endpoints, port, family)),
        family=family,
        local_ready=frozenset(
            e.endpoint.address for e in usable.local if e.endpoint.ready
        ),
    )


def _merge_servers(
    service: Service, ports: Iterable[_PortProgram]
) -> tuple[tuple[ServerProgram, ...], list[Problem]]:
    """Make virtual servers unique by key; two frontends may have one address and port.

    If both frontends are of one port of the Service with the same real servers (an
    external IP that is an ingress VIP too), the two are one virtual server with the
    entries of both; else the better way in has the key, and the other is a problem.
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
            servers[key] = _with_entries(better, worse)
        else:
            reason = f"already taken by {better.field} of this Service"
            problems.append(service_problem(service, worse.field, key, reason))
    return tuple(servers.values()), problems


def _with_entries(better: ServerProgram, worse: ServerProgram) -> ServerProgram:
    """A program with the entries of another one as well, in each of its forms."""
    plain = better.plain
    if plain is not None and worse.plain is not None:
        plain = _with_entries(plain, worse.plain)
    return msgspec.structs.replace(
        better, entries=(*better.entries, *worse.entries), plain=plain
    )


def _has_ingress_vip(service: Service, servers: Iterable[ServerProgram]) -> bool:
    vips = service.ingress_vips
    return bool(vips) and any(
        s.is_bound and s.server.key.address in vips for s in servers
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
