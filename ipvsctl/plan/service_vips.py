"""Which of a Service's addresses are not served, and why."""

from collections.abc import Iterator

from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.model.objects import NodeContext, Service
from ipvsctl.model.problem import Kind, Problem


def node_vips(service: Service, node: NodeContext) -> Iterator[IPAddress]:
    """VIPs that are some Node's own address.

    Bound here, such an address cuts this node off from that one, and closes the
    host ports of this one (k/k#75290, k/k#117613).
    """
    for address in (*service.external_ips, *service.ingress_vips):
        if (
            address in node.peer_addresses
            or address in node.node_addresses
            or address in node.host_addresses
        ):
            yield address


_REFUSED = "is the address of a Node; not served"


def is_refusal(problem: Problem) -> bool:
    """Whether a problem is that of a VIP that is some Node's own address."""
    return problem.reason == _REFUSED


def refusals(service: Service, refused: frozenset[IPAddress]) -> Iterator[Problem]:
    """A problem for each address that is refused."""
    for field, addresses in _external_fields(service):
        for address in addresses:
            if address in refused:
                yield service_problem(service, field, address, _REFUSED)


def family_problems(
    service: Service, families: tuple[IPFamily, ...]
) -> Iterator[Problem]:
    """A problem for each external address of a family without a cluster IP."""
    for field, addresses in _external_fields(service):
        for address in addresses:
            family = family_of(address)
            if family not in families:
                yield service_problem(
                    service,
                    field,
                    address,
                    f"the Service has no {family.label} cluster IP; not served",
                )


def _external_fields(
    service: Service,
) -> tuple[tuple[str, tuple[IPAddress, ...]], ...]:
    return (
        ("spec.externalIPs", service.external_ips),
        ("status.loadBalancer.ingress", service.ingress_vips),
    )


def service_problem(
    service: Service, field: str, value: object, reason: str
) -> Problem:
    """A problem of a Service."""
    return Problem(
        kind=Kind.SERVICE,
        ref=service.ref,
        field=field,
        value=str(value),
        reason=reason,
    )
