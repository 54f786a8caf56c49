"""What is in the kernel, looked at so cheaply that it can be done all the time."""

import socket
import subprocess
import time
from collections.abc import Callable
from typing import Final, Protocol

from ipvsctl.kernel.ipsets import Ipsets
from ipvsctl.kernel.ipvs_options import IpvsOptions
from ipvsctl.model.net import IPFamily
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.wire.netlink.messages import NetlinkProtocol, iter_messages
from ipvsctl.wire.nftables.attributes import NFNLGRP_NFTABLES
from tests.bench.cluster import virtual_server
from tests.bench.peers.contenders import Table
from tests.bench.sizes import Size

_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_DATAGRAM: Final = 1 << 16
_CLUSTER_IPS: Final = set_key(SetRole.CLUSTER_IP, IPFamily.IPV4)
_ADDRESSES: Final = set_key(SetRole.IPVS_IPS, IPFamily.IPV4)
_LEAST_PAUSE_S: Final = 0.001
_MOST_PAUSE_S: Final = 0.25
_PAUSE: Final = 0.02
"""Of the time waited already: what is measured is that much too long at most."""


class View(Protocol):
    """A proxy's work, seen from outside.

    Attributes:
        started: how many processes looking has taken so far.
    """

    started: int

    def is_reachable(self) -> bool:
        """Whether every Service is, and by all of its endpoints."""
        ...

    def is_whole(self) -> bool:
        """Whether the sets that rules ask have every Service too, where there are."""
        ...

    def has(self, number: int, *, is_ready: bool) -> bool:
        """Whether a Service's first endpoint is used, or not used any more."""
        ...

    def close(self) -> None:
        """Look no more."""
        ...


class IpvsView:
    """Of IPVS and ipset, in the caller's network namespace."""

    def __init__(self, size: Size) -> None:
        self.started = 0
        self._size = size
        self._options = IpvsOptions()
        self._sets = Ipsets()

    def is_reachable(self) -> bool:
        """See `View`; IPVS counts both kinds of servers itself."""
        if self._options.count() < self._size.services:
            return False
        wanted = self._size.services * self._size.endpoints
        return sum(self._options.count_dests().values()) >= wanted

    def is_whole(self) -> bool:
        """See `View`; a set's header says how many entries it has."""
        counts = self._sets.count_entries()
        # The second set is not there before Kubernetes 1.28.
        found = [counts[key] for key in (_CLUSTER_IPS, _ADDRESSES) if key in counts]
        return _CLUSTER_IPS in counts and min(found) >= self._size.services

    def has(self, number: int, *, is_ready: bool) -> bool:
        """See `View`; a real server that takes no new connections has weight 0."""
        found = self._options.read_dests(virtual_server(number))
        if found is None:
            return False
        used = sum(server.weight > 0 for server in found[0].values())
        return used == self._size.endpoints - (not is_ready)

    def close(self) -> None:
        """See `View`."""
        self._options.close()
        self._sets.close()


class NftablesView:
    """Of the table that kube-proxy has for IPv4, in the caller's network namespace.

    The kernel tells of a transaction when all of it is in force, and each sync of
    kube-proxy's is one.
    """

    def __init__(self, size: Size) -> None:
        self.started = 0
        self._size = size
        self._socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            NetlinkProtocol.NETFILTER,
        )
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)

    def is_reachable(self) -> bool:
        """See `View`; looked at only after a transaction, since nft is a process."""
        if not self._was_told():
            return False
        self.started += 1
        words = ("nft", "list", "map", "ip", "kube-proxy", "service-ips")
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.stdout.count("goto ") >= self._size.services

    def is_whole(self) -> bool:
        """See `View`; what is in one transaction is there together."""
        return True

    def has(self, number: int, *, is_ready: bool) -> bool:
        """See `View`; true once, after any transaction since it was asked last."""
        del number, is_ready
        return self._was_told()

    def close(self) -> None:
        """See `View`."""
        self._socket.close()

    def _was_told(self) -> bool:
        """Whether something was told of IPv4, up to now."""
        found = False
        while True:
            try:
                datagram = self._socket.recv(_DATAGRAM)
            except BlockingIOError:
                return found
            except OSError:
                # More than the socket holds was told at once.
                found = True
                continue
            families = {datagram[start] for *_, start, _ in iter_messages(datagram)}
            found = found or IPFamily.IPV4 in families


def open_view(table: Table, size: Size) -> View:
    """The view of what a proxy programs."""
    return IpvsView(size) if table is Table.IPVS else NftablesView(size)


def wait(holds: Callable[[], bool], *, since_s: float, limit_s: float) -> float | None:
    """How long it took until something held.

    Args:
        holds: asked time and again.
        since_s: from when on that counts, of `time.monotonic`.
        limit_s: how long it may take.

    Returns:
        Seconds; None if it took longer.
    """
    while True:
        is_so = holds()
        took_s = time.monotonic() - since_s
        if is_so:
            return took_s
        if took_s > limit_s:
            return None
        time.sleep(max(_LEAST_PAUSE_S, min(_MOST_PAUSE_S, _PAUSE * took_s)))
