"""Why a Service answers on this node, or does not: from the object to the wire.

What is said of the kernel is what a plan would change, so that `explain` and `diff`
never disagree; what is said of packets is what a trace finds.
"""

from collections.abc import Generator, Iterable, Iterator
from typing import Final

import msgspec

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.explanation import Explanation, Part, Step, Verdict
from ipvsctl.model.net import IPFamily, Protocol, family_of, format_host_port
from ipvsctl.model.objects import Service, ServicePort, TrafficPolicy
from ipvsctl.model.problem import Kind
from ipvsctl.model.target import NamedTarget, Target
from ipvsctl.plan.diff.ops import Plan
from ipvsctl.plan.report.explain_inputs import ExplainInputs
from ipvsctl.plan.report.explain_kernel import node_steps, server_steps
from ipvsctl.plan.report.explain_localhost import localhost_part
from ipvsctl.plan.report.explain_packet import Client, Origin, packet_steps
from ipvsctl.plan.report.explain_target import Asked, NotThere, resolve
from ipvsctl.plan.report.explain_tunnels import tunnel_steps
from ipvsctl.plan.report.why import Lack, PortEndpoints, endpoints_of
from ipvsctl.plan.service.families import served_families
from ipvsctl.plan.service.kube_router import as_annotated
from ipvsctl.plan.service.program import LocalhostPort, ServerProgram, WayIn

_MOST_PROBLEMS: Final = 8
_MOST_LINES: Final = 8
_MOST_WAYS: Final = 16
"""Ways in that are explained one by one; broken ones come first."""


def explain(
    inputs: ExplainInputs,
    target: Target,
    client: Client | None = None,
    protocol: Protocol | None = None,
) -> Generator[None, None, Explanation]:
    """Explain, in steps.

    Args:
        inputs: what is known.
        target: what somebody asks about.
        client: who the packets come from; None is whoever usually asks.
        protocol: only ports of this one; None is all.
    """
    asked = yield from resolve(inputs, target)
    if isinstance(asked, NotThere):
        step = Step(verdict=Verdict.BROKEN, subject="target", found=asked.reason)
        return Explanation(
            target=str(target), parts=(Part(title=str(target), steps=(step,)),)
        )
    parts: list[Part] = []
    for one in asked:
        yield
        parts += _service_parts(inputs, one, client, protocol, has_node=not parts)
    return Explanation(target=_name(target, asked), parts=tuple(parts))


def _service_parts(
    inputs: ExplainInputs,
    asked: Asked,
    client: Client | None,
    protocol: Protocol | None,
    *,
    has_node: bool,
) -> Iterator[Part]:
    service = asked.service
    program = inputs.desired.programs.get(service.ref)
    plan = inputs.plan_for(program)
    ports = [p for p in service.ports if _is_asked(p, asked.port, protocol)]
    names = {(p.name, p.protocol) for p in ports}
    servers = [
        server
        for server in (program.servers if program else ())
        if asked.has(server) and _port_of(server) in names
    ]
    listeners = [
        port
        for port in (program.localhost_ports if program else ())
        if asked.has_listener(port.listener)
        and (port.port_name.port, port.port_name.protocol) in names
    ]
    families = {
        *(s.server.key.family for s in servers),
        *(family_of(port.listener.address) for port in listeners),
    } or set(served_families(service, inputs.context))
    if has_node:
        steps = (
            _node_step(inputs, service),
            *node_steps(inputs, plan, sorted(families)),
        )
        yield Part(title=f"node {inputs.context.name}", steps=steps)
    yield Part(
        title=f"Service {service.ref}",
        steps=(
            _accepted_step(service, inputs.config),
            *_problem_steps(inputs, asked),
            *_endpoint_steps(inputs, asked, ports, servers, listeners, families),
        ),
    )
    ways = [_way_part(inputs, service, server, plan, client) for server in servers]
    ways += [localhost_part(inputs, port) for port in listeners]
    ways.sort(key=lambda part: not any(s.verdict is Verdict.BROKEN for s in part.steps))
    yield from ways[:_MOST_WAYS]
    if len(ways) > _MOST_WAYS:
        yield _rest_part(ways[_MOST_WAYS:])


