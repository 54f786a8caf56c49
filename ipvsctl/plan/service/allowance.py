"""The part of a Service that is served when it asks for more than it may have.

The virtual servers of a Service are in an order that is the same on every node: way in
after way in, port after port. They are served up to a cut, and those after it are not.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.model.problem import Problem
from ipvsctl.plan.service.amounts import Amounts
from ipvsctl.plan.service.program import WayIn

WAYS: Final = (
    WayIn.CLUSTER_IP,
    WayIn.NODE_PORT,
    WayIn.INGRESS_VIP,
    WayIn.EXTERNAL_IP,
)
"""The ways in, in the order in which they are served."""

Place = IPAddress | IPFamily
"""Where in a way in a virtual server is: at an address; at a node port, in a family."""


class Cut(msgspec.Struct, frozen=True):
    """How far a row of virtual servers goes, port after port.

    Attributes:
        ports: so many ports, the first ones, have all of their virtual servers.
        rest: the next port has those at these places.
    """

    ports: int
    rest: frozenset[Place] = frozenset()

    def has(self, index: int, place: Place) -> bool:
        """Whether a port's virtual server at a place is before the cut."""
        return index < self.ports or (index == self.ports and place in self.rest)


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a Service that is served.

    Attributes:
        cuts: way in -> where it ends; a way that is absent has everything.
        marks: way in and family -> where the addresses end that have a fwmark; one that
            is absent has all marks.
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
            or (index == cut.ports and family in map(place_family, cut.rest))
            for cut in map(self.cuts.get, WAYS)
        )

    def has_mark(self, way: WayIn, index: int, address: IPAddress) -> bool:
        """Whether port `index` at an address may have a fwmark."""
        cut = self.marks.get((way, family_of(address)))
        return cut is None or cut.has(index, address)


EVERYTHING: Final = Allowance()


class PortDemand(NamedTuple):
    """The virtual servers of one port in one way in.

    Attributes:
        places: where they are, those that are served first coming first.
        costs: how many real servers, or entries that count as such, each one takes.
    """

    places: tuple[Place, ...]
    costs: list[int]


class Served(NamedTuple):
    """How far the virtual servers of a Service are served.

    Attributes:
        cuts: way in -> where it ends; only the ways that do not have everything.
        virtual_servers: how many are served.
        real_servers: how many those have.
    """

    cuts: Mapping[WayIn, Cut]
    virtual_servers: int
    real_servers: int


def cut_servers(
    ports: Iterable[tuple[WayIn, Iterator[PortDemand]]], limit: Amounts
) -> Served:
    """Go along the virtual servers of a Service until one does not fit.

    Args:
        ports: each way in, with what each port of the Service asks for there; of a way
            after the cut it is not asked.
        limit: of virtual servers and real servers.
    """
    cuts: dict[WayIn, Cut] = {}
    virtual_servers = real_servers = 0

    def fits(count: int, behind: int) -> bool:
        return (
            virtual_servers + count <= limit.virtual_servers
            and real_servers + behind <= limit.real_servers
        )

    for way, demands in ports:
        if cuts:
            cuts[way] = Cut(0)
            continue
        for index, (places, costs) in enumerate(demands):
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
    return Served(cuts, virtual_servers, real_servers)


def cut_marks(
    ways: Iterable[tuple[WayIn, tuple[Place, ...]]], ports: int, limit: int
) -> Iterator[tuple[WayIn, Cut]]:
    """Go along the addresses of one family until there is no mark for one.

    Args:
        ways: the ways in whose virtual servers have marks, with their addresses.
        ports: of the Service; each has a virtual server at every address.
        limit: how many marks there are.

    Yields:
        Each way in with any address, and where its marks end.
    """
    left = limit
    for way, places in ways:
        if not places:
            continue
        whole, rest = divmod(left, len(places))
        yield way, Cut(min(whole, ports), frozenset(places[:rest]))
        left = max(0, left - len(places) * ports)


def place_family(place: Place) -> IPFamily:
    """The family of a virtual server at a place."""
    return place if isinstance(place, IPFamily) else family_of(place)
