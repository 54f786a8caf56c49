"""Addresses in the kernel's form, network order, to values."""

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import ADDRESSES_OF, IPAddress, IPFamily


def unpack_address(family: IPFamily, packed: bytes) -> IPAddress:
    """The address in a `union nf_inet_addr`, or in its own few bytes.

    The kernel sends the union, 16 bytes for either family, and takes both.
    """
    size = 16
    if family is IPFamily.IPV4:
        packed, size = packed[:4], 4
    if len(packed) != size:
        reason = f"{family.label} address of {len(packed)} bytes"
        raise WireError(offset=0, reason=reason)
    return ADDRESSES_OF[size](packed)