def _port_of(server: ServerProgram) -> tuple[str, Protocol]:
    return server.port_name.port, server.port_name.protocol


def _is_asked(port: ServicePort, name: str, protocol: Protocol | None) -> bool:
    numbers = {"", port.name, str(port.port), str(port.node_port)}
    return name in numbers and protocol in {None, port.protocol}


def _node_step(inputs: ExplainInputs, service: Service) -> Step:
    name = inputs.context.name
    if inputs.objects.node(name) is not None:
        zone = f", zone {inputs.context.zone}" if inputs.context.zone else ""
        return Step(verdict=Verdict.OK, subject="node", found=f"is known{zone}")
    has_names = any(
        endpoint.node_name
        for piece in inputs.objects.slices_of(service.ref)
        for endpoint in piece.endpoints
    )
    return Step(
        verdict=Verdict.BROKEN if has_names else Verdict.NOTE,
        subject="node",
        found=f"no Node {name} is known: its zone, addresses and pod networks are not,"
        " and no endpoint counts as on this node",
        remedy="--node-name, or spec.nodeName of the pod, must be the name of its Node",
    )


def _accepted_step(asked: Service, config: ProxyConfig) -> Step:
    service = as_annotated(asked, config)
    ports = ", ".join(
        f"{port.name + ' ' if port.name else ''}{port.port}/{port.protocol.name}"
        + (f" node port {port.node_port}" if port.node_port else "")
        for port in service.ports[:_MOST_LINES]
    )
    policies = f"internalTrafficPolicy {service.internal_traffic_policy}"
    if (
        service.external_ips
        or service.ingress_vips
        or any(port.node_port for port in service.ports)
    ):
        policies += f", externalTrafficPolicy {service.external_traffic_policy}"
    if service is not asked:
        policies += " (as annotations of kube-router's have it)"
    details = [policies]
    if service.source_ranges:
        details.append(f"source ranges {', '.join(map(str, service.source_ranges))}")
    if service.affinity_timeout_s is not None:
        details.append(f"client affinity for {service.affinity_timeout_s} s")
    return Step(
        verdict=Verdict.OK,
        subject="accepted",
        found=f"{service.type}, {ports or 'no port'}",
        details=tuple(details),
    )


def _problem_steps(inputs: ExplainInputs, asked: Asked) -> Iterator[Step]:
    ref = asked.service.ref
    mine = [
        problem
        for problem in inputs.problems
        if (problem.ref == ref and problem.kind is Kind.SERVICE)
        or (
            problem.kind in {Kind.ENDPOINT_SLICE, Kind.ENDPOINTS}
            and any(piece.ref == problem.ref for piece in inputs.objects.slices_of(ref))
        )
    ]
    for problem in mine[:_MOST_PROBLEMS]:
        yield Step(
            verdict=Verdict.BROKEN,
            subject="problem",
            found=": ".join(
                filter(None, (problem.field, problem.value, problem.reason))
            ),
            remedy=f"{problem.field} of {problem.kind} {problem.ref}",
        )


def _endpoint_steps(
    inputs: ExplainInputs,
    asked: Asked,
    ports: Iterable[ServicePort],
    servers: list[ServerProgram],
    listeners: list[LocalhostPort],
    families: Iterable[IPFamily],
) -> Iterator[Step]:
    service = asked.service
    slices = inputs.objects.slices_of(service.ref)
    for port in ports:
        for family in sorted(families):
            found = endpoints_of(service, port, family, slices, inputs.context)
            policies = _policies(port, family, servers)
            if not policies:
                policies = _listener_policies(service, port, family, listeners)
            yield _endpoint_step(inputs, asked, found, policies)


def _policies(
    port: ServicePort, family: IPFamily, servers: list[ServerProgram]
) -> list[TrafficPolicy]:
    """The policies of the ways in that are asked about, each once."""
    found = {
        server.way: server.policy
        for server in servers
        if _port_of(server) == (port.name, port.protocol)
        and server.server.key.family is family
    }
    return [*dict.fromkeys(found[way] for way in sorted(found))]


