"""rtnetlink: the addresses on the VIP link and on the others.

    nlmsghdr | ifaddrmsg: family, prefix length, flags, scope, link | IFA_ADDRESS ...

Source: uapi/linux/if_addr.h, uapi/linux/rtnetlink.h; net/ipv4/devinet.c,
net/ipv6/addrconf.c.
"""

from enum import IntEnum, IntFlag
from ipaddress import IPv6Address
from struct import Struct
from typing import Final, NamedTuple

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPAddress, IPFamily, family_of
from ipvsctl.wire.netlink.addresses import unpack_address
from ipvsctl.wire.netlink.attributes import Table, TableReader, attribute
from ipvsctl.wire.netlink.messages import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    message_header,
)

_IFADDRMSG: Final = Struct("=BBBBI")


class RtmType(IntEnum):
    """RTM_*."""

    NEWADDR = 20
    DELADDR = 21
    GETADDR = 22


class IfaAttr(IntEnum):
    """IFA_*."""

    ADDRESS = 1
    LOCAL = 2
    FLAGS = 8


class IfaFlag(IntFlag):
    """IFA_F_*: flags of an address."""

    DADFAILED = 0x08
    TENTATIVE = 0x40


RT_SCOPE_UNIVERSE: Final = 0


class LinkAddress(NamedTuple):
    """An address on a link.

    Attributes:
        usable: False while, or after, duplicate address detection refuses it.
    """

    ifindex: int
    address: IPAddress
    prefix_length: int
    usable: bool


def bind_address(ifindex: int, address: IPAddress) -> bytes:
    """Put an address on a link with a full-length prefix; EEXIST if it is there.

    An IPv6 address is not usable before a worker of the kernel has had it, see
    `get_address`. On a dummy link it is not looked for on other hosts, which all have
    it (addrconf.c:addrconf_dad_begin, IFF_NOARP).
    """
    return _change_address(RtmType.NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, address)


def unbind_address(ifindex: int, address: IPAddress) -> bytes:
    """Take an address off a link; EADDRNOTAVAIL if it is not there."""
    return _change_address(RtmType.DELADDR, 0, ifindex, address)


def get_address(ifindex: int, address: IPv6Address) -> bytes:
    """Ask about one IPv6 address of a link, which says whether it is usable yet."""
    body = _IFADDRMSG.pack(IPFamily.IPV6, 0, 0, 0, ifindex)
    body += attribute(IfaAttr.ADDRESS, address.packed)
    return message_header(RtmType.GETADDR, 0, len(body)) + body


def list_addresses() -> bytes:
    """Dump the addresses of every link."""
    body = _IFADDRMSG.pack(0, 0, 0, 0, 0)
    return message_header(RtmType.GETADDR, NLM_F_DUMP, len(body)) + body


def _change_address(
    kind: RtmType, flags: int, ifindex: int, address: IPAddress
) -> bytes:
    packed = address.packed
    family = family_of(address)
    body = _IFADDRMSG.pack(family, family.bits, 0, RT_SCOPE_UNIVERSE, ifindex)
    body += attribute(IfaAttr.LOCAL, packed) + attribute(IfaAttr.ADDRESS, packed)
    return message_header(kind, flags, len(body)) + body


_ADDRESS: Final[Table] = {IfaAttr.ADDRESS: "s", IfaAttr.LOCAL: "s", IfaAttr.FLAGS: "I"}
_UNUSABLE: Final = IfaFlag.TENTATIVE | IfaFlag.DADFAILED


class RtnetlinkReplies:
    """Decodes the payloads of address messages."""

    def __init__(self) -> None:
        self._addresses = TableReader(_ADDRESS)

    def address(self, buffer: bytes, start: int, end: int) -> LinkAddress | None:
        """An address on a link; None for one of another family than IPv4 and IPv6.

        Args:
            buffer: what was received.
            start: where the payload starts in it.
            end: where it ends.

        Raises:
            WireError: it is not such a payload.
        """
        if end - start < _IFADDRMSG.size:
            raise WireError(offset=start, reason="truncated address message")
        family, prefix_length, flags8, _, ifindex = _IFADDRMSG.unpack_from(
            buffer, start
        )
        if family not in {IPFamily.IPV4, IPFamily.IPV6}:
            return None
        peer, local, flags = self._addresses.read(buffer, start + _IFADDRMSG.size, end)
        # On a point-to-point link ADDRESS is the other end.
        packed = peer if local is None else local
        if packed is None:
            raise WireError(offset=start, reason="no address")
        address = unpack_address(IPFamily(family), packed)
        all_flags = flags8 if flags is None else flags
        return LinkAddress(ifindex, address, prefix_length, not all_flags & _UNUSABLE)
