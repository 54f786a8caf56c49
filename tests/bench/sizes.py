"""The sizes of clusters, and the goals for them."""

from typing import NamedTuple

from ipvsctl.model.config import ProxyConfig, VipBinding

Figures = dict[str, float]
"""Figures by name: seconds, bytes, counts or shares, see `table.ROWS`."""

ROUTES_FROM = 20_000
"""Above so many Services VIPs are made local by routes: binding an address takes the
kernel time that grows with their number."""


OF_LARGE = 255
"""Endpoints of a large Service."""


class Size(NamedTuple):
    """How large a cluster is.

    Attributes:
        endpoints: of each Service.
        large: so many Services, the first ones, have `OF_LARGE` of them instead.
    """

    services: int
    endpoints: int
    large: int = 0

    @property
    def all_endpoints(self) -> int:
        """Of all Services."""
        return self.large * OF_LARGE + (self.services - self.large) * self.endpoints

    @property
    def config(self) -> ProxyConfig:
        """The settings for such a cluster."""
        many = self.services >= ROUTES_FROM
        return ProxyConfig(
            vip_binding=VipBinding.ROUTE if many else VipBinding.ADDRESS,
            sync_period_s=30,
            min_sync_period_s=0,
        )
