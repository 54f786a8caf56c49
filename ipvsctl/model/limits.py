"""How much of a node one Service, and one namespace, may have."""

from enum import StrEnum

import msgspec


class Resource(StrEnum):
    """The things that are limited; the value is their name in problems."""

    VIRTUAL_SERVERS = "virtual servers"
    REAL_SERVERS = "real servers"
    MARKS = "fwmarks"
    HEALTH_CHECKS = "health checks"


class Scope(StrEnum):
    """Whose part of a node is limited."""

    SERVICE = "service"
    NAMESPACE = "namespace"


def setting(scope: Scope, resource: Resource) -> str:
    """The path of a limit in the configuration file, for problems."""
    what = "marks" if resource is Resource.MARKS else resource
    return f"ipvsctl.{scope}{what.title().replace(' ', '')}"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one Service, and all Services of a namespace together, may have.

    They protect the node from what somebody who may create Services can write, so they
    hold with `compatibility: kube-proxy` as well, and are so large that no cluster that
    works meets them. What a Service has is counted as it is written, and not as this
    node sees it, so that all nodes serve the same. 0 is no limit.

    Attributes:
        service_virtual_servers: virtual servers of one Service: an address, a protocol
            and a port each, node ports counting once a family. 32,768, which 2,000
            media ports on eight addresses of both families do not fill, while 1,000
            ports on 1,000 external IPs, an object of 47 KB, ask for a million. Above
            it the cluster IPs are served first, then node ports, ingress VIPs, external
            IPs, each from the first port on.
        namespace_virtual_servers: the same of all Services in a namespace; 262,144,
            room for 50,000 Services with two ports and two families. Above it the
            older Services are served first.
        service_real_servers: real servers of one Service, counted for each of its
            virtual servers, whether ready or not; a source range of a load balancer
            counts for each ingress VIP and port like one. 524,288, some 300 MB of
            kernel memory: 16,000 virtual servers with 30 endpoints.
        namespace_real_servers: the same of all Services in a namespace; 2,097,152, as
            many as 50,000 Services with two ports, two families and ten endpoints.
        service_marks: packet marks of `markRange`, in one family, that one Service may
            have for clients inside the cluster: one for each external address,
            protocol and port with policy Local. 8,192, half of the marks there are.
            Addresses above it have no short circuit: their clients inside the cluster
            are served as those outside are, with the cluster's endpoints where this
            node has none.
        namespace_marks: the same of all Services in a namespace; 12,288, so that a
            quarter is left to the others.
        namespace_health_checks: health-check node ports of all Services in a
            namespace, a listening socket each; 4,096, more than the API server has
            to give out unless its range of node ports is changed.
    """

    service_virtual_servers: int = 1 << 15
    namespace_virtual_servers: int = 1 << 18
    service_real_servers: int = 1 << 19
    namespace_real_servers: int = 1 << 21
    service_marks: int = 1 << 13
    namespace_marks: int = 3 << 12
    namespace_health_checks: int = 1 << 12
