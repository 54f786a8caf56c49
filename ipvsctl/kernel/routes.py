"""Routes to VIPs: reading and changing them; as hot as addresses, so encoded here."""

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Final, NamedTuple

from ipvsctl.kernel.applier import failed_op
from ipvsctl.kernel.links import NO_LINK, STEP_DECODED, Links, is_over_step
from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.model.errors import NotFound
from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.model.steps import Step, Steps, parts
from ipvsctl.plan.diff.ops import AddRoute, DeleteRoute, FailedOp, Op, UpdateRoute
from ipvsctl.wire.netlink.messages import Ack, NetlinkProtocol
from ipvsctl.wire.route.attributes import RouteProtocol
from ipvsctl.wire.route.replies import (
    LocalRoute,
    LocalRouteReplies,
    MainRoute,
    MainRouteReplies,
)
from ipvsctl.wire.route.requests import (
    add_route,
    delete_route,
    list_main_routes,
    list_routes,
    update_route,
)

_LOOPBACK: Final = 1
"""Of every network namespace (net/flow.h: LOOPBACK_IFINDEX)."""

_DONE_ALREADY: Final = {AddRoute: errno.EEXIST, DeleteRoute: errno.ESRCH}


class RouteListing(NamedTuple):
    """Routes of ours; see `NodeState`."""

    routes: dict[IPAddress, IPAddress | None]
    stand_ins: frozenset[IPAddress]


class Routes:
    """Local routes of the caller's network namespace.

    Args:
        links: knows the VIP link.
        families: those that the kernel has.

    Raises:
        KernelError: the socket cannot be opened.
    """

    def __init__(self, links: Links, families: Sequence[IPFamily]) -> None:
        self._links = links
        self._families = families
        self._socket = NetlinkSocket.open(NetlinkProtocol.ROUTE)
        self._replies = LocalRouteReplies()
        self._main_replies = MainRouteReplies()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`."""
        vip_link = self._links.find_vip_link()
        ifindex = None if vip_link is None else vip_link.ifindex
        refused: dict[int, Ack] = {}
        messages: list[bytes] = []
        places: list[int] = []
        for place, op in enumerate(ops):
            link = _LOOPBACK if _is_stand_in(op) else ifindex
            if link is None:
                # A route goes with its link.
                if not isinstance(op, DeleteRoute):
                    refused[place] = NO_LINK
                continue
            for message in _messages(op, link):
                messages.append(message)
                places.append(place)
        for number, ack in self._socket.apply(messages).items():
            place = places[number]
            is_second = number > 0 and places[number - 1] == place
            if not _is_fine(ops[place], ack, is_second=is_second):
                refused.setdefault(place, ack)
        return [failed_op(ops[place], ack) for place, ack in sorted(refused.items())]

    def read_in_steps(self) -> Steps[RouteListing]:
        """Every route of ours; see `interface.Reading`."""
        yield Step.EXCLUSIVE
        routes: dict[IPAddress, IPAddress | None] = {}
        vip_link = self._links.find_vip_link()
        if vip_link is not None:
            for family in self._families:
                listed = yield from self._list(family, vip_link.ifindex)
                for some in parts(_ours(listed), STEP_DECODED):
                    routes.update(some)
                    yield Step.EXCLUSIVE
        stand_ins = yield from self._list(
            IPFamily.IPV4, _LOOPBACK, RouteProtocol.IPVSCTL
        )
        return RouteListing(routes, frozenset(item.address for item in stand_ins))

    def read_main_in_steps(self) -> Steps[tuple[MainRoute, ...]]:
        """The main table of every family; see `interface.Reading`."""
        found: list[MainRoute] = []
        for family in self._families:
            yield Step.EXCLUSIVE
            with closing(NetlinkSocket.open(NetlinkProtocol.ROUTE)) as socket:
                try:
                    parts = yield from socket.read_in_steps(
                        list_main_routes(family), "list the main routes"
                    )
                except NotFound:
                    # The table comes with its first route.
                    continue
            for place, part in enumerate(parts, 1):
                if place % STEP_DECODED == 0:
                    yield Step.EXCLUSIVE
                route = self._main_replies.route(*part)
                if route is not None:
                    found.append(route)
        return tuple(found)

    def _list(
        self,
        family: IPFamily,
        ifindex: int,
        protocol: RouteProtocol = RouteProtocol.UNSPEC,
    ) -> Steps[list[LocalRoute]]:
        request = list_routes(family, ifindex, protocol)
        # One that is not read to its end would be in the way of the next.
        with closing(NetlinkSocket.open(NetlinkProtocol.ROUTE)) as socket:
            parts = yield from socket.read_in_steps(request, "list routes")
        found = []
        place = 0
        while place < len(parts):
            items = self._replies.routes(*parts[place])
            place += len(items)
            # A kernel before 4.20 does not filter.
            found += [
                item
                for item in items
                if item is not None
                and item.ifindex == ifindex
                and protocol in {RouteProtocol.UNSPEC, item.protocol}
            ]
            if is_over_step(place, len(items)):
                yield Step.EXCLUSIVE
        return found


def _ours(
    routes: Iterable[LocalRoute],
) -> Iterator[tuple[IPAddress, IPAddress | None]]:
    """Our routes with the source they give: behind another one, the address itself."""
    seen: set[IPAddress] = set()
    for route in routes:
        if route.protocol == RouteProtocol.IPVSCTL:
            hidden = route.address in seen
            yield route.address, route.address if hidden else route.source
        seen.add(route.address)


def _is_stand_in(op: Op) -> bool:
    return isinstance(op, AddRoute | DeleteRoute) and op.stand_in


def _messages(op: Op, ifindex: int) -> Iterator[bytes]:
    match op:
        case AddRoute(address, source):
            yield add_route(ifindex, address, source)
        case UpdateRoute(address, source):
            yield update_route(ifindex, address, source)
        case DeleteRoute(address):
            yield delete_route(ifindex, address, RouteProtocol.IPVSCTL)
            return
        case _:
            raise TypeError(op)
    if family_of(address) is IPFamily.IPV6:
        # That of the bound address would be in front of ours, and cannot be moved.
        yield delete_route(ifindex, address, RouteProtocol.KERNEL)


def _is_fine(op: Op, ack: Ack, *, is_second: bool) -> bool:
    """The op has nothing left to do."""
    if is_second:
        return ack.errno == errno.ESRCH
    return _DONE_ALREADY.get(type(op)) == ack.errno
