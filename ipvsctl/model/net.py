"""Addresses, families and protocols: the words every other value is made of."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import IntEnum
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import inet_ntop, inet_pton
from typing import ClassVar, Final, Self, TypeVar

IPNetwork = IPv4Network | IPv6Network


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


class IPAddress(bytes):
    """An IP address: its bytes as they are in packets, in network order.

    Addresses are what most keys are made of. Hash and equality of `ipaddress`' own are
    Python code, and reading one takes ten times as long. Networks, of which there are
    few, are `ipaddress`'; see `is_in`.
    """

    __slots__ = ()

    family: ClassVar[IPFamily]
    version: ClassVar[int]

    def __new__(cls, value: str | bytes | int) -> Self:
        """Make an address of a text as it is usually written, of bytes, or a number.

        Raises:
            ValueError: not an address of this family.
        """
        family = cls.family
        if isinstance(value, str):
            try:
                return bytes.__new__(cls, inet_pton(family, value))
            except OSError:
                raise ValueError(f"{value!r} is no {family.label} address") from None
        size = family.bits // 8
        try:
            packed = value.to_bytes(size) if isinstance(value, int) else value
        except OverflowError:
            packed = b""
        if len(packed) != size:
            raise ValueError(f"{value!r} is no {family.label} address")
        return bytes.__new__(cls, packed)

    def __str__(self) -> str:
        return inet_ntop(self.family, self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __int__(self) -> int:
        return int.from_bytes(self)

    @property
    def packed(self) -> bytes:
        """The bytes alone."""
        return bytes(self)

    @property
    def is_unspecified(self) -> bool:
        """Whether it stands for no address, or for any: `0.0.0.0`, `::`."""
        return not any(self)

    @property
    def is_loopback(self) -> bool:
        """Whether packets to it stay on the node."""
        raise NotImplementedError

    @property
    def is_link_local(self) -> bool:
        """Whether packets to it stay on one link."""
        raise NotImplementedError


class IPv4Address(IPAddress):
    """Of four bytes."""

    __slots__ = ()

    family = IPFamily.IPV4
    version = 4

    @property
    def is_loopback(self) -> bool:
        """Whether it is of 127.0.0.0/8."""
        return self[0] == 127

    @property
    def is_link_local(self) -> bool:
        """Whether it is of 169.254.0.0/16."""
        return self.startswith(b"\xa9\xfe")


class IPv6Address(IPAddress):
    """Of sixteen bytes."""

    __slots__ = ()

    family = IPFamily.IPV6
    version = 6

    def __str__(self) -> str:
        text = inet_ntop(_IPV6, self)
        # The C library has it that `::a00:1` means an address of IPv4. Go has not.
        return str(ipaddress.IPv6Address(bytes(self))) if "." in text else text

    @property
    def is_loopback(self) -> bool:
        """Whether it is ::1."""
        return self == _IPV6_LOOPBACK

    @property
    def is_link_local(self) -> bool:
        """Whether it is of fe80::/10."""
        return self[0] == 0xFE and self[1] >> 6 == 2


_IPV6_LOOPBACK: Final = bytes(15) + b"\1"
_MAPPED: Final = bytes(10) + b"\xff\xff"
_IPV4: Final = IPFamily.IPV4
_IPV6: Final = IPFamily.IPV6

Addressed = TypeVar("Addressed", bound=IPAddress | IPNetwork)


ADDRESSES_OF: Final[Mapping[int, Callable[[bytes], IPAddress]]] = {
    4: partial(bytes.__new__, IPv4Address),
    16: partial(bytes.__new__, IPv6Address),
}
"""What makes an address of so many bytes, without a look at how many they are: for
whoever makes very many of the same size."""


def to_address(packed: bytes) -> IPAddress:
    """The address that four or sixteen bytes are.

    Raises:
        ValueError: any other number of bytes.
    """
    make = ADDRESSES_OF.get(len(packed))
    if make is None:
        raise ValueError(f"{len(packed)} bytes, where an address has 4 or 16")
    return make(packed)


def family_of(value: IPAddress | IPNetwork) -> IPFamily:
    """The family of an address or network."""
    return IPFamily.IPV4 if value.version == 4 else IPFamily.IPV6


def of_family(values: Iterable[Addressed], family: IPFamily) -> Iterator[Addressed]:
    """Those addresses or networks that are of a family, in their order."""
    return (value for value in values if family_of(value) is family)


def is_in(address: IPAddress, network: IPNetwork) -> bool:
    """Whether a network has an address."""
    if address.version != network.version:
        return False
    beyond = network.max_prefixlen - network.prefixlen
    return (int(address) ^ int(network.network_address)) >> beyond == 0


def network_of(address: IPAddress, length: int) -> IPNetwork:
    """The network of an address; host bits are cleared."""
    return ip_network((address, length), strict=False)


def first_of(network: IPNetwork) -> IPAddress:
    """The lowest address of a network, that it is called by."""
    return to_address(network.network_address.packed)


def last_of(network: IPNetwork) -> IPAddress:
    """The highest address of a network."""
    return to_address(network.broadcast_address.packed)


def by_number(address: IPAddress) -> tuple[int, bytes]:
    """What to sort addresses by: IPv4 first, then the lower one."""
    return address.version, address


def parse_address(text: str) -> IPAddress:
    """Parse an address as Kubernetes reads those it has stored.

    Leading zeros are idle (`010.0.0.1` is 10.0.0.1), since objects are stored that
    have them. An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) is the IPv4 address it
    maps.

    Raises:
        ValueError: not an address, or one with a zone (`fe80::1%eth0`), which means
            nothing on another host.
    Source: k8s.io/utils/net `ParseIPSloppy`.
    """
    # Of every endpoint, and most are written as they should be.
    try:
        return bytes.__new__(IPv4Address, inet_pton(_IPV4, text))
    except (OSError, ValueError):
        address = _parse_as_written(text)
    return _unmapped(address)


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
    unmapped = _unmapped(address)
    if unmapped is not address and length >= 96:
        return network_of(unmapped, length - 96)
    return network_of(address, length)


_LONGEST_ADDRESS: Final = 256
_LEADING_ZEROS: Final = re.compile("(?<![0-9A-Fa-f])0+(?=[0-9A-Fa-f])")


def _parse_as_written(text: str) -> IPAddress:
    """An address of the family it is written in."""
    if len(text) > _LONGEST_ADDRESS:
        raise ValueError("too long for an address")
    try:
        return _parse_strictly(text)
    except OSError:
        pass
    try:
        return _parse_strictly(_LEADING_ZEROS.sub("", text))
    except OSError:
        raise ValueError(f"{text!r} is no address") from None


def _unmapped(address: IPAddress) -> IPAddress:
    """The IPv4 address that one of IPv6 maps, or the address itself."""
    is_mapped = len(address) == 16 and address.startswith(_MAPPED)
    return to_address(address[len(_MAPPED) :]) if is_mapped else address


def _parse_strictly(text: str) -> IPAddress:
    if ":" in text:
        return bytes.__new__(IPv6Address, inet_pton(_IPV6, text))
    return bytes.__new__(IPv4Address, inet_pton(_IPV4, text))


def format_host_port(address: IPAddress, port: int) -> str:
    """`10.0.0.1:80` or `[fd00::1]:80`."""
    if address.version == 4:
        return f"{address}:{port}"
    return f"[{address}]:{port}"
