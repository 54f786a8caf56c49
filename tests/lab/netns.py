"""Network namespaces, and the links, addresses and routes in them.

For code that runs inside the lab. Everything works on the calling process: starting
`ip` once costs more in a guest than building a whole namespace here.
"""

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pyroute2 import IPRoute

from ipvsctl.model.net import IPAddress, IPNetwork

_CLONE_NEWNET = 0x40000000
_RT_SCOPE_LINK = 253
_IFA_F_NODAD = 2
_CURRENT = "/proc/thread-self/ns/net"


@dataclass(frozen=True, slots=True)
class Netns:
    """A network namespace that lives until it is closed.

    Attributes:
        name: for people; the kernel does not know it.
        file: file descriptor that keeps the namespace alive.
        ip: rtnetlink socket in the namespace, to be used by one thread at a time.
    """

    name: str
    file: int = field(repr=False)
    ip: Any = field(repr=False)

    def __enter__(self) -> Self:
        """The namespace is closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the namespace; the kernel removes it with its last user."""
        self.ip.close()
        os.close(self.file)

    def index(self, link: str) -> int:
        """The interface index of a link.

        Raises:
            OSError: there is no such link.
        """
        with inside(self):
            return socket.if_nametoindex(link)

    def link_up(self, link: str) -> None:
        """Bring a link up."""
        self.ip.link("set", index=self.index(link), state="up")

    def add_dummy(self, link: str) -> None:
        """Add a dummy link, which is down."""
        self.ip.link("add", ifname=link, kind="dummy")

    def add_bridge(self, link: str) -> None:
        """Add a bridge and bring it up."""
        self.ip.link("add", ifname=link, kind="bridge")
        self.link_up(link)

    def enslave(self, link: str, bridge: str) -> None:
        """Make a link a port of a bridge."""
        self.ip.link("set", index=self.index(link), master=self.index(bridge))

    def add_address(self, link: str, address: IPv4Interface | IPv6Interface) -> None:
        """Bind an address, usable at once."""
        self.ip.addr(
            "add",
            index=self.index(link),
            address=str(address.ip),
            prefixlen=address.network.prefixlen,
            # Else an IPv6 one is tentative until a worker of the kernel has run, and
            # nothing can be bound to it (net/ipv6/addrconf.c:ipv6_add_addr).
            **({"flags": _IFA_F_NODAD} if address.version == 6 else {}),
        )

    def allow_hairpin(self, link: str) -> None:
        """Let a bridge send a packet back through the port that it came from."""
        self.ip.brport("set", index=self.index(link), mode=1)

    def add_delay(self, link: str, delay_us: int) -> None:
        """Hold back each packet that leaves through a link."""
        self.ip.tc("add", "netem", index=self.index(link), delay=delay_us)

    def add_route(
        self,
        destination: IPNetwork,
        *,
        via: IPAddress | None = None,
        link: str | None = None,
    ) -> None:
        """Add a route through a gateway, a link, or a gateway on a link."""
        how: dict[str, object] = {"dst": str(destination)}
        if via is None:
            # A gateway is accepted only if the route to it has a narrower scope
            # than the route through it (net/ipv4/fib_semantics.c:fib_check_nh).
            how["scope"] = _RT_SCOPE_LINK
        else:
            how["gateway"] = str(via)
        if link is not None:
            how["oif"] = self.index(link)
        self.ip.route("add", **how)

    def sysctl(self, path: str, value: str) -> None:
        """Set a sysctl of this namespace.

        Args:
            path: below /proc/sys, with slashes: `net/ipv4/ip_forward`.
            value: as written to the file.
        """
        with inside(self):
            Path("/proc/sys", path).write_text(value)


def create(name: str) -> Netns:
    """A new network namespace with lo up.

    Addresses are usable at once, and every refusal is answered: what the kernel does to
    be kind to large networks would make tests wait, or depend on what ran before.
    """
    with _returning():
        _call("unshare", _CLONE_NEWNET)
        for scope in ("all", "default"):
            # An address is unusable for a second while the kernel looks for another
            # owner of it (net/ipv6/addrconf.c:addrconf_dad_begin).
            Path(f"/proc/sys/net/ipv6/conf/{scope}/accept_dad").write_text("0")
        # Else the second refusal within a second is silence
        # (net/ipv4/icmp.c:icmpv4_xrlim_allow, net/ipv6/icmp.c:icmpv6_xrlim_allow).
        Path("/proc/sys/net/ipv4/icmp_ratemask").write_text("0")
        Path("/proc/sys/net/ipv6/icmp/ratemask").write_text("255")
        file = os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)
        netns = Netns(name=name, file=file, ip=IPRoute())
    netns.link_up("lo")
    return netns


@contextmanager
def inside(netns: Netns) -> Iterator[None]:
    """Run a block's calls in a namespace, on the calling thread only.

    A socket stays in the namespace it was made in, and a thread or process starts in
    that of the thread which starts it, so both can be used after the block. Do not
    `await` in the block: other tasks of the thread would run in the namespace too.
    In a thread other than the main one read /proc/thread-self/net, because /proc/net
    is the main thread's. /sys shows the links of the namespace it was mounted in.
    """
    with _returning():
        _call("setns", netns.file, _CLONE_NEWNET)
        yield


def connect(one: Netns, one_link: str, other: Netns, other_link: str) -> None:
    """Join two namespaces by a veth pair, both ends up."""
    peer = {"ifname": other_link, "net_ns_fd": other.file}
    one.ip.link("add", ifname=one_link, kind="veth", peer=peer)
    one.link_up(one_link)
    other.link_up(other_link)


@contextmanager
def _returning() -> Iterator[None]:
    before = os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _call("setns", before, _CLONE_NEWNET)
        os.close(before)


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc(), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
