"""Why a port of a Service has no endpoint that packets may be sent to, or fewer."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from operator import attrgetter

import msgspec

from ipvsctl.model.net import IPFamily, format_host_port
from ipvsctl.model.objects import (
    EndpointSlice,
    NodeContext,
    Service,
    ServicePort,
    ServicePortName,
)
from ipvsctl.model.objects import TrafficPolicy as Policy
from ipvsctl.plan.service.endpoints import (
    PortEndpoint,
    UsableEndpoints,
    port_endpoints,
    usable_endpoints,
)


class Lack(StrEnum):
    """Why a port has no endpoint under one traffic policy."""

    NONE = "none"
    """It has some."""
    EMPTY = "empty"
    """No slice of the Service has an endpoint."""
    PORT_NAME = "port_name"
    """They are there, under other names of ports."""
    NOT_READY = "not_ready"
    """They are there, and none of them is ready."""
    LOCAL = "local"
    """None of the ready ones is on this node."""


class PortEndpoints(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoints of one port in one family, and which of them may be used.

    Attributes:
        all: ready or not.
        usable: by each policy.
        slices: how many the Service has in this family.
        other_ports: the ports that its slices have, if none of them is this one.
    """

    service: Service
    port: ServicePort
    family: IPFamily
    all: tuple[PortEndpoint, ...]
    usable: UsableEndpoints
    slices: int
    other_ports: tuple[str, ...] = ()

    def of(self, policy: Policy) -> tuple[PortEndpoint, ...]:
        """Those that a policy may use."""
        return self.usable.local if policy is Policy.LOCAL else self.usable.cluster

    def lack(self, policy: Policy) -> Lack:
        """Why there is none for a policy."""
        if self.of(policy):
            return Lack.NONE
        if self.usable.cluster:
            return Lack.LOCAL
        if self.all:
            return Lack.NOT_READY
        return Lack.PORT_NAME if self.other_ports else Lack.EMPTY

    def words(self, policy: Policy) -> str:
        """The lack in words; how many there are, if there are some."""
        count = _count(len(self.all), "endpoint")
        wanted = _port_text(self.port)
        match self.lack(policy):
            case Lack.NONE:
                found = len(self.of(policy))
                where = " on this node" if policy is Policy.LOCAL else ""
                of = "all" if found == len(self.all) else f"{found:,}"
                return f"{count}, {of} usable{where}"
            case Lack.EMPTY:
                if not self.slices:
                    return f"no {self.family.label} EndpointSlice for the Service"
                return "no endpoint in any EndpointSlice of the Service"
            case Lack.PORT_NAME:
                names = ", ".join(self.other_ports)
                return f"no endpoint has a port {wanted}; there are {names}"
            case Lack.NOT_READY:
                return f"none of {count} is ready"
            case Lack.LOCAL:
                ready = len(self.usable.cluster)
                return (
                    f"policy Local, and none of {_count(ready, 'ready endpoint')}"
                    " is on this node"
                )

    def remedy(self, policy: Policy) -> str:
        """The object that mends the lack; "" if there is none."""
        namespace, name = self.service.ref.namespace, self.service.ref.name
        match self.lack(policy):
            case Lack.NONE:
                return ""
            case Lack.EMPTY if self.service.has_selector:
                return (
                    f"compare the selector of Service {self.service.ref} with the"
                    f" labels of its pods: kubectl get endpoints -n {namespace} {name}"
                )
            case Lack.EMPTY:
                return (
                    "the Service has no selector: write an EndpointSlice with label"
                    f" kubernetes.io/service-name={name} in namespace {namespace}"
                )
            case Lack.PORT_NAME:
                return (
                    f"targetPort or the name of port {self.port.port} of Service"
                    f" {self.service.ref} does not fit its pods or slices"
                )
            case Lack.NOT_READY:
                return (
                    "see why the pods are not ready:"
                    f" kubectl describe pods -n {namespace}"
                )
            case Lack.LOCAL:
                return (
                    "run a pod on this node, have the load balancer heed the health"
                    " check, or use policy Cluster"
                )

    def outside(self, policy: Policy, node: NodeContext) -> Iterator[str]:
        """A line for each endpoint that is not used, with the reason."""
        used = {id(endpoint) for endpoint in self.of(policy)}
        for endpoint in sorted(self.all, key=attrgetter("server.key")):
            if id(endpoint) not in used:
                yield f"{_place(endpoint)}: out, {_why_out(endpoint, policy, node)}"


def port_of(service: Service | None, name: ServicePortName) -> ServicePort | None:
    """The port of a name; None if the Service has it no more."""
    for port in service.ports if service else ():
        if (port.name, port.protocol) == (name.port, name.protocol):
            return port
    return None


def endpoints_of(
    service: Service,
    port: ServicePort,
    family: IPFamily,
    slices: Iterable[EndpointSlice],
    node: NodeContext,
) -> PortEndpoints:
    """The endpoints of one port in one family, as the compiler sees them.

    Args:
        service: whose port it is.
        port: of the Service.
        family: of the endpoints.
        slices: of the Service; the one that changed last comes last.
        node: this node.
    """
    mine = tuple(piece for piece in slices if piece.family is family)
    found = port_endpoints(
        mine,
        family=family,
        port_name=port.name,
        protocol=port.protocol,
        node_name=node.name,
    )
    others: dict[str, None] = {}
    if not found:
        for piece in mine:
            if piece.endpoints:
                others |= dict.fromkeys(
                    f"{p.name or '(unnamed)'} {p.protocol.name}" for p in piece.ports
                )
    return PortEndpoints(
        service=service,
        port=port,
        family=family,
        all=found,
        usable=usable_endpoints(found, node),
        slices=len(mine),
        other_ports=tuple(sorted(others)),
    )


def _why_out(endpoint: PortEndpoint, policy: Policy, node: NodeContext) -> str:
    e = endpoint.endpoint
    if not e.ready:
        if e.terminating:
            return "terminating, and others are ready" if e.serving else "terminating"
        return "not ready"
    if policy is Policy.LOCAL and not endpoint.is_local:
        return f"on node {e.node_name}" if e.node_name else "on no known node"
    hints = ", ".join(sorted(e.hint_nodes or e.hint_zones))
    return f"hinted for {hints}, and this is node {node.name} in zone {node.zone}"


def _place(endpoint: PortEndpoint) -> str:
    return format_host_port(endpoint.endpoint.address, endpoint.port)


def _port_text(port: ServicePort) -> str:
    return f"{port.name or '(unnamed)'} {port.protocol.name}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
