"""The VIP link and the addresses of every link: reading and changing them.

The link is pyroute2's business. Addresses are as many as Services, so their messages
are encoded here, in batches.
"""

import contextlib
import errno
import time
from collections.abc import Callable, Container, Sequence
from contextlib import closing
from itertools import groupby
from typing import Any, Final, NamedTuple

from ipvsctl.kernel.applier import failed_op
from ipvsctl.kernel.descriptors import require_free
from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.kernel.socket import CLOSED
from ipvsctl.libraries.pyroute import IPRoute, NetlinkError
from ipvsctl.model.errors import KernelError
from ipvsctl.model.net import IPAddress, IPv6Address
from ipvsctl.model.steps import Step, Steps
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.diff.ops import (
    BindAddress,
    DeleteVipLink,
    EnsureVipLink,
    FailedOp,
    Op,
    RaiseVipLink,
    UnbindAddress,
)
from ipvsctl.wire.netlink.messages import Ack, NetlinkProtocol
from ipvsctl.wire.route.replies import AddressReplies, LinkAddress
from ipvsctl.wire.route.requests import (
    bind_address,
    get_address,
    list_addresses,
    unbind_address,
)

NO_LINK: Final = Ack(errno.ENODEV, "the VIP link is not there")
"""What an op is refused with that needs the VIP link."""


_PAUSES_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)

IFF_UP: Final = 1
_SCOPE_HOST: Final = 254

STEP_DECODED: Final = 500
"""Messages that are decoded in one step: a few milliseconds."""


class Link(NamedTuple):
    """A link, found by its name."""

    ifindex: int
    is_up: bool