def _listener_policies(
    service: Service,
    port: ServicePort,
    family: IPFamily,
    listeners: list[LocalhostPort],
) -> list[TrafficPolicy]:
    """Where no virtual server is asked about; at least that of a cluster IP."""
    for one in listeners:
        name = one.port_name.port, one.port_name.protocol
        if name == (port.name, port.protocol) and family is family_of(
            one.listener.address
        ):
            # Without an endpoint here the node itself has the cluster's.
            return [TrafficPolicy.CLUSTER if one.real_servers else one.policy]
    return [service.internal_traffic_policy]


def _endpoint_step(
    inputs: ExplainInputs,
    asked: Asked,
    found: PortEndpoints,
    policies: list[TrafficPolicy],
) -> Step:
    worst = next((p for p in policies if found.lack(p) is not Lack.NONE), policies[0])
    lack = found.lack(worst)
    out = [*found.outside(worst, inputs.context)]
    if asked.endpoint is not None:
        mine = f"{asked.endpoint}"
        is_out = [line for line in out if mine in line]
        if is_out:
            return Step(
                verdict=Verdict.BROKEN,
                subject=f"endpoint {mine}",
                found=is_out[0],
                details=(found.words(worst),),
            )
    port = found.port.name or str(found.port.port)
    left = len(out) - _MOST_LINES
    return Step(
        verdict=Verdict.OK if lack is Lack.NONE else Verdict.BROKEN,
        subject=f"endpoints of {port} {found.family.label}",
        found=found.words(worst),
        details=(*out[:_MOST_LINES], *([f"and {left:,} more"] if left > 0 else ())),
        remedy=found.remedy(worst),
    )


def _way_part(
    inputs: ExplainInputs,
    service: Service,
    server: ServerProgram,
    plan: Plan,
    client: Client | None,
) -> Part:
    key = server.server.key
    title = f"{server.way} {_place(server)}"
    holder = inputs.desired.server(key)
    if holder is None or holder.port_name != server.port_name:
        step = _lost_step(inputs, server, holder)
        return Part(title=title, steps=(step,))
    steps = [*server_steps(inputs, server, plan)]
    steps += tunnel_steps(inputs, service, server)
    for one in _clients(server, client):
        steps += packet_steps(inputs, service, server, one)
    return Part(title=title, steps=tuple(steps))


def _lost_step(
    inputs: ExplainInputs, server: ServerProgram, holder: ServerProgram | None
) -> Step:
    key = server.server.key
    if holder is not None:
        found = f"{key} is Service {holder.port_name.service}'s, whose claim is better"
        remedy = f"{server.field}: two Services ask for one address and port"
    elif key in inputs.desired.foreign:
        found = f"another program of this host has virtual server {key}"
        remedy = f"find who made it, or delete it: ipvsadm -D for {key}"
    else:
        found, remedy = f"{key} is not served", ""
    return Step(
        verdict=Verdict.BROKEN, subject="virtual server", found=found, remedy=remedy
    )


def _clients(server: ServerProgram, client: Client | None) -> tuple[Client, ...]:
    """Who usually asks for a way in."""
    if client is not None:
        return (client,)
    if server.way is WayIn.CLUSTER_IP:
        return (Origin.POD,)
    return (Origin.OUTSIDE,) if server.inside is None else (Origin.OUTSIDE, Origin.POD)


def _place(server: ServerProgram) -> str:
    key = server.server.key
    if key.address is None or key.protocol is None:
        raise TypeError(key)
    return f"{format_host_port(key.address, key.port)}/{key.protocol.name}"


def _rest_part(ways: list[Part]) -> Part:
    broken = sum(
        1 for way in ways if any(step.verdict is Verdict.BROKEN for step in way.steps)
    )
    return Part(
        title=f"and {len(ways):,} more ways in",
        steps=(
            Step(
                verdict=Verdict.BROKEN if broken else Verdict.OK,
                subject="ways in",
                found=f"{broken:,} of them broken" if broken else "as wanted",
            ),
        ),
    )


def _name(target: Target, asked: tuple[Asked, ...]) -> str:
    """The target, with the namespace that it was found in."""
    if isinstance(target, NamedTarget):
        (service,) = {one.service.ref for one in asked}
        target = msgspec.structs.replace(target, namespace=service.namespace)
    return str(target)
