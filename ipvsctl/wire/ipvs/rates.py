"""The rates in the kernel's answers about the IPVS table.

Source: ip_vs_ctl.c (`ip_vs_genl_fill_stats64`). Kernels without STATS64 have none.
"""

from collections.abc import Sequence
from typing import Final

from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.rates import Rates, RealServerRates
from ipvsctl.wire.ipvs.attributes import (
    IpvsCmdAttr,
    IpvsDestAttr,
    IpvsStatsAttr,
    IpvsSvcAttr,
)
from ipvsctl.wire.ipvs.replies import IpvsReplies
from ipvsctl.wire.netlink.attributes import Table, TableReader
from ipvsctl.wire.netlink.generic import GENL_HDRLEN

_RATES: Final[Table] = {
    IpvsStatsAttr.CPS: "Q",
    IpvsStatsAttr.INPPS: "Q",
    IpvsStatsAttr.OUTPPS: "Q",
    IpvsStatsAttr.INBPS: "Q",
    IpvsStatsAttr.OUTBPS: "Q",
}
_SERVICE: Final[Table] = {IpvsCmdAttr.SERVICE: {IpvsSvcAttr.STATS64: _RATES}}
_DEST: Final[Table] = {IpvsCmdAttr.DEST: {IpvsDestAttr.STATS64: _RATES}}


class RateReplies:
    """Decodes the same payloads as `IpvsReplies`, and raises what it does."""

    def __init__(self) -> None:
        self._replies = IpvsReplies()
        self._services = TableReader(_SERVICE)
        self._dests = TableReader(_DEST)

    def service(
        self, buffer: bytes, start: int, end: int
    ) -> tuple[VirtualServerKey, Rates]:
        """A virtual server's."""
        server, _ = self._replies.service(buffer, start, end)
        fields = self._services.read(buffer, start + GENL_HDRLEN, end)
        return server.key, _rates(fields)

    def dest(
        self, buffer: bytes, start: int, end: int
    ) -> tuple[RealServerKey, RealServerRates]:
        """A real server's."""
        server, stats = self._replies.dest(buffer, start, end)
        fields = self._dests.read(buffer, start + GENL_HDRLEN, end)
        return server.key, RealServerRates(
            weight=server.weight, active=stats.active, rates=_rates(fields)
        )


def _rates(fields: Sequence[int | None]) -> Rates:
    connections, packets_in, packets_out, bytes_in, bytes_out = fields
    return Rates(
        connections=connections or 0,
        packets_in=packets_in or 0,
        packets_out=packets_out or 0,
        bytes_in=bytes_in or 0,
        bytes_out=bytes_out or 0,
    )
