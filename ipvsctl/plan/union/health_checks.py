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

_ANY: Mapping[IPFamily, IPAddress] = {
    IPFamily.IPV4: parse_address("0.0.0.0"),  # noqa: S104  # load balancers ask from outside
    IPFamily.IPV6: parse_address("::"),
}

_Claim = tuple[str, ObjectRef]
"""A Service's `created` and name; the least one has the port."""


class ServiceHealth(msgspec.Struct, gc=False, frozen=True):
    """What a health-check node port answers.

    Attributes:
        service: whose port it is.
        local_endpoints: ready endpoints on this node.
    """

    service: ObjectRef
    local_endpoints: int


class HealthChecks:
    """The health-check node ports of all Services.

    Putting or removing a Service costs the same however many there are.
    """

    def __init__(self) -> None:
        self._ports: dict[ObjectRef, tuple[int, _Claim]] = {}
        self._claims: dict[int, dict[_Claim, ServiceHealth]] = {}
        self._lost: ListedProblems[int] = ListedProblems(
            self._lost_problem, "already taken by other Services"
        )
        self._touched: set[int] = set()

    def put(self, program: ServiceProgram) -> None:
        """Take note of what a Service's program says now."""
        check = program.health_check
        if check is None:
            self.remove(program.ref)
            return
        claim = (program.created, program.ref)
        if self._ports.get(program.ref) != (check.port, claim):
            self.remove(program.ref)
            self._ports[program.ref] = check.port, claim
        claims = self._claims.setdefault(check.port, {})
        before = min(claims, default=claim)
        claims[claim] = ServiceHealth(program.ref, check.local_endpoints)
        winner = min(before, claim)
        for lost in {before, claim} - {winner}:
            self._lost.add(lost[1], check.port)
        self._lost.discard(winner[1], check.port)
        self._touched.add(check.port)

    def remove(self, ref: ObjectRef) -> None:
        """Forget a Service; fine if it is not known."""
        if ref not in self._ports:
            return
        port, claim = self._ports.pop(ref)
        claims = self._claims[port]
        del claims[claim]
        self._lost.discard(ref, port)
        self._touched.add(port)
        if claims:
            self._lost.discard(min(claims)[1], port)
        else:
            del self._claims[port]

    def find(self, port: int) -> ServiceHealth | None:
        """What a port answers; None if it is no health-check node port."""
        claims = self._claims.get(port)
        return claims[min(claims)] if claims else None

    def all(self) -> Mapping[int, ServiceHealth]:
        """What each port answers."""
        return {port: claims[min(claims)] for port, claims in self._claims.items()}

    def take_change(self) -> Mapping[int, ServiceHealth | None]:
        """The ports put or removed since the last call, and what they answer now."""
        touched, self._touched = self._touched, set()
        return {port: self.find(port) for port in touched}

    @property
    def lost(self) -> ListedProblems[int]:
        """The Services whose port an older one has."""
        return self._lost

    def _lost_problem(self, ref: ObjectRef, port: int) -> Problem:
        winner = min(self._claims[port])
        return port_problem(ref, port, f"already taken by Service {winner[1]}")


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
