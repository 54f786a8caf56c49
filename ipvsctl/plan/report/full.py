"""Real servers that have all the connections they may have.

IPVS does not tell which these are; it counts the same two numbers
(ip_vs_conn.c:ip_vs_bind_dest). One that was full and has less than that now, and more
than its lower threshold, may still be refusing.
"""

from collections.abc import Mapping

from ipvsctl.model.ipvs import RealServer, RealServerKey, RealServerStats
from ipvsctl.model.state import EMPTY, Observed

_NONE = RealServerStats()


def is_full(server: RealServer, stats: RealServerStats) -> bool:
    """Whether it gets no new connections for having enough."""
    limit = server.upper_threshold
    return 0 < limit <= stats.active + stats.inactive


def all_are_full(
    servers: Mapping[RealServerKey, RealServer],
    stats: Mapping[RealServerKey, RealServerStats],
) -> bool:
    """Whether a virtual server refuses new clients, since each real server is full."""
    usable = [server for server in servers.values() if server.weight]
    return bool(usable) and all(
        is_full(server, stats.get(server.key, _NONE)) for server in usable
    )


def count_full(observed: Observed) -> int:
    """How many virtual servers refuse new clients for that."""
    return sum(
        all_are_full(servers, observed.connections.get(key, EMPTY))
        for key, servers in observed.state.real_servers.items()
        # Without a limit, as most are, there is nothing to add up.
        if any(server.upper_threshold for server in servers.values())
    )
