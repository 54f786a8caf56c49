"""Reading what else there is on this node: others' rules and tables, connections.

Each part is read alone: one that cannot be read is named, and the others are there.
"""

import errno
from collections.abc import Set as AbstractSet
from contextlib import closing
from pathlib import Path
from typing import Final

from ipvsctl.kernel.conntrack import read_fill
from ipvsctl.kernel.firewall import Firewall
from ipvsctl.kernel.netlink import NetlinkSocket
from ipvsctl.kernel.partial import PartialReading
from ipvsctl.model.errors import KernelError
from ipvsctl.model.neighbours import Connection, Neighbours
from ipvsctl.model.net import IPAddress
from ipvsctl.wire.ipvs.connections import parse_connection, spelled
from ipvsctl.wire.netlink.messages import NetlinkProtocol
from ipvsctl.wire.nftables.replies import table
from ipvsctl.wire.nftables.requests import list_tables

_PROC_NET: Final = Path("/proc/thread-self/net")

_IPTABLES_TABLES: Final = frozenset(
    f"{family} {name}"
    for family in ("ip", "ip6")
    for name in ("filter", "nat", "mangle", "raw", "security")
)

_NO_NFTABLES: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP})
"""A kernel without nftables knows no such message (nfnetlink.c:nfnetlink_rcv_msg)."""

MOST_CONNECTIONS: Final = 10_000
"""Connections that are kept; to say how they are, these are enough."""


def read_neighbours(
    firewall: Firewall | None,
    addresses: AbstractSet[IPAddress],
    proc_sys: Path,
    proc_net: Path = _PROC_NET,
) -> Neighbours:
    """Read everything, with the connections to some addresses.

    May be called in any thread, beside other calls: nothing is shared with them.
    Without a firewall the filter rules of others are not known, and not missed.
    """
    reading = PartialReading()
    part = reading.part

    return Neighbours(
        filters=(
            None if firewall is None else part("filter rules", firewall.read_filters)
        ),
        nft_tables=part("nftables' tables", _nft_tables),
        conntrack=part("fill of conntrack", lambda: read_fill(proc_sys)),
        connections=part("IPVS connections", lambda: _connections(proc_net, addresses)),
        unread=tuple(reading.unread),
    )


def _nft_tables() -> tuple[str, ...]:
    with closing(NetlinkSocket.open(NetlinkProtocol.NETFILTER)) as socket:
        try:
            tables = socket.dump(list_tables(), table, "list nftables' tables")
        except KernelError as error:
            if error.errno in _NO_NFTABLES:
                return ()
            raise
    return tuple(sorted(set(map(str, tables)) - _IPTABLES_TABLES))


def _connections(
    proc_net: Path, addresses: AbstractSet[IPAddress]
) -> tuple[Connection, ...]:
    wanted = tuple(f" {spelled(address).lower()} " for address in addresses)
    found: list[Connection] = []
    with (proc_net / "ip_vs_conn").open(encoding="ascii") as lines:
        for line in lines:
            # Reading a row takes ten times as long as passing over it.
            low = line.lower()
            if not any(word in low for word in wanted):
                continue
            row = parse_connection(line)
            if row is not None and row.virtual_server.address in addresses:
                found.append(row)
                if len(found) == MOST_CONNECTIONS:
                    break
    return tuple(found)
