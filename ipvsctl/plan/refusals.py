"""What of a Service this node does not serve, and why.

A refusal takes away what its problem names and nothing else: it is taken out of the
Service before anything is compiled, so that no other part can depend on it.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.net import IPAddress
from ipvsctl.model.objects import NodeContext, Service
from ipvsctl.model.problem import Problem
from ipvsctl.plan.service_vips import service_problem

_NODE_ADDRESS: Final = "is the address of a Node; not served"


class Admitted(NamedTuple):
    """What is left of a Service, and a problem for each thing that is not."""

    service: Service
    problems: tuple[Problem, ...] = ()


def admit(service: Service, node: NodeContext, config: ProxyConfig) -> Admitted:
    """Take out of a Service what may not be served on this node."""
    if config.is_kube_proxy or not (service.external_ips or service.ingress_vips):
        return Admitted(service)
    problems: list[Problem] = []
    external = tuple(
        _allowed(service, "spec.externalIPs", service.external_ips, node, problems)
    )
    ingress = tuple(
        _allowed(
            service,
            "status.loadBalancer.ingress",
            service.ingress_vips,
            node,
            problems,
        )
    )
    if not problems:
        return Admitted(service)
    left = msgspec.structs.replace(service, external_ips=external, ingress_vips=ingress)
    return Admitted(left, tuple(problems))


def is_refusal(problem: Problem) -> bool:
    """Whether a problem is that of a VIP that is not served."""
    return problem.reason == _NODE_ADDRESS


def _allowed(
    service: Service,
    field: str,
    vips: tuple[IPAddress, ...],
    node: NodeContext,
    problems: list[Problem],
) -> Iterator[IPAddress]:
    for vip in vips:
        # Bound here, the address of a Node cuts this node off from that one
        # (k/k#75290, k/k#117613); of this one, a Service would take the host's ports.
        # Another address on a link of this node may be a VIP that others move.
        if vip in node.peer_addresses or vip in node.node_addresses:
            problems.append(service_problem(service, field, vip, _NODE_ADDRESS))
        else:
            yield vip
