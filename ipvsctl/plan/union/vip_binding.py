"""How VIPs become this host's own: as addresses on the VIP link, or by routes."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from ipvsctl.model.config import ProxyConfig, VipBinding
from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.state import EMPTY
from ipvsctl.plan.service.node_addresses import source_address


class VipPlacement(msgspec.Struct, frozen=True, kw_only=True):
    """The way in which VIPs are to be in the kernel.

    Attributes:
        binding: addresses, or routes without addresses.
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


def place_vips(node: NodeContext, config: ProxyConfig) -> VipPlacement:
    """How VIPs are bound on a node; exactly as kube-proxy does it if that is asked."""
    if config.is_kube_proxy:
        return VipPlacement()
    sources = ((family, source_address(node, family)) for family in node.families)
    return VipPlacement(
        binding=config.vip_binding,
        sources={family: source for family, source in sources if source is not None},
    )
