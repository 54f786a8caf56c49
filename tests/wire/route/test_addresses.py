"""Addresses: byte for byte those of another encoder, and back to values."""

from struct import pack
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from ipvsctl.model.errors import WireError
from ipvsctl.model.net import IPAddress, IPv4Address, IPv6Address, family_of
from ipvsctl.wire.netlink.attributes import attribute
from ipvsctl.wire.route.attributes import IfaAttr, IfaFlag, RtmType
from ipvsctl.wire.route.replies import AddressReplies, LinkAddress
from ipvsctl.wire.route.requests import (
    bind_address,
    get_address,
    list_addresses,
    unbind_address,
)
from tests.addresses import later
from tests.wire.golden import each_kernel, in_runs, payloads, repeated
from tests.wire.samples import VIP, VIP6

IFINDEX = 7


def encoded(message: Any, kind: RtmType, message_flags: int, /, **fields: Any) -> bytes:
    """The request as pyroute2 encodes it."""
    message["header"].update(type=kind, flags=message_flags)
    message.update(fields)
    message.encode()
    return bytes(message.data)


def address_by_pyroute2(kind: RtmType, flags: int, address: IPAddress) -> bytes:
    """A request about an address as pyroute2 encodes it."""
    return encoded(
        ifaddrmsg(),
        kind,
        flags,
        family=family_of(address),
        prefixlen=address.family.bits,
        index=IFINDEX,
        attrs=[("IFA_LOCAL", str(address)), ("IFA_ADDRESS", str(address))],
    )


@pytest.mark.parametrize("address", [VIP, VIP6])
def test_changing_addresses(address: IPAddress) -> None:
    """The requests are the bytes that pyroute2 would send."""
    assert bind_address(IFINDEX, address) == address_by_pyroute2(
        RtmType.NEWADDR, 0x605, address
    )
    assert unbind_address(IFINDEX, address) == address_by_pyroute2(
        RtmType.DELADDR, 5, address
    )


def test_asking_for_an_address() -> None:
    """The question has no prefix length, which a strict kernel would refuse."""
    assert get_address(IFINDEX, VIP6) == encoded(
        ifaddrmsg(),
        RtmType.GETADDR,
        5,
        family=family_of(VIP6),
        index=IFINDEX,
        attrs=[("IFA_ADDRESS", str(VIP6))],
    )


def test_listing_addresses() -> None:
    """The dump is of every family and link."""
    assert list_addresses() == encoded(ifaddrmsg(), RtmType.GETADDR, 0x301)


@pytest.mark.parametrize("address", [VIP, VIP6])
def test_addresses_survive_the_wire(address: IPAddress) -> None:
    """A request to bind an address reads as that address."""
    message = bind_address(IFINDEX, address)
    assert AddressReplies().address(message, 16, len(message)) == LinkAddress(
        IFINDEX, address, address.family.bits, usable=True
    )


@each_kernel
def test_addresses_of_a_kernel(kernel: str) -> None:
    """The VIPs are on the VIP link, the loopback addresses on their own."""
    replies = AddressReplies()
    read = [replies.address(*found) for found in payloads(kernel, "addresses")]
    assert in_runs(replies.addresses, payloads(kernel, "addresses")) == read
    (vip_link,) = {item.ifindex for item in read if item and item.address == VIP}
    addresses = {
        (item.address, item.prefix_length, item.usable)
        for item in read
        if item is not None and item.ifindex == vip_link
    }
    assert {(VIP, 32, True), (VIP6, 128, True)} < addresses
    assert {item.address for item in read if item} > {
        IPv4Address("127.0.0.1"),
        IPv6Address("::1"),
    }


def address_message(family: int, flags: int, *attributes: bytes) -> bytes:
    """The payload of a message about an address."""
    return pack("=BBBBI", family, 24, flags, 0, IFINDEX) + b"".join(attributes)


LOCAL = attribute(IfaAttr.LOCAL, VIP.packed)
PEER = attribute(IfaAttr.ADDRESS, (later(VIP, 1)).packed)


@pytest.mark.parametrize(
    ("payload", "address"),
    [
        (
            address_message(2, 0, PEER, LOCAL),
            LinkAddress(IFINDEX, VIP, 24, usable=True),
        ),
        (
            address_message(2, 0, PEER),
            LinkAddress(IFINDEX, later(VIP, 1), 24, usable=True),
        ),
        (
            address_message(2, IfaFlag.TENTATIVE, LOCAL),
            LinkAddress(IFINDEX, VIP, 24, usable=False),
        ),
        (
            address_message(
                2, 0, LOCAL, attribute(IfaAttr.FLAGS, pack("=I", IfaFlag.DADFAILED))
            ),
            LinkAddress(IFINDEX, VIP, 24, usable=False),
        ),
        (address_message(28, 0, LOCAL), None),
    ],
    ids=["point-to-point", "no-local", "tentative", "wide-flags", "other-family"],
)
def test_address(payload: bytes, address: LinkAddress | None) -> None:
    """The local end of a link is its address; flags are where the kernel has them."""
    assert AddressReplies().address(payload, 0, len(payload)) == address


@each_kernel
def test_truncated_replies(kernel: str) -> None:
    """A prefix of a reply is an error, or has the address in it."""
    learned = AddressReplies()
    for buffer, start, end in payloads(kernel, "addresses"):
        whole = learned.address(buffer, start, end)
        assert whole is not None
        for stop in range(start, end):
            try:
                read = learned.address(buffer[:stop], start, stop)
            except WireError:
                continue
            assert read is not None
            assert read.address == whole.address


@each_kernel
@pytest.mark.parametrize("address", [VIP, VIP6])
def test_addresses_that_are_alike_are_decoded_at_once(
    kernel: str, address: IPAddress
) -> None:
    """They differ in nothing but the address; when it was bound does not count."""
    replies = AddressReplies()
    others = [later(address, 1), later(address, 2)]
    for found in payloads(kernel, "addresses"):
        read = replies.address(*found)
        if read is None or read.address != address:
            continue
        decoded = replies.addresses(*repeated(found, address, others))
        assert decoded == [read._replace(address=one) for one in (address, *others)]
        return
    raise AssertionError(kernel)
