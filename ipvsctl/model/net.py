"""Addresses, families and protocols: the words every other value is made of."""

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
from typing import TypeVar

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
    """Parse an address as Kubernetes writes it.

    An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) is the IPv4 address it maps, as
    the API server and kube-proxy treat it. The cache is for what is read again soon:
    a changed slice, nodes. It keeps twice as much memory for an address as the address
    takes, so one of every endpoint would cost more than it shares.

    Raises:
        ValueError: not an address, or one with a zone (`fe80::1%eth0`), which means
            nothing on another host.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{text!r} has a zone")
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
    return address


def parse_network(text: str) -> IPNetwork:
    """Parse a CIDR; host bits are cleared, as the kernel and kube-proxy do.

    Raises:
        ValueError: not `address/length`.
    """
    if "/" not in text:
        raise ValueError(f"{text!r} has no /length")
    return ip_network(text.strip(), strict=False)


def format_host_port(address: IPAddress, port: int) -> str:
    """`10.0.0.1:80` or `[fd00::1]:80`."""
    if address.version == 4:
        return f"{address}:{port}"
    return f"[{address}]:{port}"
