"""What every kernel does with ops about routes to VIPs."""

import errno
from typing import Final

from ipvsctl.model.net import IPAddress, IPv4Address, IPv6Address
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import (
    AddRoute,
    BindAddress,
    DeleteRoute,
    DeleteVipLink,
    Plan,
    UnbindAddress,
    UpdateRoute,
)
from tests.addresses import later
from tests.kernel.contract import VIP_LINK, Row
from tests.kernel.contract_node import LINK, VIP, VIP6

SOURCE: Final = IPv4Address("10.0.0.10")
OTHER: Final = IPv4Address("10.0.0.12")
SOURCE6: Final = IPv6Address("fd00:10::10")
OTHER6: Final = IPv6Address("fd00:10::12")
STRANGER: Final = IPv4Address("192.0.2.1")
STRANGER6: Final = IPv6Address("2001:db8::1")

HOST: Final[Plan] = (
    LINK,
    *(BindAddress(address) for address in (SOURCE, OTHER, SOURCE6, OTHER6)),
)
"""A host that has the sources, on the VIP link since it is the only one."""


def routes(state: NodeState) -> object:
    """Look at our routes."""
    return dict(state.routes), set(state.stand_ins)


def held(
    *stand_ins: IPAddress, **routes: tuple[IPAddress, IPAddress | None]
) -> tuple[dict[IPAddress, IPAddress | None], set[IPAddress]]:
    """What `routes` shows; each route is a pair of address and source."""
    return dict(routes.values()), set(stand_ins)


