"""The ends of tunnels from other nodes: a UDP port and a link for each family.

A process that finds none, and makes none, does not look for them again.
"""

import contextlib
import errno
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from ipvsctl.kernel.family import generic_family_id
from ipvsctl.kernel.links import IFF_UP, Links, link_kind
from ipvsctl.kernel.modules import load_modules
from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.libraries.pyroute import NetlinkError
from ipvsctl.model.errors import KernelError, NotFound, describe_errno
from ipvsctl.model.net import IPAddress, IPFamily, family_of, parse_address
from ipvsctl.model.tunnel import TUNNEL_LINK_ADDRESS, TUNNEL_LINKS, TunnelEnd
from ipvsctl.plan.diff.ops import FailedOp, MakeTunnelEnd, Op, RemoveTunnelEnd
from ipvsctl.wire.fou.messages import (
    FOU_GENL_NAME,
    FouReplies,
    FouRequests,
    UnpackingPort,
)
from ipvsctl.wire.netlink.messages import NetlinkProtocol
from ipvsctl.wire.route.replies import LinkAddress

_KINDS: Final = {IPFamily.IPV4: "ipip", IPFamily.IPV6: "ip6tnl"}
_ATTRIBUTES: Final = {IPFamily.IPV4: "IPIP", IPFamily.IPV6: "IP6TNL"}
_MODULES: Final = {IPFamily.IPV4: "ipip", IPFamily.IPV6: "ip6_tunnel"}
_ANYWHERE: Final = {IPFamily.IPV4: "0.0.0.0", IPFamily.IPV6: "::"}  # noqa: S104  # no socket

_LOOSE: Final = "2"
"""The way back to a client leads by another link than its packets came in by; the
larger one of this and of `all` counts."""

_NOWHERE: Final = TunnelEnd(address=parse_address("0.0.0.0"), port=0, is_whole=False)  # noqa: S104  # no socket


class TunnelListing(NamedTuple):
    """What there is of tunnels.

    Attributes:
        ends: see `NodeState`.
        arrived: see `Observed`.
    """

    ends: Mapping[IPFamily, TunnelEnd]
    arrived: Mapping[IPFamily, int]


NO_TUNNELS: Final = TunnelListing({}, {})


