"""What kube-router's annotations ask of a Service.

Those that mean the same here are honoured, as its own service proxy honours them: it
looks whether an annotation is there, and never at its value. What a pod sends to itself
through a VIP is always masqueraded here, and `service.hairpin` and
`service.hairpin.externalips` ask for nothing else; `service.advertise` is about BGP.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.objects import Service, TrafficPolicy
from ipvsctl.model.problem import Problem
from ipvsctl.plan.service.families import service_problem

LOCAL: Final = "kube-router.io/service.local"
"""Both traffic policies are Local."""
SKIP_INGRESS_VIPS: Final = "kube-router.io/service.skiplbips"
"""The addresses that a load balancer has given it are not served."""
DIRECT_SERVER_RETURN: Final = "kube-router.io/service.dsr"

_HONOURED: Final = (LOCAL, SKIP_INGRESS_VIPS)
_NO: Final = frozenset({"", "0", "false", "no", "off"})


def as_annotated(service: Service, config: ProxyConfig) -> Service:
    """The Service as kube-router would serve it, the same if nothing asks for that."""
    if config.is_kube_proxy or not service.annotations:
        return service
    names = {name for name, _ in service.annotations}
    if LOCAL in names:
        service = msgspec.structs.replace(
            service,
            internal_traffic_policy=TrafficPolicy.LOCAL,
            external_traffic_policy=TrafficPolicy.LOCAL,
        )
    if SKIP_INGRESS_VIPS in names:
        service = msgspec.structs.replace(service, ingress_vips=())
    return service


def annotation_problems(service: Service, config: ProxyConfig) -> Iterator[Problem]:
    """Annotations of kube-router's that do something else than they seem to."""
    if config.is_kube_proxy:
        return
    for name, value in service.annotations:
        field = f"metadata.annotations.{name}"
        if name == DIRECT_SERVER_RETURN:
            reason = (
                "answers do not go from pods to clients directly; clients are served"
                " as without it"
            )
            yield service_problem(service, field, value, reason)
        elif name in _HONOURED and value.strip().lower() in _NO:
            reason = (
                "holds whatever its value, as kube-router has it: take the annotation"
                " away"
            )
            yield service_problem(service, field, value, reason)
