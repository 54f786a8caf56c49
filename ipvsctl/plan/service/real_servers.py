"""The real servers of a service port: what is behind its frontends."""

from collections.abc import Mapping

from ipvsctl.model.config import LocalFallback, ProxyConfig
from ipvsctl.model.ipvs import RealServer, RealServers
from ipvsctl.model.net import IPFamily
from ipvsctl.model.objects import NodeContext, Service, ServicePort, TrafficPolicy
from ipvsctl.plan.rules.local_clients import local_clients
from ipvsctl.plan.service.endpoints import PortEndpoint, UsableEndpoints
from ipvsctl.plan.service.frontends import uses_cluster_endpoints
from ipvsctl.plan.service.wishes import Wishes


def real_servers_by_policy(
    usable: UsableEndpoints,
    config: ProxyConfig,
    wishes: Wishes,
    *,
    may_fall_back: bool,
) -> Mapping[TrafficPolicy, RealServers]:
    """Traffic policy -> the real servers of its frontends.

    Args:
        usable: the endpoints that each policy may use.
        config: whether weights count.
        wishes: of the Service: how many connections each may have.
        may_fall_back: policy Local has the cluster's, if there are none here; see
            `falls_back`.
    """
    everywhere = here = real_servers_of(usable.cluster, config, wishes)
    if usable.local or not may_fall_back:
        here = real_servers_of(usable.local, config, wishes)
    return {TrafficPolicy.CLUSTER: everywhere, TrafficPolicy.LOCAL: here}


def falls_back(
    service: Service,
    port: ServicePort,
    family: IPFamily,
    config: ProxyConfig,
    node: NodeContext,
) -> bool:
    """Whether Local frontends of a port without local endpoints get the cluster's.

    Not a matter of which frontends are refused: that takes nothing from the others.

    kube-proxy does it for the sake of inside clients, which its one virtual server
    cannot tell from others: outside clients are answered from an address they did not
    ask and drop it. With the short circuit there is no need, as long as pods are known.
    """
    if config.is_kube_proxy:
        may = True
    elif config.local_fallback is not None:
        may = config.local_fallback is LocalFallback.CLUSTER
    else:
        may = not (config.short_circuit and local_clients(family, config, node))
    return may and uses_cluster_endpoints(service, port, family)


def real_servers_of(
    endpoints: tuple[PortEndpoint, ...], config: ProxyConfig, wishes: Wishes
) -> RealServers:
    """The real servers that endpoints are, each with what the Service wishes."""
    if config.is_kube_proxy:
        # To it slices have no weights.
        return {e.server.key: RealServer(key=e.server.key) for e in endpoints}
    if wishes.changes_real_servers:
        scale = wishes.scale(e.server.weight for e in endpoints)
        return {e.server.key: wishes.wanted(e.server, scale) for e in endpoints}
    return {e.server.key: e.server for e in endpoints}
