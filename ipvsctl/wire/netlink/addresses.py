"""Addresses in the kernel's form, network order, to values."""

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPAddress, IPFamily, to_address


def unpack_address(family: IPFamily, packed: bytes) -> IPAddress:
    """The address in a `union nf_inet_addr`, or in its own few bytes.

    The kernel sends the union, 16 bytes for either family, and takes both.
    """
    if family is IPFamily.IPV4:
        packed = packed[:4]
    if len(packed) != (4 if family is IPFamily.IPV4 else 16):
        reason = f"{family.label} address of {len(packed)} bytes"
        raise WireError(offset=0, reason=reason)
    return to_address(packed)
