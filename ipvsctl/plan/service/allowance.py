"""What of a Service is served when it asks for more than it may have.

Counted from the Service and its slices as they are written, before anything is made of
them: an object of some kilobytes can ask for a million virtual servers. This node's
own addresses and endpoints do not count, so every node serves the same.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.limits import Resource, Scope, setting
from ipvsctl.model.net import IPAddress, IPFamily, Protocol, family_of
from ipvsctl.model.objects import (
    EndpointSlice,
    NodeContext,
    Service,
    ServicePort,
    TrafficPolicy,
)
from ipvsctl.model.problem import Problem
from ipvsctl.plan.service.amounts import ANY_AMOUNTS, RESOURCES, Amounts
from ipvsctl.plan.service.frontends import has_node_port
from ipvsctl.plan.service.program import WayIn
from ipvsctl.plan.service.vips import service_problem

_WAYS: Final = (
    WayIn.CLUSTER_IP,
    WayIn.NODE_PORT,
    WayIn.INGRESS_VIP,
    WayIn.EXTERNAL_IP,
)
"""What is served first comes first."""

_MARKED_WAYS: Final = (WayIn.INGRESS_VIP, WayIn.EXTERNAL_IP)

_FEW_PORTS: Final = 8

_NO_VIPS: Final[Mapping[IPFamily, int]] = dict.fromkeys(IPFamily, 0)

_Place = IPAddress | IPFamily
"""Where in a way in a virtual server is: at an address; at a node port, in a family."""


class Cut(msgspec.Struct, frozen=True):
    """How far a row of virtual servers goes, port after port.

    Attributes:
        ports: the first so many ports have all of theirs.
        rest: and the next port has these.
    """

    ports: int
    rest: frozenset[_Place] = frozenset()

    def has(self, index: int, place: _Place) -> bool:
        """Whether a port's virtual server at a place is before the cut."""
        return index < self.ports or (index == self.ports and place in self.rest)


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What of a Service is served.

    Attributes:
        cuts: where each way in ends; one that is not there has everything.
        marks: likewise, where those addresses end that have a fwmark.
        health_check: the health-check node port is answered.
        problems: what is not served, and why.
    """

    cuts: Mapping[WayIn, Cut] = {}
    marks: Mapping[tuple[WayIn, IPFamily], Cut] = {}
    health_check: bool = True
    problems: tuple[Problem, ...] = ()

    def serves(self, way: WayIn, index: int, address: IPAddress) -> bool:
        """Whether port `index` is served at an address."""
        cut = self.cuts.get(way)
        if cut is None:
            return True
        is_node_port = way is WayIn.NODE_PORT
        return cut.has(index, family_of(address) if is_node_port else address)

    def serves_any(self, index: int, family: IPFamily) -> bool:
        """Whether port `index` may be served anywhere in a family."""
        return any(
            cut is None
            or index < cut.ports
            or (index == cut.ports and family in map(_family, cut.rest))
            for cut in map(self.cuts.get, _WAYS)
        )

    def has_mark(self, way: WayIn, index: int, address: IPAddress) -> bool:
        """Whether port `index` at an address may have a fwmark."""
        cut = self.marks.get((way, family_of(address)))
        return cut is None or cut.has(index, address)


EVERYTHING: Final = Allowance()


class Demand:
    """What one Service asks for, counted once.

    Args:
        service: as the store has it.
        slices: those of this Service.
        families: those it is served in.
        has_short_circuit: see `ProxyConfig.has_short_circuit`.
    """

    def __init__(
        self,
        service: Service,
        slices: Iterable[EndpointSlice],
        families: tuple[IPFamily, ...],
        *,
        has_short_circuit: bool,
    ) -> None:
        self._service = service
        self._families = families
        self._endpoints = _count_endpoints(slices)
        self._has_marks = (
            has_short_circuit and service.external_traffic_policy is TrafficPolicy.LOCAL
        )
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
        marks = len(service.ports) if self._has_marks else 0
        return Amounts(
            virtual_servers,
            real_servers + ranged * len(service.ports),
            marks * vips[IPFamily.IPV4] if IPFamily.IPV4 in families else 0,
            marks * vips[IPFamily.IPV6] if IPFamily.IPV6 in families else 0,
            int(service.health_check_node_port != 0),
        )

    def _ranges(self) -> Counter[IPFamily]:
        return Counter(map(family_of, self._service.source_ranges))

    def _places(self, way: WayIn) -> tuple[_Place, ...]:
        """Where in a way in the virtual servers of a port are."""
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
        return self._endpoints.get((family, port.name, port.protocol), 0)

    def allowance(
        self, own: Amounts, granted: Amounts = ANY_AMOUNTS, limit: Amounts = ANY_AMOUNTS
    ) -> Allowance:
        """What is served.

        Args:
            own: what one Service may have.
            granted: what is left for it of what its namespace may have.
            limit: what its namespace may have, for problems.
        """
        most = own.up_to(granted)
        if self.asked.fits(most):
            return EVERYTHING
        cuts, served = self._cut(most)
        marks = {
            key: cut
            for family in self._families
            if self.asked.marks(family) > most.marks(family)
            for key, cut in self._cut_marks(family, most.marks(family))
        }
        return Allowance(
            cuts=cuts,
            marks=marks,
            health_check=self.asked.health_checks <= most.health_checks,
            problems=(
                *self._problems(Scope.SERVICE, self.asked, own, own, served),
                *self._problems(
                    Scope.NAMESPACE, self.within(own), granted, limit, served
                ),
            ),
        )

    def within(self, own: Amounts) -> Amounts:
        """How much is asked of the namespace, when that is what a Service may have."""
        if self.asked.fits(own):
            return self.asked
        return self._cut(own)[1]

    def _problems(
        self,
        scope: Scope,
        asked: Amounts,
        most: Amounts,
        limit: Amounts,
        served: Amounts,
    ) -> Iterator[Problem]:
        """A problem for everything of which more is asked for than there is."""
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
                    said += "; clients inside the cluster are served like those outside"
                    said += f" at {asked[place] - most[place]:,} addresses and ports"
                case Resource.HEALTH_CHECKS:
                    field = "spec.healthCheckNodePort"
                    value = str(self._service.health_check_node_port)
                    said += "; it does not answer"
                case _:
                    said += f"; {served.virtual_servers:,} of"
                    said += f" {self.asked.virtual_servers:,} virtual servers are"
                    said += " served, those of cluster IPs first"
            yield service_problem(self._service, field, value, said)

    def _cut(self, limit: Amounts) -> tuple[Mapping[WayIn, Cut], Amounts]:
        """Go along the virtual servers until one does not fit."""
        cuts: dict[WayIn, Cut] = {}
        virtual_servers = real_servers = 0

        def fits(count: int, behind: int) -> bool:
            return (
                virtual_servers + count <= limit.virtual_servers
                and real_servers + behind <= limit.real_servers
            )

        for way in _WAYS:
            if cuts:
                cuts[way] = Cut(0)
                continue
            places = self._places(way)
            ranges = self._ranges() if way is WayIn.INGRESS_VIP else Counter()
            for index, port in enumerate(self._service.ports):
                costs = self._costs(way, places, port, ranges)
                behind = sum(costs)
                if fits(len(costs), behind):
                    virtual_servers += len(costs)
                    real_servers += behind
                    continue
                rest = []
                for place, cost in zip(places, costs, strict=True):
                    if not fits(1, cost):
                        break
                    rest.append(place)
                    virtual_servers += 1
                    real_servers += cost
                cuts[way] = Cut(index, frozenset(rest))
                break
        served = self.asked.up_to(limit)._replace(
            virtual_servers=virtual_servers, real_servers=real_servers
        )
        return cuts, served

    def _costs(
        self,
        way: WayIn,
        places: tuple[_Place, ...],
        port: ServicePort,
        ranges: Mapping[IPFamily, int],
    ) -> list[int]:
        """How many real servers the virtual server at each place of a port takes."""
        if way is WayIn.NODE_PORT and not has_node_port(self._service, port):
            return []
        behind = {
            family: self._behind(port, family) + ranges.get(family, 0)
            for family in self._families
        }
        return [behind[_family(place)] for place in places]

    def _cut_marks(
        self, family: IPFamily, limit: int
    ) -> Iterator[tuple[tuple[WayIn, IPFamily], Cut]]:
        left = limit
        for way in _MARKED_WAYS:
            places = [p for p in self._places(way) if _family(p) is family]
            if not places:
                continue
            ports, rest = divmod(left, len(places))
            ports = min(ports, len(self._service.ports))
            yield (way, family), Cut(ports, frozenset(places[:rest]))
            left = max(0, left - len(places) * len(self._service.ports))


def _family(place: _Place) -> IPFamily:
    return place if isinstance(place, IPFamily) else family_of(place)


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


def demand_of(
    service: Service,
    slices: Iterable[EndpointSlice],
    node: NodeContext,
    config: ProxyConfig,
) -> Demand:
    """What a Service that is proxied asks for."""
    return Demand(
        service,
        slices,
        served_families(service, node),
        has_short_circuit=config.has_short_circuit,
    )


def served_families(service: Service, node: NodeContext) -> tuple[IPFamily, ...]:
    """The families of a Service that the kernel has."""
    return tuple(
        family
        for family in (*map(family_of, service.cluster_ips), *service.lost_families)
        if family in node.families
    )


def slices_by_port(
    service: Service, slices: tuple[EndpointSlice, ...]
) -> Callable[[ServicePort], tuple[EndpointSlice, ...]]:
    """What finds the slices of a port, each with that port alone if they have many.

    Else every port of a Service would be looked for in every port of every slice.
    """
    if len(service.ports) <= _FEW_PORTS:
        return lambda _: slices
    found: dict[tuple[str, Protocol], list[EndpointSlice]] = {}
    for piece in slices:
        for port in piece.ports:
            alone = msgspec.structs.replace(piece, ports=(port,))
            found.setdefault((port.name, port.protocol), []).append(alone)
    return lambda port: tuple(found.get((port.name, port.protocol), ()))
