"""How much a Service asks for, and what of that is served.

Counted from the Service and its slices as they are written, before anything is made of
them: an object of some kilobytes can ask for a million virtual servers. This node's
own addresses and endpoints do not count, so every node serves the same.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.limits import Resource, Scope, setting
from ipvsctl.model.net import IPFamily, Protocol, family_of
from ipvsctl.model.objects import (
    EndpointSlice,
    NodeContext,
    Service,
    ServicePort,
    TrafficPolicy,
)
from ipvsctl.model.problem import Problem
from ipvsctl.plan.service.allowance import (
    EVERYTHING,
    WAYS,
    Allowance,
    Cut,
    Place,
    PortDemand,
    Served,
    cut_marks,
    cut_servers,
    place_family,
)
from ipvsctl.plan.service.amounts import ANY_AMOUNTS, RESOURCES, Amounts
from ipvsctl.plan.service.families import served_families, service_problem
from ipvsctl.plan.service.frontends import has_node_port
from ipvsctl.plan.service.kube_router import as_annotated
from ipvsctl.plan.service.program import WayIn
from ipvsctl.plan.service.tunnels import wants_tunnel
from ipvsctl.plan.service.wishes import EXTERNAL_FORWARDING, read_wishes

_MARKED_WAYS: Final = (WayIn.INGRESS_VIP, WayIn.EXTERNAL_IP)
_NO_VIPS: Final[Mapping[IPFamily, int]] = dict.fromkeys(IPFamily, 0)


class Demand:
    """How much one Service asks for, counted once.

    Attributes:
        asked: of each thing that is limited.

    Args:
        service: as the store has it.
        slices: those of this Service.
        families: those that the Service is served in.
        has_short_circuit: see `ProxyConfig.has_short_circuit`.
        has_tunnel: its external addresses are to be tunnelled: they have a mark for
            clients inside the cluster, and one for what other nodes send.
    """

    def __init__(
        self,
        service: Service,
        slices: Iterable[EndpointSlice],
        families: tuple[IPFamily, ...],
        *,
        has_short_circuit: bool,
        has_tunnel: bool = False,
    ) -> None:
        self._service = service
        self._families = families
        self._endpoints = _count_endpoints(slices)
        is_local = service.external_traffic_policy is TrafficPolicy.LOCAL
        self._has_tunnel = has_tunnel
        self._marks = 2 if has_tunnel else int(has_short_circuit and is_local)
        self.asked = self._count()

    def _count(self) -> Amounts:
        service, families = self._service, self._families
        vips: Mapping[IPFamily, int] = _NO_VIPS
        if service.external_ips or service.ingress_vips:
            every = (*service.external_ips, *service.ingress_vips)
            vips = Counter(map(family_of, every))
        ranged = 0
        if service.source_ranges:
            ranges = self._ranges()
            by_family = Counter(map(family_of, service.ingress_vips))
            ranged = sum(by_family[family] * ranges[family] for family in families)
        virtual_servers = real_servers = 0
        for port in service.ports:
            # Beside the VIPs, a cluster IP in each family, and maybe a node port.
            own = 1 + has_node_port(service, port)
            for family in families:
                of_port = own + vips[family]
                virtual_servers += of_port
                real_servers += of_port * self._behind(port, family)
        marks = len(service.ports) * self._marks
        return Amounts(
            virtual_servers,
            real_servers + ranged * len(service.ports),
            marks * vips[IPFamily.IPV4] if IPFamily.IPV4 in families else 0,
            marks * vips[IPFamily.IPV6] if IPFamily.IPV6 in families else 0,
            int(service.health_check_node_port != 0),
        )

    def _ranges(self) -> Counter[IPFamily]:
        return Counter(map(family_of, self._service.source_ranges))

    def _places(self, way: WayIn) -> tuple[Place, ...]:
        """Where the virtual servers of a port are that belong to a way in."""
        match way:
            case WayIn.CLUSTER_IP:
                addresses = self._service.cluster_ips
            case WayIn.NODE_PORT:
                return self._families
            case WayIn.INGRESS_VIP:
                addresses = self._service.ingress_vips
            case WayIn.EXTERNAL_IP:
                addresses = self._service.external_ips
        return tuple(a for a in addresses if family_of(a) in self._families)

    def _behind(self, port: ServicePort, family: IPFamily) -> int:
        """How many real servers a virtual server of a port may have."""
        return self._endpoints.get((family, port.name, port.protocol), 0)

    def allowance(
        self, own: Amounts, granted: Amounts = ANY_AMOUNTS, limit: Amounts = ANY_AMOUNTS
    ) -> Allowance:
        """The part of the Service that is served.

        Args:
            own: the most that one Service may have.
            granted: the most that its namespace leaves for this one.
            limit: the most that its namespace may have, for problems.
        """
        most = own.up_to(granted)
        if self.asked.fits(most):
            return EVERYTHING
        served = self._serve(most)
        marks = {
            key: cut
            for family in self._families
            if self.asked.marks(family) > most.marks(family)
            for key, cut in self._cut_marks(family, most.marks(family))
        }
        return Allowance(
            cuts=served.cuts,
            marks=marks,
            health_check=self.asked.health_checks <= most.health_checks,
            problems=(
                *self._problems(
                    Scope.SERVICE, self.asked, own, own, served.virtual_servers
                ),
                *self._problems(
                    Scope.NAMESPACE,
                    self.within(own),
                    granted,
                    limit,
                    served.virtual_servers,
                ),
            ),
        )

    def within(self, own: Amounts) -> Amounts:
        """How much the Service asks its namespace for.

        Args:
            own: the most that one Service may have.
        """
        if self.asked.fits(own):
            return self.asked
        served = self._serve(own)
        return self.asked.up_to(own)._replace(
            virtual_servers=served.virtual_servers, real_servers=served.real_servers
        )

    def _serve(self, limit: Amounts) -> Served:
        return cut_servers(((way, self._ports(way)) for way in WAYS), limit)

    def _ports(self, way: WayIn) -> Iterator[PortDemand]:
        """The virtual servers that each port asks for in a way in."""
        places = self._places(way)
        ranges = self._ranges() if way is WayIn.INGRESS_VIP else Counter()
        for port in self._service.ports:
            if way is WayIn.NODE_PORT and not has_node_port(self._service, port):
                yield PortDemand((), [])
                continue
            behind = {
                family: self._behind(port, family) + ranges.get(family, 0)
                for family in self._families
            }
            yield PortDemand(places, [behind[place_family(p)] for p in places])

    def _cut_marks(
        self, family: IPFamily, limit: int
    ) -> Iterator[tuple[tuple[WayIn, IPFamily], Cut]]:
        ways = (
            (way, tuple(p for p in self._places(way) if place_family(p) is family))
            for way in _MARKED_WAYS
        )
        of_each = max(self._marks, 1)
        for way, cut in cut_marks(ways, len(self._service.ports), limit // of_each):
            yield (way, family), cut

    def _problems(
        self,
        scope: Scope,
        asked: Amounts,
        most: Amounts,
        limit: Amounts,
        served: int,
    ) -> Iterator[Problem]:
        """A problem for each thing of which more is asked for than there is.

        Args:
            scope: whose limits these are.
            asked: how much is asked for.
            most: how much of each there is for this Service.
            limit: how much of each there is in all.
            served: how many virtual servers are served.
        """
        ref = self._service.ref
        whose = "a Service" if scope is Scope.SERVICE else f"namespace {ref.namespace}"
        for place, resource in enumerate(RESOURCES):
            if asked[place] <= most[place]:
                continue
            said = f"{whose} may have {limit[place]:,} ({setting(scope, resource)})"
            if scope is Scope.NAMESPACE:
                said += f", of which older Services leave {most[place]:,}"
            field, value = "spec.ports", f"{asked[place]:,} {resource}"
            match resource:
                case Resource.MARKS:
                    field = "spec.externalTrafficPolicy"
                    lost = -(-(asked[place] - most[place]) // max(self._marks, 1))
                    if self._has_tunnel:
                        field = f"metadata.annotations.{EXTERNAL_FORWARDING}"
                        said += "; packets are masqueraded"
                    else:
                        said += "; clients inside the cluster are served like those"
                        said += " outside"
                    said += f" at {lost:,} addresses and ports"
                case Resource.HEALTH_CHECKS:
                    field = "spec.healthCheckNodePort"
                    value = str(self._service.health_check_node_port)
                    said += "; it does not answer"
                case _:
                    said += f"; {served:,} of"
                    said += f" {self.asked.virtual_servers:,} virtual servers are"
                    said += " served, those of cluster IPs first"
            yield service_problem(self._service, field, value, said)


def demand_of(
    service: Service,
    slices: Iterable[EndpointSlice],
    node: NodeContext,
    config: ProxyConfig,
) -> Demand:
    """How much a Service that is proxied asks for."""
    service = as_annotated(service, config)
    return Demand(
        service,
        slices,
        served_families(service, node),
        has_short_circuit=config.has_short_circuit,
        has_tunnel=config.has_tunnel
        and wants_tunnel(service, read_wishes(service, config), config),
    )


def _count_endpoints(
    slices: Iterable[EndpointSlice],
) -> Mapping[tuple[IPFamily, str, Protocol], int]:
    """Endpoints of each port, in any condition, twice where two slices have them."""
    found: dict[tuple[IPFamily, str, Protocol], int] = {}
    for piece in slices:
        count = len(piece.endpoints)
        for port in piece.ports:
            key = (piece.family, port.name, port.protocol)
            found[key] = found.get(key, 0) + count
    return found
