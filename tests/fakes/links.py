"""The VIP link in memory, with its addresses and the routes of the local table."""

import errno
from collections.abc import Container
from dataclasses import dataclass, field
from enum import StrEnum

from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.model.tunnel import TunnelEnd
from ipvsctl.plan.diff.ops import (
    AddRoute,
    BindAddress,
    DeleteRoute,
    DeleteVipLink,
    EnsureVipLink,
    MakeTunnelEnd,
    RaiseVipLink,
    RemoveTunnelEnd,
    UnbindAddress,
    UpdateRoute,
)
from tests.fakes.refusal import Refusal

LinkOp = EnsureVipLink | RaiseVipLink | DeleteVipLink | BindAddress | UnbindAddress
TunnelOp = MakeTunnelEnd | RemoveTunnelEnd
RouteOp = AddRoute | UpdateRoute | DeleteRoute


class Owner(StrEnum):
    """Who made a route, and on which link it is."""

    KERNEL = "kernel, VIP link"
    OURS = "ours, VIP link"
    STAND_IN = "ours, loopback"


@dataclass(frozen=True, slots=True)
class Route:
    """One route to one address; a route of the kernel's has the address as source."""

    owner: Owner
    source: IPAddress | None


@dataclass(slots=True)
class FakeLinks:
    """Links by name, and what belongs to the VIP link.

    Attributes:
        host_addresses: those of the other links, which a route may have as source.
        tunnel_ends: of each family.
        routes: of each address, in the order the kernel tries them.
    """

    vip_link: str
    host_addresses: Container[IPAddress] = ()
    names: set[str] = field(default_factory=set)
    addresses: set[IPAddress] = field(default_factory=set)
    tunnel_ends: dict[IPFamily, TunnelEnd] = field(default_factory=dict)
    routes: dict[IPAddress, list[Route]] = field(default_factory=dict)

    def run_tunnel(self, op: TunnelOp) -> None:
        """Run one op, or raise Refusal."""
        family = family_of(op.end.address)
        match op:
            case MakeTunnelEnd(end):
                self.tunnel_ends.pop(family, None)
                if not self.is_local(end.address):
                    raise Refusal(errno.EADDRNOTAVAIL)
                self.tunnel_ends[family] = end
            case RemoveTunnelEnd():
                self.tunnel_ends.pop(family, None)

    def ours(self) -> dict[IPAddress, IPAddress | None]:
        """Our routes on the VIP link with the source they give."""
        found = {}
        for address, routes in self.routes.items():
            on_link = [r for r in routes if r.owner is not Owner.STAND_IN]
            for place, route in enumerate(on_link):
                if route.owner is Owner.OURS:
                    found[address] = address if place else route.source
        return found

    def stand_ins(self) -> frozenset[IPAddress]:
        """Addresses with a stand-in route."""
        return frozenset(
            address
            for address, routes in self.routes.items()
            if any(route.owner is Owner.STAND_IN for route in routes)
        )

    def is_local(self, address: IPAddress) -> bool:
        """Whether packets to an address are for this host."""
        return bool(self.routes.get(address)) or address in self.host_addresses

    def run_link(self, op: LinkOp) -> None:
        """Run one op, or raise Refusal."""
        match op:
            case EnsureVipLink(name) | RaiseVipLink(name):
                self.names.add(name)
            case DeleteVipLink(name):
                if name not in self.names:
                    raise Refusal(errno.ENODEV)
                self.names.remove(name)
                if name == self.vip_link:
                    self.addresses.clear()
                    self._flush(4)
                    self._flush(6)
            case BindAddress(address):
                self._need_link()
                if address not in self.addresses:
                    self.addresses.add(address)
                    self._insert_kernels(address)
            case UnbindAddress(address):
                if address in self.addresses:
                    self.addresses.remove(address)
                    self._remove(address, Owner.KERNEL)
                    # With its last IPv4 address a link loses all IPv4 routes
                    # (fib_frontend.c:fib_inetaddr_event).
                    left = (found.version for found in self.addresses)
                    if address.version == 4 and 4 not in left:
                        self._flush(4)

    def run_route(self, op: RouteOp) -> None:
        """Run one op, or raise Refusal."""
        match op:
            case AddRoute(address, source, stand_in):
                owner = Owner.STAND_IN if stand_in else Owner.OURS
                if not stand_in:
                    self._need_link()
                self._need_source(address, source)
                self._add(address, Route(owner, source))
            case UpdateRoute(address, source):
                self._need_link()
                self._need_source(address, source)
                self._replace(address, Route(Owner.OURS, source))
            case DeleteRoute(address, stand_in):
                self._remove(address, Owner.STAND_IN if stand_in else Owner.OURS)

    def _add(self, address: IPAddress, route: Route) -> None:
        routes = self.routes.setdefault(address, [])
        if address.version == 6:
            # One of a metric, and that of the bound address is taken away.
            routes[:] = [route]
        elif route not in routes:
            routes.insert(0, route)

    def _replace(self, address: IPAddress, route: Route) -> None:
        routes = self.routes.get(address, [])
        if address.version == 6:
            if all(known.owner is Owner.KERNEL for known in routes):
                raise Refusal(errno.ENOENT)
            routes[:] = [route]
        elif not routes:
            raise Refusal(errno.ENOENT)
        elif route in routes[1:]:
            raise Refusal(errno.EEXIST)
        else:
            routes[0] = route

    def _insert_kernels(self, address: IPAddress) -> None:
        route = Route(Owner.KERNEL, address)
        routes = self.routes.setdefault(address, [])
        routes.insert(len(routes) if address.version == 4 else 0, route)

    def _remove(self, address: IPAddress, owner: Owner) -> None:
        routes = self.routes.get(address, [])
        for route in routes:
            if route.owner is owner:
                routes.remove(route)
                break
        if not routes:
            self.routes.pop(address, None)

    def _flush(self, version: int) -> None:
        for address in [found for found in self.routes if found.version == version]:
            left = [r for r in self.routes[address] if r.owner is Owner.STAND_IN]
            if left:
                self.routes[address] = left
            else:
                del self.routes[address]

    def _need_link(self) -> None:
        if self.vip_link not in self.names:
            raise Refusal(errno.ENODEV, "the VIP link is not there")

    def _need_source(self, address: IPAddress, source: IPAddress | None) -> None:
        if source in {None, address} and address.version == 4:
            return
        if source is not None and not self._has(source):
            raise Refusal(errno.EINVAL)

    def _has(self, source: IPAddress) -> bool:
        """Whether a source is the host's: by a route for IPv4, as an address for IPv6.

        Source: fib_semantics.c:fib_valid_prefsrc, ip6_route_info_create.
        """
        if source.version == 6:
            return source in self.addresses or source in self.host_addresses
        return self.is_local(source)