ROUTE_ROWS: Final = (
    Row(
        fact="an IPv4 route needs neither address nor source",
        given=(LINK,),
        op=AddRoute(VIP, None),
        look=routes,
        then=held(one=(VIP, None)),
    ),
    Row(
        fact="an IPv6 route needs neither address nor source",
        given=(LINK,),
        op=AddRoute(VIP6, None),
        look=routes,
        then=held(one=(VIP6, None)),
    ),
    Row(
        fact="an IPv4 route has a source that the host has",
        given=HOST,
        op=AddRoute(VIP, SOURCE),
        look=routes,
        then=held(one=(VIP, SOURCE)),
    ),
    Row(
        fact="an IPv6 route has a source that the host has",
        given=HOST,
        op=AddRoute(VIP6, SOURCE6),
        look=routes,
        then=held(one=(VIP6, SOURCE6)),
    ),
    Row(
        fact="an IPv4 route has no source that the host has not",
        given=HOST,
        op=AddRoute(VIP, STRANGER),
        code=errno.EINVAL,
    ),
    Row(
        fact="an IPv6 route has no source that the host has not",
        given=HOST,
        op=AddRoute(VIP6, STRANGER6),
        code=errno.EINVAL,
    ),
    Row(
        fact="no route is added without the VIP link",
        op=AddRoute(VIP, None),
        code=errno.ENODEV,
    ),
    Row(
        fact="an IPv4 route that is there is added already",
        given=(*HOST, AddRoute(VIP, SOURCE)),
        op=AddRoute(VIP, SOURCE),
        look=routes,
        then=held(one=(VIP, SOURCE)),
    ),
    Row(
        fact="an IPv6 route that is there is added already",
        given=(*HOST, AddRoute(VIP6, SOURCE6)),
        op=AddRoute(VIP6, SOURCE6),
        look=routes,
        then=held(one=(VIP6, SOURCE6)),
    ),
    Row(
        fact="an IPv4 route comes before that of the bound address",
        given=(*HOST, BindAddress(VIP)),
        op=AddRoute(VIP, SOURCE),
        look=routes,
        then=held(one=(VIP, SOURCE)),
    ),
    Row(
        fact="an IPv6 route comes in place of that of the bound address",
        given=(*HOST, BindAddress(VIP6)),
        op=AddRoute(VIP6, SOURCE6),
        look=routes,
        then=held(one=(VIP6, SOURCE6)),
    ),
    Row(
        fact="an IPv4 address that is bound leaves our route in front",
        given=(*HOST, AddRoute(VIP, SOURCE)),
        op=BindAddress(VIP),
        look=routes,
        then=held(one=(VIP, SOURCE)),
    ),
    Row(
        fact="an IPv6 address that is bound hides our route",
        given=(*HOST, AddRoute(VIP6, SOURCE6)),
        op=BindAddress(VIP6),
        look=routes,
        then=held(one=(VIP6, VIP6)),
    ),
    Row(
        fact="a hidden IPv6 route is updated into view",
        given=(*HOST, AddRoute(VIP6, SOURCE6), BindAddress(VIP6)),
        op=UpdateRoute(VIP6, SOURCE6),
        look=routes,
        then=held(one=(VIP6, SOURCE6)),
    ),
    Row(
        fact="a hidden IPv6 route is added into view",
        given=(*HOST, AddRoute(VIP6, SOURCE6), BindAddress(VIP6)),
        op=AddRoute(VIP6, SOURCE6),
        look=routes,
        then=held(one=(VIP6, SOURCE6)),
    ),
    Row(
        fact="an IPv4 address that is unbound leaves our route",
        given=(*HOST, BindAddress(VIP), AddRoute(VIP, SOURCE)),
        op=UnbindAddress(VIP),
        look=routes,
        then=held(one=(VIP, SOURCE)),
    ),
    Row(
        fact="an IPv6 address that is unbound leaves our route",
        given=(*HOST, BindAddress(VIP6), AddRoute(VIP6, SOURCE6)),
        op=UnbindAddress(VIP6),
        look=routes,
        then=held(one=(VIP6, SOURCE6)),
    ),
    Row(
        fact="the last IPv4 address takes all IPv4 routes with it",
        given=(
            LINK,
            BindAddress(VIP),
            BindAddress(VIP6),
            AddRoute(VIP, None),
            AddRoute(later(VIP, 1), None),
            AddRoute(VIP6, None),
        ),
        op=UnbindAddress(VIP),
        look=routes,
        then=held(one=(VIP6, None)),
    ),
    Row(
        fact="the last IPv6 address takes no route with it",
        given=(
            LINK,
            BindAddress(VIP6),
            AddRoute(VIP, None),
            AddRoute(VIP6, None),
        ),
        op=UnbindAddress(VIP6),
        look=routes,
        then=held(one=(VIP, None), two=(VIP6, None)),
    ),
    Row(
        fact="a stand-in outlives the last IPv4 address",
        given=(
            LINK,
            BindAddress(VIP),
            AddRoute(VIP, None),
            AddRoute(VIP, None, stand_in=True),
        ),
        op=UnbindAddress(VIP),
        look=routes,
        then=held(VIP),
    ),
    Row(
        fact="a stand-in needs no VIP link",
        op=AddRoute(VIP, None, stand_in=True),
        look=routes,
        then=held(VIP),
    ),
    Row(
        fact="a route is added beside its stand-in",
        given=(*HOST, AddRoute(VIP, SOURCE, stand_in=True)),
        op=AddRoute(VIP, SOURCE),
        look=routes,
        then=held(VIP, one=(VIP, SOURCE)),
    ),
    Row(
        fact="a stand-in is deleted without its route",
        given=(LINK, AddRoute(VIP, None, stand_in=True), AddRoute(VIP, None)),
        op=DeleteRoute(VIP, stand_in=True),
        look=routes,
        then=held(one=(VIP, None)),
    ),
    Row(
        fact="a route is deleted without its stand-in",
        given=(LINK, AddRoute(VIP, None, stand_in=True), AddRoute(VIP, None)),
        op=DeleteRoute(VIP),
        look=routes,
        then=held(VIP),
    ),
    Row(
        fact="the source of an IPv4 route is changed in place",
        given=(*HOST, BindAddress(VIP), AddRoute(VIP, SOURCE)),
        op=UpdateRoute(VIP, OTHER),
        look=routes,
        then=held(one=(VIP, OTHER)),
    ),
    Row(
        fact="the source of an IPv6 route is changed in place",
        given=(*HOST, BindAddress(VIP6), AddRoute(VIP6, SOURCE6)),
        op=UpdateRoute(VIP6, OTHER6),
        look=routes,
        then=held(one=(VIP6, OTHER6)),
    ),
    Row(
        fact="a source is taken from an IPv4 route",
        given=(*HOST, AddRoute(VIP, SOURCE)),
        op=UpdateRoute(VIP, None),
        look=routes,
        then=held(one=(VIP, None)),
    ),
    Row(
        fact="an update that changes nothing is fine",
        given=(*HOST, AddRoute(VIP, SOURCE), BindAddress(VIP)),
        op=UpdateRoute(VIP, SOURCE),
        look=routes,
        then=held(one=(VIP, SOURCE)),
    ),
    Row(
        fact="an IPv4 route that is not there is not updated",
        given=HOST,
        op=UpdateRoute(VIP, SOURCE),
        code=errno.ENOENT,
    ),
    Row(
        fact="an IPv6 route that is not there is not updated",
        given=(*HOST, BindAddress(VIP6)),
        op=UpdateRoute(VIP6, None),
        code=errno.ENOENT,
    ),
    Row(
        fact="no route is updated without the VIP link",
        op=UpdateRoute(VIP, None),
        code=errno.ENODEV,
    ),
    Row(
        fact="an IPv4 route is deleted, and the address stays",
        given=(*HOST, BindAddress(VIP), AddRoute(VIP, SOURCE)),
        op=DeleteRoute(VIP),
        look=lambda state: (routes(state), VIP in state.addresses),
        then=(held(), True),
    ),
    Row(
        fact="an IPv6 route is deleted, and the address stays",
        given=(*HOST, BindAddress(VIP6), AddRoute(VIP6, SOURCE6)),
        op=DeleteRoute(VIP6),
        look=lambda state: (routes(state), VIP6 in state.addresses),
        then=(held(), True),
    ),
    Row(
        fact="a route that is not there is deleted already",
        given=(LINK, BindAddress(VIP)),
        op=DeleteRoute(VIP),
        look=routes,
        then=held(),
    ),
    Row(
        fact="without the VIP link a route is deleted already",
        op=DeleteRoute(VIP),
        look=routes,
        then=held(),
    ),
    Row(
        fact="the VIP link takes its routes with it, not the stand-ins",
        given=(
            LINK,
            AddRoute(VIP, None),
            AddRoute(VIP6, None),
            AddRoute(VIP, None, stand_in=True),
        ),
        op=DeleteVipLink(VIP_LINK),
        look=routes,
        then=held(VIP),
    ),
)
