"""Addresses in the kernel's form, network order, to values.

Addresses repeat (a pod behind several ports, a VIP with several): equal ones share an
object, which is faster to make and to compare. Whoever has read a whole table is to
call `forget_addresses`: the memory would be gone for good.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPAddress, IPFamily

_CACHED = 1 << 12


@lru_cache(maxsize=_CACHED)
def unpack_ipv4(packed: bytes) -> IPv4Address:
    """The address in 4 bytes."""
    if len(packed) != 4:
        raise WireError(offset=0, reason=f"IPv4 address of {len(packed)} bytes")
    return IPv4Address(packed)


@lru_cache(maxsize=_CACHED)
def unpack_ipv6(packed: bytes) -> IPv6Address:
    """The address in 16 bytes."""
    if len(packed) != 16:
        raise WireError(offset=0, reason=f"IPv6 address of {len(packed)} bytes")
    return IPv6Address(packed)


def forget_addresses() -> None:
    """Keep no address that nobody else keeps."""
    unpack_ipv4.cache_clear()
    unpack_ipv6.cache_clear()


def unpack_address(family: IPFamily, packed: bytes) -> IPAddress:
    """The address in a `union nf_inet_addr`, or in its own few bytes.

    The kernel sends the union, 16 bytes for either family, and takes both.
    """
    return unpack_ipv4(packed[:4]) if family is IPFamily.IPV4 else unpack_ipv6(packed)
