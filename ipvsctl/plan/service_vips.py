"""Which of a Service's addresses are bound, and what is wrong with others."""

from collections.abc import Iterator

from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.model.objects import NodeContext, Service
from ipvsctl.model.problem import Kind, Problem


def bound_addresses(
    service: Service,
    families: tuple[IPFamily, ...],
    node: NodeContext,
) -> Iterator[IPAddress]:
    """Addresses for the VIP link: not those that another link has already.

    The filter closes every other port of a bound address, which must never happen
    to an address of the host; and keepalived or kube-vip takes a floating VIP away
    again, to another node.
    """
    if not service.ports:
        return
    for address in service.cluster_ips:
        if family_of(address) in families:
            yield address
    for address in (*service.external_ips, *service.ingress_vips):
        if family_of(address) in families and address not in node.host_addresses:
            yield address


def family_problems(
    service: Service, families: tuple[IPFamily, ...], node: NodeContext
) -> tuple[Problem, ...]:
    """A problem for each external address of a family that is not served."""
    if not (service.external_ips or service.ingress_vips):
        return ()
    return tuple(
        service_problem(service, field, address, _family_reason(address, node))
        for field, addresses in (
            ("spec.externalIPs", service.external_ips),
            ("status.loadBalancer.ingress", service.ingress_vips),
        )
        for address in addresses
        if family_of(address) not in families
    )


def _family_reason(address: IPAddress, node: NodeContext) -> str:
    family = family_of(address)
    if family not in node.families:
        return f"this node's kernel has no {family.label}; not served"
    return f"the Service has no {family.label} cluster IP; not served"


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
