"""How VIPs become this host's own: as addresses on the VIP link, or by routes."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

import msgspec

from ipvsctl.model.config import ProxyConfig, VipBinding
from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.state import EMPTY, NodeState
from ipvsctl.plan.service.node_addresses import source_address

MANY_FOR_ADDRESSES: Final = 2_000
"""From so many VIPs on, `vipBinding: auto` has routes.

Each address that comes to a link is compared with all that are on it, so that the cost
grows with the square of their number, and that of routes with their number. Measured
in the lab (docs/improvements.md, I15): 5,000 IPv4 addresses take 0.30 s and 5,000
routes 0.12 s; 50,000 addresses 78 s and 50,000 routes 1.3 s. At 2,000
addresses take twice as long as routes, 0.16 s and 0.09 s on a slower machine, which
nobody waits for yet.
"""

ROUTES_ABOVE: Final = 2_500
"""A node whose VIPs are addresses keeps them up to so many.

Going to routes is four ops for each VIP, stand-ins included, and back is one
(`plan/diff/vips.py`): about a second for 2,600 of them. Without a gap between the two
limits, a cluster with about 2,000 VIPs would pay for that at every other restart.
"""

ADDRESSES_BELOW: Final = 1_500
"""A node whose VIPs are routes keeps them down to so many; see `ROUTES_ABOVE`."""


class VipPlacement(msgspec.Struct, frozen=True, kw_only=True):
    """The way in which VIPs are to be in the kernel.

    Attributes:
        binding: addresses, or routes without addresses; never `auto`.
        sources: family -> the source of the host's own connections to VIPs; for a
            family that is absent, the kernel's choice, which is the VIP itself.
    """

    binding: VipBinding = VipBinding.ADDRESS
    sources: Mapping[IPFamily, IPAddress] = EMPTY

    def addresses(self, vips: AbstractSet[IPAddress]) -> AbstractSet[IPAddress]:
        """The VIPs to put on the VIP link: all, as a view of `vips`, or none."""
        return vips if self.binding is VipBinding.ADDRESS else frozenset()

    def routes(self, vips: Iterable[IPAddress]) -> Mapping[IPAddress, IPAddress | None]:
        """The routes to the VIPs: VIP -> source, see `NodeState.routes`."""
        if self.binding is VipBinding.ADDRESS and not self.sources:
            return EMPTY
        sources = self.sources
        if self.binding is VipBinding.ROUTE:
            return {vip: sources.get(family_of(vip)) for vip in vips}
        return {
            vip: source
            for vip in vips
            if (source := sources.get(family_of(vip))) is not None
        }


class VipChoice(NamedTuple):
    """What `vipBinding: auto` has come to.

    Attributes:
        binding: addresses, or routes.
        wanted: how many VIPs there were to be, which is the reason.
    """

    binding: VipBinding
    wanted: int


class HeldVips(NamedTuple):
    """How many VIPs a kernel holds in either way.

    Attributes:
        bound: as addresses, with a route beside each or without.
        routed: by a route alone.
    """

    bound: int
    routed: int

    @property
    def binding(self) -> VipBinding | None:
        """The way most of them have; None if there is none.

        Both ways are there after a crash in the midst of a change, and when somebody
        else has put an address on the VIP link.
        """
        if self.bound == self.routed:
            return None
        return VipBinding.ADDRESS if self.bound > self.routed else VipBinding.ROUTE


def held_vips(state: NodeState) -> HeldVips:
    """Count the VIPs that a kernel holds."""
    return HeldVips(len(state.addresses), len(state.routes.keys() - state.addresses))


def choose_binding(wanted: int, bound: int, routed: int) -> VipBinding:
    """Choose how VIPs are to be bound, by their number and by what is there.

    Args:
        wanted: how many VIPs there are to be, of both families.
        bound: see `HeldVips`; 0 on a node that has just booted.
        routed: see `HeldVips`.
    """
    match HeldVips(bound, routed).binding:
        case VipBinding.ADDRESS:
            has_routes = wanted > ROUTES_ABOVE
        case VipBinding.ROUTE:
            has_routes = wanted >= ADDRESSES_BELOW
        case _:
            has_routes = wanted >= MANY_FOR_ADDRESSES
    return VipBinding.ROUTE if has_routes else VipBinding.ADDRESS


def choose_vips(
    vips: AbstractSet[IPAddress], state: NodeState, *, is_all: bool, lasts: bool
) -> VipChoice:
    """Choose for a whole process, before it imposes anything.

    A process that ends at once (`apply`, `diff`) leaves VIPs in the way that they have,
    whatever their number: a daemon may run beside it, which chose at its start, when
    there may have been more of them or fewer. `diff` would show thousands of changes
    that nobody is about to make, and the daemon would undo those of `apply`.

    Args:
        vips: those that are wanted.
        state: what the kernel holds.
        is_all: nothing else is wanted; if that is not sure, what the kernel holds may
            be, and counts with them.
        lasts: this process goes on with what it begins, as `ipvsctl run`.
    """
    held = held_vips(state)
    if not is_all:
        vips = vips | state.addresses | state.routes.keys()
    binding = None if lasts else held.binding
    return VipChoice(binding or choose_binding(len(vips), *held), len(vips))


def place_vips(
    node: NodeContext,
    config: ProxyConfig,
    chosen: VipBinding = VipBinding.ADDRESS,
) -> VipPlacement:
    """How VIPs are bound on a node; exactly as kube-proxy does it if that is asked.

    Args:
        node: what is known of it.
        config: settings.
        chosen: what `auto` is; addresses until that is known.
    """
    if config.is_kube_proxy:
        return VipPlacement()
    is_open = config.vip_binding is VipBinding.AUTO
    sources = ((family, source_address(node, family)) for family in node.families)
    return VipPlacement(
        binding=chosen if is_open else config.vip_binding,
        sources={family: source for family, source in sources if source is not None},
    )
