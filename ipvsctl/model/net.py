"""Addresses, families and protocols: the words every other value is made of."""

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, TypeVar

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

Addressed = TypeVar("Addressed", IPAddress, IPNetwork)


class IPFamily(IntEnum):
    """An address family, with the kernel's number for it (`sys/socket.h`)."""

    IPV4 = 2
    IPV6 = 10

    @property
    def bits(self) -> int:
        """Length of an address of this family, in bits."""
        return 32 if self is IPFamily.IPV4 else 128

    @property
    def label(self) -> str:
        """The word Kubernetes uses: `IPv4` or `IPv6`."""
        return "IPv4" if self is IPFamily.IPV4 else "IPv6"


class Protocol(IntEnum):
    """A transport protocol, with its IP protocol number."""

    TCP = 6
    UDP = 17
    SCTP = 132

    @property
    def label(self) -> str:
        """The lower-case word ipset and iptables use."""
        return self.name.lower()


def family_of(value: IPAddress | IPNetwork) -> IPFamily:
    """The family of an address or network."""
    return IPFamily.IPV4 if value.version == 4 else IPFamily.IPV6


def of_family(values: Iterable[Addressed], family: IPFamily) -> Iterator[Addressed]:
    """Those addresses or networks that are of a family, in their order."""
    return (value for value in values if family_of(value) is family)


@lru_cache(maxsize=1 << 12)
def parse_address(text: str) -> IPAddress:
    """Parse an address as Kubernetes reads those it has stored.

    Leading zeros are idle (`010.0.0.1` is 10.0.0.1), since objects are stored that
    have them. An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) is the IPv4 address it
    maps. The cache is for addresses that are read again soon: of a changed slice, of
    nodes. It keeps twice as much memory for an address as the address takes, so one of
    every endpoint would cost more than it shares.

    Raises:
        ValueError: not an address, or one with a zone (`fe80::1%eth0`), which means
            nothing on another host.
    Source: k8s.io/utils/net `ParseIPSloppy`.
    """
    address = _parse_as_written(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_network(text: str) -> IPNetwork:
    """Parse a CIDR as Kubernetes reads those it has stored; space around it is idle.

    Host bits are cleared, as the kernel and kube-proxy do. A network of IPv4-mapped
    addresses (`::ffff:10.0.0.0/104`) is the IPv4 network it maps (10.0.0.0/8).

    Raises:
        ValueError: not `address/length`; a netmask is no length.
    Source: k8s.io/utils/net `ParseCIDRSloppy`, `IPFamilyOfCIDR`.
    """
    host, slash, digits = text.strip().partition("/")
    if not (slash and digits.isascii() and digits.isdigit()):
        raise ValueError("no address with a /length")
    # Not a number yet: thousands of digits are none to Python.
    if len(digits.lstrip("0")) > 3:
        raise ValueError("a length that no address has")
    address, length = _parse_as_written(host), int(digits)
    if isinstance(address, IPv6Address) and address.ipv4_mapped and length >= 96:
        return ip_network((address.ipv4_mapped, length - 96), strict=False)
    return ip_network((address, length), strict=False)


_LONGEST_ADDRESS: Final = 256
_LEADING_ZEROS: Final = re.compile("(?<![0-9A-Fa-f])0+(?=[0-9A-Fa-f])")


def _parse_as_written(text: str) -> IPAddress:
    """An address of the family it is written in."""
    if len(text) > _LONGEST_ADDRESS:
        raise ValueError("too long for an address")
    try:
        address = ip_address(text)
    except ValueError:
        address = ip_address(_LEADING_ZEROS.sub("", text))
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError(f"{text!r} has a zone")
    return address


def format_host_port(address: IPAddress, port: int) -> str:
    """`10.0.0.1:80` or `[fd00::1]:80`."""
    if address.version == 4:
        return f"{address}:{port}"
    return f"[{address}]:{port}"
