"""Health-check node ports: which Service answers on which, and at which addresses."""

from collections.abc import Mapping

import msgspec

from ipvsctl.model.config import NodePortAddresses
from ipvsctl.model.net import IPAddress, IPFamily, family_of, parse_address
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.problem_book import ListedProblems
from ipvsctl.plan.service.node_addresses import node_port_addresses
from ipvsctl.plan.service.program import ServiceProgram
from ipvsctl.plan.union.claims import Claim, Claims

_ANY: Mapping[IPFamily, IPAddress] = {
    IPFamily.IPV4: parse_address("0.0.0.0"),  # noqa: S104  # load balancers ask from outside
    IPFamily.IPV6: parse_address("::"),
}


class ServiceHealth(msgspec.Struct, gc=False, frozen=True):
    """The answer of a health-check node port.

    Attributes:
        service: whose port it is.
        local_endpoints: ready endpoints on this node.
    """

    service: ObjectRef
    local_endpoints: int


class HealthChecks:
    """The health-check node ports of all Services; the older Service has a port.

    Putting or removing a Service costs the same however many there are.
    """

    def __init__(self) -> None:
        self._ports: dict[ObjectRef, int] = {}
        self._claims: Claims[int, ServiceHealth] = Claims(_lost_problem)
        self._touched: set[int] = set()

    def put(self, program: ServiceProgram) -> None:
        """Take note of what a Service's program says now."""
        check = program.health_check
        if check is None:
            self.remove(program.ref)
            return
        if self._ports.get(program.ref, check.port) != check.port:
            self.remove(program.ref)
        self._ports[program.ref] = check.port
        health = ServiceHealth(program.ref, check.local_endpoints)
        if self._claims.put(check.port, Claim(0, program.created, program.ref, health)):
            self._touched.add(check.port)

    def remove(self, ref: ObjectRef) -> None:
        """Forget a Service; fine if it is not known."""
        port = self._ports.pop(ref, None)
        if port is not None:
            self._claims.withdraw(port, ref)
            self._touched.add(port)

    def find(self, port: int) -> ServiceHealth | None:
        """The answer of a port; None if it is no health-check node port."""
        claim = self._claims.holder(port)
        return None if claim is None else claim.value

    def all(self) -> Mapping[int, ServiceHealth]:
        """Health-check node port -> the answer."""
        return self._claims.held()

    def take_change(self) -> Mapping[int, ServiceHealth | None]:
        """The ports put or removed since the last call, and what they answer now."""
        touched, self._touched = self._touched, set()
        return {port: self.find(port) for port in touched}

    @property
    def lost(self) -> ListedProblems[int]:
        """The Services whose port an older one has."""
        return self._claims.lost


def _lost_problem(port: int, claim: Claim[ServiceHealth], reason: str) -> Problem:
    return port_problem(claim.service, port, reason)


def port_problem(service: ObjectRef, port: int, reason: str) -> Problem:
    """Why a Service's health-check node port does not answer for it."""
    return Problem(
        kind=Kind.SERVICE,
        ref=service,
        field="spec.healthCheckNodePort",
        value=str(port),
        reason=reason,
    )


def health_check_addresses(
    node: NodeContext, choice: NodePortAddresses
) -> tuple[IPAddress, ...]:
    """Where health checks are answered: an unspecified address is every one.

    Source: kube-proxy pkg/proxy/healthcheck/service_health.go
        (`newServiceHealthServer`); pkg/proxy/util/nodeport_addresses.go (`MatchAll`).
    """
    found: list[IPAddress] = []
    for family in node.families:
        networks = [net for net in choice.networks if family_of(net) is family]
        if not choice.primary and all(net.prefixlen == 0 for net in networks):
            found.append(_ANY[family])
        else:
            found += node_port_addresses(node, choice, family)
    return tuple(found)