class AddressListing(NamedTuple):
    """Addresses, without IPv6 link-local ones.

    Attributes:
        vip_link_up: whether the VIP link is up; None if it is not there.
        vips: on the VIP link.
        host: usable ones on the other links, without loopback addresses; in the
            kernel's order, each link's first one before its others.
        apart: on links that are none of the host's.
    """

    vip_link_up: bool | None
    vips: frozenset[IPAddress]
    host: tuple[LinkAddress, ...]
    apart: tuple[LinkAddress, ...] = ()


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
        self._replies = AddressReplies()
        self._ip: Any = None

    def close(self) -> None:
        """Close the sockets."""
        self._socket.close()
        self._lose_ip()

    def ask(self, command: str, **attributes: object) -> Any:  # noqa: ANN401
        """Ask for links, or change them, as `IPRoute.link`; a dead socket is replaced.

        Raises:
            NetlinkError: the kernel has refused it.
            KernelError: there is no socket.
        """
        return self._call(lambda ip: ip.link(command, **attributes))

    def bind_here(self, ifindex: int, address: IPAddress) -> None:
        """Put an address on a link that nothing but this host can use.

        Raises:
            NetlinkError: the kernel has refused it.
            KernelError: there is no socket.
        """
        bits, scope = address.family.bits, _SCOPE_HOST
        self._call(
            lambda ip: ip.addr(
                "add", index=ifindex, address=str(address), prefixlen=bits, scope=scope
            )
        )

    def _call(self, ask: Callable[[Any], Any]) -> Any:  # noqa: ANN401
        is_old = self._ip is not None
        try:
            if not is_old:
                require_free()
                self._ip = IPRoute()
            return ask(self._ip)
        except OSError as error:
            self._lose_ip()
            if is_old and error.errno in CLOSED:
                # Nothing was sent.
                return self._call(ask)
            raise KernelError.of(error.errno or errno.EIO, "ask for links") from error

    def _lose_ip(self) -> None:
        lost, self._ip = self._ip, None
        if lost is not None:
            with contextlib.suppress(OSError):
                lost.close()

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`."""
        failed: list[FailedOp] = []
        for is_address, run in groupby(ops, key=_is_address):
            group = tuple(run)
            refused = (
                self._run_addresses(group) if is_address else self._run_links(group)
            )
            failed += (
                failed_op(group[place], ack)
                for place, ack in sorted(refused.items())
                if not _is_fine(group[place], ack)
            )
        return failed

    def _run_addresses(self, ops: Sequence[Op]) -> dict[int, Ack]:
        vip_link = self.find_vip_link()
        if vip_link is None:
            return dict.fromkeys(range(len(ops)), NO_LINK)
        refused = self._socket.apply(_message(op, vip_link.ifindex) for op in ops)
        bound = (op.address for op in ops if isinstance(op, BindAddress))
        self._wait_for(vip_link, [a for a in bound if isinstance(a, IPv6Address)])
        return refused

    def _wait_for(self, vip_link: Link, addresses: list[IPv6Address]) -> None:
        """Let the kernel finish with IPv6 addresses that were just bound.

        The route of such an address comes later, from a worker (addrconf.c:
        addrconf_dad_work), and would then be in front of one of ours that was to
        take its place. One that takes too long is for the next audit to find.
        """
        for pause_s in _PAUSES_S:
            answers = self._socket.ask(
                (get_address(vip_link.ifindex, address) for address in addresses),
                self._replies.address,
            )
            addresses = [
                answer.address
                for answer in answers
                if isinstance(answer, LinkAddress)
                and isinstance(answer.address, IPv6Address)
                and not answer.usable
            ]
            if not addresses:
                return
            time.sleep(pause_s)

    def _run_links(self, ops: Sequence[Op]) -> dict[int, Ack]:
        refused = {}
        for place, op in enumerate(ops):
            try:
                self._run_link(op)
            except NetlinkError as error:
                refused[place] = Ack(error.code, "")
        return refused

    def _run_link(self, op: Op) -> None:
        match op:
            case EnsureVipLink(name) | RaiseVipLink(name):
                try:
                    self.ask("add", ifname=name, kind="dummy", state="up")
                except NetlinkError as error:
                    if error.code != errno.EEXIST:
                        raise
                    (found,) = self.ask("get", ifname=name)
                    self.ask("set", index=found["index"], state="up")
            case DeleteVipLink(name):
                (found,) = self.ask("get", ifname=name)
                self.ask("del", index=found["index"])
            case _:
                raise TypeError(op)

    def find_vip_link(self) -> Link | None:
        """The VIP link; None if it is not there.

        Raises:
            KernelError: it cannot be asked for; Exists if it is no dummy link, whose
                addresses are somebody else's.
        """
        try:
            (found,) = self.ask("get", ifname=self._vip_link)
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise KernelError.of(error.code, "find the VIP link") from error
        kind = link_kind(found)
        if kind != "dummy":
            what = f"bind VIPs to link {self._vip_link}"
            reason = f"it is a {kind} link, no dummy; see --vip-link"
            raise KernelError.of(errno.EEXIST, what, reason)
        return Link(found["index"], bool(found["flags"] & IFF_UP))

    def read_in_steps(self, apart: Container[int] = ()) -> Steps[AddressListing]:
        """Every address; see `interface.Reading`.

        Args:
            apart: numbers of links that are none of the host's.
        """
        yield Step.EXCLUSIVE
        vip_link = self.find_vip_link()
        vips = set()
        host = []
        others = []
        # One that is not read to its end would be in the way of the next.
        with closing(NetlinkSocket.open(NetlinkProtocol.ROUTE)) as socket:
            parts = yield from socket.read_in_steps(list_addresses(), "list addresses")
        place = 0
        while place < len(parts):
            items = self._replies.addresses(*parts[place])
            place += len(items)
            for item in items:
                if item is None or _is_ipv6_link_local(item.address):
                    continue
                if vip_link is not None and item.ifindex == vip_link.ifindex:
                    vips.add(item.address)
                elif item.ifindex in apart:
                    others.append(item)
                elif item.usable and not item.address.is_loopback:
                    host.append(item)
            if is_over_step(place, len(items)):
                yield Step.EXCLUSIVE
        return AddressListing(
            vip_link.is_up if vip_link else None,
            frozenset(vips),
            tuple(host),
            tuple(others),
        )


def is_over_step(place: int, more: int) -> bool:
    """Whether another step is to begin behind a place, with so many decoded last."""
    return place // STEP_DECODED != (place - more) // STEP_DECODED


def link_kind(link: Any) -> str:  # noqa: ANN401  # pyroute2 has no types
    """What was asked for when a link was made; hardware was not."""
    info = link.get_attr("IFLA_LINKINFO")
    kind = info.get_attr("IFLA_INFO_KIND") if info is not None else None
    return kind or "loopback or hardware"


def _is_ipv6_link_local(address: IPAddress) -> bool:
    return address.version == 6 and address.is_link_local


def _is_address(op: Op) -> bool:
    return op.kind is ObjectKind.ADDRESS


def _message(op: Op, ifindex: int) -> bytes:
    match op:
        case BindAddress(address):
            return bind_address(ifindex, address)
        case UnbindAddress(address):
            return unbind_address(ifindex, address)
        case _:
            raise TypeError(op)


def _is_fine(op: Op, ack: Ack) -> bool:
    """The op has nothing left to do."""
    if isinstance(op, BindAddress):
        return ack.errno == errno.EEXIST
    if isinstance(op, UnbindAddress):
        return ack.errno in {errno.EADDRNOTAVAIL, errno.ENODEV}
    return False
