"""Where a node unpacks what other nodes have put into a tunnel for it.

A packet to a VIP comes as it came to the other node, inside UDP (Generic UDP
Encapsulation). A UDP port takes that off, and a link has the packet come in: by its
name the rules know it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from ipvsctl.model.net import IPAddress, IPFamily, parse_address

TUNNEL_LINKS: Final[Mapping[IPFamily, str]] = MappingProxyType(
    {IPFamily.IPV4: "ipvsctl-tunl4", IPFamily.IPV6: "ipvsctl-tunl6"}
)
"""The link of each family."""

TUNNEL_LINK_ADDRESS: Final = parse_address("192.0.0.8")
"""On the IPv4 link, with scope host: a link without any address lets nothing in
(fib_frontend.c:__fib_validate_source). It stands for a host without IPv4 address and
means nothing else (RFC 7600)."""


class TunnelEnd(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """The end of all tunnels to this node, of one family.

    Attributes:
        address: of this node, to which other nodes send; the family is its own.
        port: of UDP.
        is_whole: observed; what there is works as one. A desired one does.
    """

    address: IPAddress
    port: int
    is_whole: bool = True

    def __str__(self) -> str:
        return f"{self.address} port {self.port}"
