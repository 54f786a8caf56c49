"""Admission of connections: so many a second from each client, and from all.

Ports for probes are open to whoever reaches the node. A connection that is let in
costs some 0.3 ms, and one that is refused as soon as it is accepted a quarter of that,
so that a storm of them leaves time for probes and for the daemon's own work.
"""

import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

_MAX_SOURCES: Final = 1024
"""How many clients are remembered; the one not heard of for longest is forgotten."""


class Rate(msgspec.Struct, frozen=True):
    """So many a second on average, and so many at once."""

    per_s: float
    burst: float


SOURCE_RATE: Final = Rate(per_s=20, burst=40)
"""Of one client: a load balancer asks every few seconds from each of its addresses."""

PORT_RATE: Final = Rate(per_s=200, burst=400)
"""Of all clients of one port that answers without work."""

SCRAPE_RATE: Final = Rate(per_s=5, burst=20)
"""Of all clients of a port where each answer is made anew, which takes tens of ms on a
large node."""

LOCAL_RATE: Final = Rate(per_s=100, burst=200)
"""Of the node itself, the kubelet's probes first of all: a rate that others do not
use up."""


class Bucket:
    """Counts at a rate: full at first, emptied by one for each taken, refilled by time.

    Args:
        now_s: on any clock that `take` is asked with as well.
    """

    __slots__ = ("_filled_at_s", "_left", "_rate")

    def __init__(self, rate: Rate, now_s: float) -> None:
        self._rate = rate
        self._left = rate.burst
        self._filled_at_s = now_s

    def take(self, now_s: float) -> bool:
        """Take one, if there is one."""
        passed_s = max(0.0, now_s - self._filled_at_s)
        self._filled_at_s = now_s
        self._left = min(self._rate.burst, self._left + passed_s * self._rate.per_s)
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Admission:
    """Lets connections of one port in, or not.

    Args:
        clock: seconds, never backwards.
        rate: of all clients but the node itself.
        shared: further limit that several ports have together.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        rate: Rate = PORT_RATE,
        shared: Bucket | None = None,
    ) -> None:
        self._clock = clock
        self._shared = shared
        now_s = clock()
        self._all = Bucket(rate, now_s)
        self._local = Bucket(LOCAL_RATE, now_s)
        self._sources: OrderedDict[str | bytes, Bucket] = OrderedDict()

    def admits(self, client: str, server: str) -> bool:
        """Whether a connection may go on.

        Args:
            client: its address there, as the socket says it.
            server: its address here, likewise.
        """
        now_s = self._clock()
        if is_local(client, server):
            return self._local.take(now_s)
        # What one client asks too much is not taken from the others.
        return (
            self._source(client, now_s).take(now_s)
            and self._all.take(now_s)
            and (self._shared is None or self._shared.take(now_s))
        )

    def _source(self, client: str, now_s: float) -> Bucket:
        name = _network(client)
        bucket = self._sources.pop(name, None)
        if bucket is None:
            bucket = Bucket(SOURCE_RATE, now_s)
            if len(self._sources) >= _MAX_SOURCES:
                self._sources.popitem(last=False)
        self._sources[name] = bucket
        return bucket


def is_local(client: str, server: str) -> bool:
    """Whether a connection comes from this node itself.

    The kernel gives a connection of the host to an address of its own that address as
    source, and drops packets from outside that claim one (ip_input.c, martians).
    """
    return client == server or client.startswith(("127.", "::ffff:127."))


def _network(client: str) -> str | bytes:
    """The network that counts as one client: of IPv6 the /64, which a host may fill."""
    if ":" not in client or client.startswith("::ffff:"):
        return client
    return socket.inet_pton(socket.AF_INET6, client.partition("%")[0])[:8]
