"""What of a Service is served when it asks for more than it may have.

Counted from the Service and its slices as they are written, before anything is made of
them: an object of some kilobytes can ask for a million virtual servers. This node's
own addresses and endpoints do not count, so every node serves the same.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from ipvsctl.model.limits import Scope
from ipvsctl.model.net import IPAddress, IPFamily, Protocol, family_of, of_family
from ipvsctl.model.objects import EndpointSlice, Service, ServicePort, TrafficPolicy
from ipvsctl.model.problem import Problem
from ipvsctl.plan.amounts import RESOURCES, Amounts
from ipvsctl.plan.doors import has_node_port
from ipvsctl.plan.program import WayIn
from ipvsctl.plan.service_vips import service_problem

_WAYS: Final = (
    WayIn.CLUSTER_IP,
    WayIn.NODE_PORT,
    WayIn.INGRESS_VIP,
    WayIn.EXTERNAL_IP,
)
"""What is served first comes first."""

_MARKED_WAYS: Final = (WayIn.INGRESS_VIP, WayIn.EXTERNAL_IP)

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


class Admission(msgspec.Struct, frozen=True, kw_only=True):
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

    @property
    def is_whole(self) -> bool:
        """Everything is served."""
        return not self.problems

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

    def marks_any(self, way: WayIn, index: int, address: IPAddress) -> bool:
        """Whether port `index` at an address may have a fwmark."""
        cut = self.marks.get((way, family_of(address)))
        return cut is None or cut.has(index, address)


EVERYTHING: Final = Admission()


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
            has_short_circuit
            and service.external_traffic_policy is TrafficPolicy.LOCAL
        )
        self.asked = self._count()

    def _count(self) -> Amounts:
        service, families = self._service, self._families
        vips = Counter(map(family_of, (*service.ingress_vips, *service.external_ips)))
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

    def admit(self, limit: Amounts) -> tuple[Admission, Amounts]:
        """What is served within a limit, and how much that is; without problems."""
        if self.asked.fits(limit):
            return EVERYTHING, self.asked
        cuts, virtual_servers, real_servers = self._cut(limit)
        marks = {
            cut
            for family in self._families
            if self.asked.marks(family) > limit.marks(family)
            for cut in self._cut_marks(family, limit.marks(family))
        }
        admission = Admission(
            cuts=cuts,
            marks=dict(marks),
            health_check=self.asked.health_checks <= limit.health_checks,
        )
        served = self.asked.up_to(limit)._replace(
            virtual_servers=virtual_servers, real_servers=real_servers
        )
        return admission, served

    def _cut(self, limit: Amounts) -> tuple[Mapping[WayIn, Cut], int, int]:
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
            for index, port in enumerate(self._service.ports):
                costs = self._costs(way, places, port)
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
        return cuts, virtual_servers, real_servers

    def _costs(
        self, way: WayIn, places: tuple[_Place, ...], port: ServicePort
    ) -> list[int]:
        """How many real servers the virtual server at each place of a port takes."""
        if way is WayIn.NODE_PORT and not has_node_port(self._service, port):
            return []
        behind = {family: self._behind(port, family) for family in self._families}
        if way is WayIn.INGRESS_VIP:
            ranges = self._ranges()
            for family in behind:
                behind[family] += ranges[family]
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
