"""The objects of the cluster, and which of them changed since the last look.

The end state depends on the events of each object alone, not on how the events of
different objects were interleaved. Every event costs what it changes.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import TypeVar, cast

import msgspec

from ipvsctl.cluster.events import (
    ApiServersFound,
    Deleted,
    Doubted,
    Event,
    Invalid,
    Replaced,
    Synced,
    Upserted,
    Value,
)
from ipvsctl.cluster.taken import Dirty, Taken
from ipvsctl.cluster.vouched import WHOLE, Vouched, vouch
from ipvsctl.model.host import API_SERVICE, ApiServer, ApiServers
from ipvsctl.model.net import IPAddress
from ipvsctl.model.objects import EndpointSlice, Node, NodeContext, Service, TunnelOffer
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.problem_book import NotedProblems

T = TypeVar("T", Service, Node, TunnelOffer)


class Store:
    """Holds the last good value of every object; one per node.

    For one thread, but for what `Objects` has.
    """

    def __init__(self, node_name: str) -> None:
        self._node_name = node_name
        self._synced = False
        self._values: dict[Kind, dict[ObjectRef, tuple[Value, ...]]] = {
            kind: {} for kind in Kind
        }
        self._problems = NotedProblems()
        self._invalid: dict[tuple[Kind, ObjectRef], Invalid] = {}
        self._doubted: dict[Kind, Doubted] = {}
        self._services: dict[ObjectRef, Service] = {}
        self._slices: dict[ObjectRef, tuple[EndpointSlice, ...]] = {}
        self._nodes: dict[str, Node] = {}
        self._offers: dict[ObjectRef, TunnelOffer] = {}
        # Tuples, as nearly all have one member: a set takes four times the memory.
        self._claimants: dict[IPAddress, tuple[ObjectRef, ...]] = {}
        self._api_servers = ApiServers()
        self._context: NodeContext | None = None
        self._dirty_services: set[ObjectRef] = set()
        self._node_changed = False

    @property
    def is_synced(self) -> bool:
        """The source has told its complete first state."""
        return self._synced

    @property
    def services(self) -> Mapping[ObjectRef, Service]:
        """Every Service, those that are not proxied too."""
        return MappingProxyType(self._services)

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Every Node by name."""
        return MappingProxyType(self._nodes)

    @property
    def is_node_leaving(self) -> bool:
        """This node's own `Node.is_leaving`; False while nothing is known of it."""
        own = self._nodes.get(self._node_name)
        return own is not None and own.is_leaving

    @property
    def api_servers(self) -> ApiServers:
        """The addresses of the API server; the same object until they change."""
        return self._api_servers

    def refs(self) -> AbstractSet[ObjectRef]:
        """See `Objects`."""
        # Copying a dict runs no Python, so no other thread comes in between.
        return self._services.copy().keys()

    def claimants(self, addresses: Iterable[IPAddress]) -> frozenset[ObjectRef]:
        """See `Objects`."""
        return frozenset(
            ref for address in addresses for ref in self._claimants.get(address, ())
        )

    def service(self, ref: ObjectRef) -> Service | None:
        """See `Objects`."""
        return self._services.get(ref)

    def node(self, name: str) -> Node | None:
        """See `Objects`."""
        return self._nodes.get(name)

    def slices_of(self, ref: ObjectRef) -> tuple[EndpointSlice, ...]:
        """See `Objects`.

        A slice says itself when it changed; the slices that do not come first, by name.
        Slices of plain Endpoints objects count only if the Service has no selector: for
        other Services a controller writes EndpointSlices, and Endpoints may be stale.
        """
        service = self._services.get(ref)
        return tuple(
            piece
            for piece in self._slices.get(ref, ())
            if service is None or _counts(piece, service)
        )

    def node_context(self) -> NodeContext:
        """Facts about Nodes that compiling needs; host addresses are not known here."""
        if self._context is None:
            self._context = NodeContext.of(
                self._node_name,
                self._nodes,
                (offer for _, offer in sorted(self._offers.items())),
            )
        return self._context

    @property
    def noted_problems(self) -> NotedProblems:
        """Problems of the objects themselves."""
        return self._problems

    def problems(self) -> tuple[Problem, ...]:
        """The problems of all objects, sorted."""
        return tuple(sorted(self._problems.each()))

    def vouched(self) -> Vouched:
        """How much of the cluster could be read."""
        if not self._invalid and not self._doubted:
            return WHOLE
        return vouch(self._invalid.values(), self._doubted, self._values)

    def take(self) -> Taken:
        """What is known now, for whoever compiles; nothing is dirty then."""
        return Taken(
            dirty=self.take_dirty(),
            nodes=self.node_context(),
            api_servers=self._api_servers,
            vouched=self.vouched(),
        )

    def take_dirty(self) -> Dirty:
        """The Services that changed since the last call."""
        dirty = Dirty(
            services=frozenset(self._dirty_services), node_changed=self._node_changed
        )
        self._dirty_services = set()
        self._node_changed = False
        return dirty

    def apply(self, event: Event) -> bool:
        """Take in one event.

        Returns:
            Whether one object changed; False for an event that concerns many.
        """
        match event:
            case Upserted(kind=kind, ref=ref, values=values, problems=problems):
                self._note(kind, ref, problems)
                return self._put(kind, ref, values)
            case Deleted(kind=kind, ref=ref):
                self._note(kind, ref, ())
                return self._put(kind, ref, ())
            case Invalid(kind=kind, ref=ref, problems=problems):
                self._note(kind, ref, problems)
                self._invalid[kind, ref] = event
            case Doubted(kind=kind):
                self._doubted[kind] = event
            case Replaced(kind=kind, refs=refs):
                self._doubted.pop(kind, None)
                known = self._values[kind].keys() | self._problems.refs(kind)
                for ref in known - refs:
                    self._put(kind, ref, ())
                    self._note(kind, ref, ())
            case ApiServersFound(servers=servers):
                self._move_api(msgspec.structs.replace(self._api_servers, used=servers))
            case Synced():
                self._synced = True
        return False

    def _note(self, kind: Kind, ref: ObjectRef, problems: tuple[Problem, ...]) -> None:
        if self._invalid:
            self._invalid.pop((kind, ref), None)
        self._problems.put(kind, ref, problems)

    def _put(self, kind: Kind, ref: ObjectRef, new: tuple[Value, ...]) -> bool:
        held = self._values[kind]
        old = held.get(ref, ())
        if old == new:
            return False
        if new:
            held[ref] = new
        else:
            del held[ref]
        match kind:
            case Kind.SERVICE:
                self._change_service(ref, _only(Service, old), _only(Service, new))
            case Kind.NODE:
                self._change_node(ref.name, _only(Node, old), _only(Node, new))
            case Kind.LEASE:
                self._change_offer(ref, _only(TunnelOffer, new))
            case _:
                self._change_slices(
                    cast("tuple[EndpointSlice, ...]", old),
                    cast("tuple[EndpointSlice, ...]", new),
                )
        return True

    def _change_service(
        self, ref: ObjectRef, old: Service | None, new: Service | None
    ) -> None:
        if old is not None:
            for address in _claims(old):
                claimants = tuple(r for r in self._claimants[address] if r != ref)
                if claimants:
                    self._claimants[address] = claimants
                else:
                    del self._claimants[address]
        if new is None:
            del self._services[ref]
        else:
            self._services[ref] = new
            for address in _claims(new):
                self._claimants[address] = (*self._claimants.get(address, ()), ref)
        # What was not proxied and still is not has nothing in the kernel.
        if (old is not None and old.proxied) or (new is not None and new.proxied):
            self._dirty_services.add(ref)

    def _change_slices(
        self, old: Iterable[EndpointSlice], new: Iterable[EndpointSlice]
    ) -> None:
        for piece in old:
            siblings = _without(self._slices[piece.service], piece)
            if siblings:
                self._slices[piece.service] = siblings
            else:
                del self._slices[piece.service]
        for piece in new:
            siblings = self._slices.get(piece.service, ())
            place = bisect_right(siblings, _by_age(piece), key=_by_age)
            both = (*siblings[:place], piece, *siblings[place:])
            self._slices[piece.service] = both
        for piece in (*old, *new):
            service = self._services.get(piece.service)
            if service is not None and service.proxied and _counts(piece, service):
                self._dirty_services.add(piece.service)
            if piece.service == API_SERVICE:
                self._move_api(
                    msgspec.structs.replace(
                        self._api_servers, endpoints=frozenset(self._api_endpoints())
                    )
                )

    def _api_endpoints(self) -> Iterator[ApiServer]:
        for piece in self._slices.get(API_SERVICE, ()):
            for endpoint in piece.endpoints:
                for port in piece.ports:
                    yield ApiServer(endpoint.address, port.port)

    def _move_api(self, servers: ApiServers) -> None:
        """Services that ask for a place where the API server is, or was, are dirty."""
        known, self._api_servers = self._api_servers, servers
        if servers == known:
            return
        moved = (known.used ^ servers.used) | (known.endpoints ^ servers.endpoints)
        self._dirty_services |= self.claimants(server.address for server in moved)
        ports = {server.port for server in moved}
        self._dirty_services.update(
            ref
            for ref, service in self._services.items()
            if any(port.node_port in ports for port in service.ports)
        )

    def _change_node(self, name: str, old: Node | None, new: Node | None) -> None:
        if new is None:
            del self._nodes[name]
        else:
            self._nodes[name] = new
        # Whether it is about to leave changes nothing that is compiled.
        if (
            old is not None
            and new is not None
            and msgspec.structs.replace(old, is_leaving=new.is_leaving) == new
        ):
            return
        self._context = None
        if name == self._node_name:
            self._node_changed = True
            return
        # Of a peer only the addresses matter: a VIP must not be one of them.
        before = set(old.addresses) if old else set()
        after = set(new.addresses) if new else set()
        for address in before ^ after:
            self._dirty_services.update(self._claimants.get(address, ()))

    def _change_offer(self, ref: ObjectRef, new: TunnelOffer | None) -> None:
        # The compiler finds out which Services that concerns.
        self._context = None
        if new is None:
            del self._offers[ref]
        else:
            self._offers[ref] = new


def _only(kind: type[T], values: tuple[Value, ...]) -> T | None:
    return next((value for value in values if isinstance(value, kind)), None)


def _counts(piece: EndpointSlice, service: Service) -> bool:
    return not (piece.from_endpoints and service.has_selector)


def _without(
    pieces: tuple[EndpointSlice, ...], piece: EndpointSlice
) -> tuple[EndpointSlice, ...]:
    """The slices of a Service, by age, but for one of them."""
    place = bisect_left(pieces, _by_age(piece), key=_by_age)
    # Plain Endpoints may have the name of a slice.
    while pieces[place] != piece:
        place += 1
    return (*pieces[:place], *pieces[place + 1 :])


def _by_age(piece: EndpointSlice) -> tuple[str, ObjectRef]:
    return piece.trigger_time, piece.ref


def _claims(service: Service) -> frozenset[IPAddress]:
    return frozenset(
        (*service.cluster_ips, *service.external_ips, *service.ingress_vips)
    )
