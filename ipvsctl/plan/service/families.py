"""The families that a Service is served in, and problems of addresses of others."""

from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.model.objects import NodeContext, Service
from ipvsctl.model.problem import Kind, Problem


def served_families(service: Service, node: NodeContext) -> tuple[IPFamily, ...]:
    """The families of a Service that the kernel has."""
    return tuple(
        family
        for family in (*map(family_of, service.cluster_ips), *service.lost_families)
        if family in node.families
    )


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
