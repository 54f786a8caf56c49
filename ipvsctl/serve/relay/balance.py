"""Which endpoint a client on localhost gets: as IPVS would choose, as far as it can.

Pure: it is told the time, and how many connections each endpoint has.
"""

from collections.abc import Container, Mapping
from math import gcd
from typing import Final

from ipvsctl.model.ipvs import RealServer, RealServerKey
from ipvsctl.model.relay import Refusal
from ipvsctl.plan.service.program import LocalhostPort

_UNWEIGHTED: Final = frozenset({"rr", "lc", "dh"})
"""Schedulers to which a weight is nothing unless it is 0."""

_HIGHEST: Final = frozenset({"fo", "ovf"})
"""Schedulers that choose the endpoint with the highest weight."""


class Balance:
    """Chooses among the endpoints of one listener.

    All clients have one address, so schedulers that hash it would send all to one
    endpoint: for those, and for those that count connections, endpoints take turns by
    weight.
    """

    def __init__(self, port: LocalhostPort) -> None:
        self._at = -1
        self._level = 0
        self._full: set[RealServerKey] = set()
        self._kept: RealServerKey | None = None
        self._kept_until_s = 0.0
        self.aim(port)

    def aim(self, port: LocalhostPort) -> None:
        """Choose among these from now on; whoever has session affinity keeps it."""
        self._port = port
        servers = [s for s in port.real_servers.values() if s.weight > 0]
        is_plain = port.scheduler in _UNWEIGHTED
        self._servers = servers
        self._weights = [1 if is_plain else server.weight for server in servers]
        self._step = gcd(*self._weights)
        self._most = max(self._weights, default=0)
        self._at = min(self._at, len(servers) - 1)
        self._level = min(self._level, self._most)

    def choose(
        self,
        now_s: float,
        counts: Mapping[RealServerKey, int],
        tried: Container[RealServerKey] = (),
    ) -> RealServerKey | Refusal:
        """The endpoint of a new connection, or why there is none.

        Args:
            now_s: on a clock that never goes backwards.
            counts: the connections that each endpoint has.
            tried: endpoints that have not taken this connection.
        """
        kept = self._find_kept(now_s, counts, tried)
        found = self._find(counts, tried) if kept is None else kept
        timeout_s = self._port.affinity_timeout_s
        if timeout_s is not None and not isinstance(found, Refusal):
            self._kept, self._kept_until_s = found, now_s + timeout_s
        return found

    def _find_kept(
        self,
        now_s: float,
        counts: Mapping[RealServerKey, int],
        tried: Container[RealServerKey],
    ) -> RealServerKey | None:
        """The endpoint of the clients before, full or not, as IPVS has it.

        The time begins anew with each connection, and does not end while there is one
        (ip_vs_core.c:ip_vs_sched_persist, ip_vs_conn.c:ip_vs_conn_expire).
        """
        kept = self._kept
        if kept is None or self._port.affinity_timeout_s is None or kept in tried:
            return None
        if now_s >= self._kept_until_s and not counts.get(kept, 0):
            return None
        server = self._port.real_servers.get(kept)
        return kept if server is not None and server.weight > 0 else None

    def _find(
        self, counts: Mapping[RealServerKey, int], tried: Container[RealServerKey]
    ) -> RealServerKey | Refusal:
        servers = self._servers
        if not servers:
            return Refusal.UNREACHABLE
        first = self._next()
        has_full = False
        for index in range(first, first + len(servers)):
            server = servers[index % len(servers)]
            if server.key in tried:
                continue
            if self._is_full(server, counts):
                has_full = True
                continue
            return server.key
        return Refusal.FULL if has_full else Refusal.UNREACHABLE

    def _next(self) -> int:
        """Whose turn it is.

        Source: ip_vs_wrr.c:ip_vs_wrr_schedule. With equal weights they take turns.
        """
        weights = self._weights
        if self._port.scheduler in _HIGHEST:
            return weights.index(self._most)
        while True:
            self._at = (self._at + 1) % len(weights)
            if self._at == 0:
                self._level -= self._step
                if self._level <= 0:
                    self._level = self._most
            if weights[self._at] >= self._level:
                return self._at

    def _is_full(self, server: RealServer, counts: Mapping[RealServerKey, int]) -> bool:
        """Whether an endpoint has all the connections that it may have.

        It gets new ones again when it has clearly less (ip_vs_conn.c:ip_vs_bind_dest).
        """
        if not server.upper_threshold:
            return False
        count = counts.get(server.key, 0)
        if server.key in self._full and count < server.lower_threshold:
            self._full.discard(server.key)
        elif count >= server.upper_threshold:
            self._full.add(server.key)
        return server.key in self._full
