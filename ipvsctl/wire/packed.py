"""Addresses in the kernel's form, network order, to values.

Addresses repeat (a pod behind several ports, a VIP with several): equal ones share an
object, which is faster to make and to compare.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from ipvsctl.model.net import IPAddress, IPFamily

_CACHED = 1 << 17

unpack_ipv4 = lru_cache(maxsize=_CACHED)(IPv4Address)
unpack_ipv6 = lru_cache(maxsize=_CACHED)(IPv6Address)


def unpack_address(family: IPFamily, union: bytes) -> IPAddress:
    """The address in a `union nf_inet_addr`: 16 bytes for either family."""
    return unpack_ipv4(union[:4]) if family is IPFamily.IPV4 else unpack_ipv6(union)