class Tunnels:
    """Ends of tunnels in the caller's network namespace.

    Args:
        links: asks the kernel for links.
        proc_sys: where sysctls are.
    """

    def __init__(self, links: Links, proc_sys: Path) -> None:
        self._links = links
        self._proc_sys = proc_sys
        self._fou: tuple[NetlinkSocket, FouRequests] | None = None
        self._may_be_there = True

    def close(self) -> None:
        """Close the socket."""
        if self._fou is not None:
            self._fou[0].close()
            self._fou = None

    def find(self) -> Mapping[int, IPFamily]:
        """The links that are there, by number, whoever made them.

        Raises:
            KernelError: they cannot be asked for.
        """
        found = {}
        for family, name in TUNNEL_LINKS.items() if self._may_be_there else ():
            # By ioctl the kernel would start a process, to load a module of that name.
            link = self._link(name)
            if link is not None:
                found[link["index"]] = family
        self._may_be_there = bool(found)
        return found

    def read(
        self, there: Mapping[int, IPFamily], addresses: Iterable[LinkAddress]
    ) -> TunnelListing:
        """The ends that are there; of one in pieces no more than its link.

        Args:
            there: see `find`.
            addresses: on these links.

        Raises:
            KernelError: they cannot be asked for.
        """
        if not there:
            return NO_TUNNELS
        ports = self._ports()
        held = {(item.ifindex, item.address) for item in addresses}
        ends, arrived = {}, {}
        for ifindex, family in there.items():
            try:
                (link,) = self._links.ask("get", index=ifindex)
            except NetlinkError as error:
                if error.code == errno.ENODEV:
                    continue
                raise KernelError.of(error.code, "find a tunnel's link") from error
            has_address = (ifindex, TUNNEL_LINK_ADDRESS) in held
            ends[family] = self._end(family, link, ports, has_address=has_address)
            arrived[family] = link.get_attr("IFLA_STATS64")["rx_packets"]
        return TunnelListing(ends, arrived)

    def is_up(self, name: str) -> bool:
        """Whether a link is there, and up.

        Raises:
            KernelError: it cannot be asked for.
        """
        link = self._link(name)
        return link is not None and bool(link["flags"] & IFF_UP)

    def _link(self, name: str) -> Any:  # noqa: ANN401  # pyroute2 has no types
        """A link; None if there is none of that name."""
        try:
            (link,) = self._links.ask("get", ifname=name)
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise KernelError.of(error.code, f"find link {name}") from error
        return link

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`."""
        failed = []
        for op in ops:
            try:
                match op:
                    case MakeTunnelEnd(end):
                        self._make(end)
                    case RemoveTunnelEnd(end):
                        self._remove(family_of(end.address))
                    case _:
                        raise TypeError(op)
            except KernelError as error:
                failed.append(FailedOp(op=op, errno=error.errno, reason=str(error)))
            except NetlinkError as error:
                reason = describe_errno(error.code)
                failed.append(FailedOp(op=op, errno=error.code, reason=reason))
        return failed

    def _end(
        self,
        family: IPFamily,
        link: Any,  # noqa: ANN401  # pyroute2 has no types
        ports: Iterable[UnpackingPort],
        *,
        has_address: bool,
    ) -> TunnelEnd:
        local, remote = _ends(family, link)
        if local is None or family_of(local) is not family:
            return _NOWHERE
        port = next((p.port for p in ports if p.address == local), 0)
        is_ready = family is IPFamily.IPV6 or (
            has_address and self._rp_filter() == _LOOSE
        )
        return TunnelEnd(
            address=local,
            port=port,
            is_whole=bool(
                port
                and is_ready
                and remote == parse_address(_ANYWHERE[family])
                and link["flags"] & IFF_UP
                and not self._rivals(family)
            ),
        )

    def _make(self, end: TunnelEnd) -> None:
        self._may_be_there = True
        family = family_of(end.address)
        rivals = self._rivals(family)
        self._remove(family, but=UnpackingPort(end.address, end.port))
        if rivals:
            raise KernelError.of(
                errno.EEXIST,
                f"take packets of other nodes at {end.address}",
                f"link {rivals[0]} takes IP packets in IP packets already, and would"
                " lose them",
            )
        # The kernel may load one that cannot be loaded from here, or have it built in.
        with contextlib.suppress(KernelError):
            load_modules((FOU_GENL_NAME, _MODULES[family]))
        wanted = UnpackingPort(end.address, end.port)
        if wanted not in self._ports():
            self._do(wanted, is_added=True)
        try:
            self._make_link(family, end)
        except (KernelError, NetlinkError):
            self._do(wanted, is_added=False)
            raise

    def _make_link(self, family: IPFamily, end: TunnelEnd) -> None:
        name, kind = TUNNEL_LINKS[family], _KINDS[family]
        self._links.ask("add", ifname=name, kind=kind, **_settings(family, end))
        try:
            (link,) = self._links.ask("get", ifname=name)
            if family is IPFamily.IPV4:
                self._links.bind_here(link["index"], TUNNEL_LINK_ADDRESS)
                self._set_rp_filter()
            self._links.ask("set", index=link["index"], state="up")
        except (KernelError, NetlinkError):
            self._links.ask("del", ifname=name)
            raise

    def _remove(self, family: IPFamily, but: UnpackingPort | None = None) -> None:
        """Take away what there is of an end, all `but` one port."""
        link = self._link(TUNNEL_LINKS[family])
        if link is None:
            return
        local, _ = _ends(family, link)
        if link_kind(link) != _KINDS[family]:
            raise KernelError.of(
                errno.EEXIST,
                f"delete link {TUNNEL_LINKS[family]}",
                f"it is a {link_kind(link)} link, and somebody else's",
            )
        # The port first: it is known by the link's address.
        for port in self._ports():
            if port.address == local and port != but:
                self._do(port, is_added=False)
        self._links.ask("del", index=link["index"])

    def _rivals(self, family: IPFamily) -> list[str]:
        """Other links that are up and take what ours would (ip_tunnel_lookup).

        Ours has an address, which comes before the module's own link without one.
        """
        found = self._links.ask("dump", kind=_KINDS[family])
        return [
            name
            for link in found
            if (name := link.get_attr("IFLA_IFNAME")) != TUNNEL_LINKS[family]
            and link_kind(link) == _KINDS[family]
            and link["flags"] & IFF_UP
            and _ends(family, link)[1] == parse_address(_ANYWHERE[family])
        ]

    def _ports(self) -> list[UnpackingPort]:
        try:
            opened, requests = self._family()
        except NotFound:
            return []
        found = opened.dump(requests.list(), FouReplies().port, "list unpacking ports")
        return [port for port in found if port is not None]

    def _do(self, port: UnpackingPort, *, is_added: bool) -> None:
        opened, requests = self._family()
        message = requests.add(port) if is_added else requests.delete(port)
        verb = "have" if is_added else "give up"
        for ack in opened.apply([message]).values():
            what = f"{verb} UDP port {port.port} of {port.address}"
            raise KernelError.of(ack.errno, what, ack.reason)

    def _family(self) -> tuple[NetlinkSocket, FouRequests]:
        if self._fou is None:
            requests = FouRequests(generic_family_id(FOU_GENL_NAME))
            self._fou = NetlinkSocket.open(NetlinkProtocol.GENERIC), requests
        return self._fou

    def _rp_filter_path(self) -> Path:
        name = TUNNEL_LINKS[IPFamily.IPV4]
        return self._proc_sys / "net/ipv4/conf" / name / "rp_filter"

    def _rp_filter(self) -> str:
        try:
            return self._rp_filter_path().read_text(encoding="ascii").strip()
        except OSError:
            # Nobody can say that packets come in: it is to be set.
            return ""

    def _set_rp_filter(self) -> None:
        try:
            self._rp_filter_path().write_text(f"{_LOOSE}\n", encoding="ascii")
        except OSError as error:
            code = error.errno or errno.EIO
            what = f"set rp_filter of {TUNNEL_LINKS[IPFamily.IPV4]}"
            raise KernelError.of(code, what) from error


def _settings(family: IPFamily, end: TunnelEnd) -> Mapping[str, object]:
    """What makes a link take packets to an address, from anywhere."""
    if family is IPFamily.IPV4:
        return {"ipip_local": str(end.address), "ipip_ttl": 64, "ipip_pmtudisc": 1}
    return {"ip6tnl_local": str(end.address), "ip6tnl_proto": socket.IPPROTO_IPV6}


def _ends(
    family: IPFamily,
    link: Any,  # noqa: ANN401  # pyroute2 has no types
) -> tuple[IPAddress | None, IPAddress | None]:
    """From where to where a link's packets go; None of a link of another kind."""
    if link_kind(link) != _KINDS[family]:
        return None, None
    data = link.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    if data is None:
        return None, None
    prefix = f"IFLA_{_ATTRIBUTES[family]}"
    ends = (data.get_attr(f"{prefix}_{side}") for side in ("LOCAL", "REMOTE"))
    local, remote = (None if end is None else parse_address(end) for end in ends)
    return local, remote
