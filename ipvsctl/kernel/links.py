"""The VIP link and the addresses of every link: reading and changing them."""

import errno
from collections.abc import Sequence
from itertools import groupby
from typing import Final, NamedTuple

from ipvsctl.kernel.applier import failed_op
from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.model.errors import NotFound
from ipvsctl.model.net import IPAddress
from ipvsctl.plan.ops import (
    BindAddress,
    DeleteVipLink,
    EnsureVipLink,
    FailedOp,
    Op,
    UnbindAddress,
)
from ipvsctl.wire.netlink import Ack, NetlinkProtocol
from ipvsctl.wire.rtnetlink import (
    Link,
    RtnetlinkReplies,
    bind_address,
    delete_link,
    ensure_dummy_link,
    get_link,
    list_addresses,
    unbind_address,
)

LINK_OPS: Final = (EnsureVipLink, DeleteVipLink, BindAddress, UnbindAddress)
"""The kinds of op that `Links.run` takes."""

_NO_LINK: Final = Ack(errno.ENODEV, "the VIP link is not there")


class AddressListing(NamedTuple):
    """Addresses, without IPv6 link-local ones.

    Attributes:
        vip_link_up: the VIP link exists and is up.
        vips: on the VIP link.
        host: usable ones on the other links, without loopback addresses.
    """

    vip_link_up: bool
    vips: frozenset[IPAddress]
    host: frozenset[IPAddress]


class Links:
    """Links and addresses of the caller's network namespace.

    Args:
        vip_link: name of the VIP link.

    Raises:
        KernelError: the socket cannot be opened.
    """

    def __init__(self, vip_link: str) -> None:
        self._vip_link = vip_link
        self._socket = NetlinkSocket.open(NetlinkProtocol.ROUTE)
        self._replies = RtnetlinkReplies()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`."""
        failed: list[FailedOp] = []
        for is_address, run in groupby(ops, key=_is_address):
            group = tuple(run)
            refused = self._run_addresses(group) if is_address else self._run(group, 0)
            failed += (
                failed_op(group[place], ack)
                for place, ack in sorted(refused.items())
                if not _is_fine(group[place], ack)
            )
        return failed

    def _run_addresses(self, ops: Sequence[Op]) -> dict[int, Ack]:
        vip_link = self.find_vip_link()
        if vip_link is None:
            return dict.fromkeys(range(len(ops)), _NO_LINK)
        return self._run(ops, vip_link.ifindex)

    def _run(self, ops: Sequence[Op], ifindex: int) -> dict[int, Ack]:
        return self._socket.apply(_message(op, ifindex) for op in ops)

    def find_vip_link(self) -> Link | None:
        """The VIP link; None if it is not there."""
        try:
            return self._socket.ask_one(
                get_link(self._vip_link), self._replies.link, "find the VIP link"
            )
        except NotFound:
            return None

    def read(self) -> AddressListing:
        """Every address."""
        vip_link = self.find_vip_link()
        vips = set()
        host = set()
        for item in self._socket.dump(
            list_addresses(), self._replies.address, "list addresses"
        ):
            if item is None or _is_ipv6_link_local(item.address):
                continue
            if vip_link is not None and item.ifindex == vip_link.ifindex:
                vips.add(item.address)
            elif item.usable and not item.address.is_loopback:
                host.add(item.address)
        return AddressListing(
            vip_link is not None and vip_link.is_up, frozenset(vips), frozenset(host)
        )


def _is_ipv6_link_local(address: IPAddress) -> bool:
    return address.version == 6 and address.is_link_local


def _is_address(op: Op) -> bool:
    return isinstance(op, BindAddress | UnbindAddress)


def _message(op: Op, ifindex: int) -> bytes:
    match op:
        case BindAddress(address):
            return bind_address(ifindex, address)
        case UnbindAddress(address):
            return unbind_address(ifindex, address)
        case EnsureVipLink(name):
            return ensure_dummy_link(name)
        case DeleteVipLink(name):
            return delete_link(name)
        case _:
            raise TypeError(op)


def _is_fine(op: Op, ack: Ack) -> bool:
    """The op has nothing left to do."""
    if isinstance(op, BindAddress):
        return ack.errno == errno.EEXIST
    if isinstance(op, UnbindAddress):
        return ack.errno in {errno.EADDRNOTAVAIL, errno.ENODEV}
    return False
