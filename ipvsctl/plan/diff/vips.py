"""How the VIP link gets from some addresses and routes to others without a gap.

A VIP is the host's own through its address, or through a route of ours, and one of the
two must be there at every step. The kernel makes that hard in two places:

- With its last IPv4 address a link loses all its IPv4 routes
  (fib_frontend.c:fib_inetaddr_event). When VIPs are to stay by routes alone, routes on
  the loopback link stand in for them until they are back.
- The kernel's own route to a bound IPv6 address would come before ours, so it is taken
  away (see `AddRoute`). When the address is to stay without our route, only binding it
  anew brings the kernel's back.
"""

from collections.abc import Iterable

import msgspec

from ipvsctl.model.net import IPAddress, by_number
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import (
    AddRoute,
    BindAddress,
    DeleteRoute,
    UnbindAddress,
    UpdateRoute,
)

_RouteOp = AddRoute | UpdateRoute | DeleteRoute


class VipSteps(msgspec.Struct, frozen=True, kw_only=True):
    """Ops, in the order of the attributes.

    Attributes:
        bind: addresses.
        routes: those that come or change, stand-ins among them.
        unbind: addresses.
        delete_routes: those of no further use; an IPv6 address that lost its route
            first would look bound and be nobody's.
        restore_routes: those that went with the last IPv4 address.
        delete_stand_ins: since no route is missing any more.
    """

    bind: tuple[BindAddress | UnbindAddress, ...]
    routes: tuple[_RouteOp, ...]
    unbind: tuple[UnbindAddress, ...]
    delete_routes: tuple[DeleteRoute, ...]
    restore_routes: tuple[AddRoute, ...]
    delete_stand_ins: tuple[DeleteRoute, ...]


def plan_vips(state: NodeState, desired: NodeState) -> VipSteps:
    """The steps from the observed addresses and routes to the desired ones."""
    came = desired.addresses - state.addresses
    bind: list[BindAddress | UnbindAddress] = [BindAddress(vip) for vip in _order(came)]
    for vip in _order(state.routes.keys() - desired.routes.keys()):
        if vip.version == 6 and vip in desired.addresses and vip not in came:
            bind += (UnbindAddress(vip), BindAddress(vip))
    lost = _lost_routes(state, desired)
    # Left by a dead process: an update would hit it instead of the route behind it.
    useless = (state.stand_ins & state.routes.keys()) - frozenset(lost)
    routes: list[_RouteOp] = [
        DeleteRoute(vip, stand_in=True) for vip in _order(useless)
    ]
    routes += (
        AddRoute(vip, desired.routes[vip], stand_in=True)
        for vip in lost
        if vip not in state.stand_ins
    )
    routes += _route_changes(state, desired, came, frozenset(lost))
    return VipSteps(
        bind=tuple(bind),
        routes=tuple(routes),
        unbind=tuple(
            UnbindAddress(vip) for vip in _order(state.addresses - desired.addresses)
        ),
        delete_routes=tuple(
            DeleteRoute(vip)
            for vip in _order(state.routes.keys() - desired.routes.keys())
        ),
        restore_routes=tuple(AddRoute(vip, desired.routes[vip]) for vip in lost),
        delete_stand_ins=tuple(
            DeleteRoute(vip, stand_in=True)
            for vip in _order((state.stand_ins - useless) | frozenset(lost))
        ),
    )


def _lost_routes(state: NodeState, desired: NodeState) -> list[IPAddress]:
    """Routes that are to be there, and go when the last IPv4 address does."""
    if not _has_ipv4(state.addresses) or _has_ipv4(desired.addresses):
        return []
    return _order(vip for vip in desired.routes if vip.version == 4)


def _route_changes(
    state: NodeState,
    desired: NodeState,
    came: Iterable[IPAddress],
    lost: frozenset[IPAddress],
) -> Iterable[_RouteOp]:
    # The kernel's own route to an IPv6 address that comes is in front of ours.
    hidden = {vip for vip in came if vip.version == 6}
    missing = desired.routes.keys() - state.routes.keys() - lost
    for vip in _order(missing):
        yield AddRoute(vip, desired.routes[vip])
    for vip, source in desired.routes.items():
        if vip in missing or vip in lost:
            continue
        if state.routes[vip] != source or vip in hidden:
            yield UpdateRoute(vip, source)


def _has_ipv4(addresses: Iterable[IPAddress]) -> bool:
    return any(address.version == 4 for address in addresses)


def _order(vips: Iterable[IPAddress]) -> list[IPAddress]:
    return sorted(vips, key=by_number)
