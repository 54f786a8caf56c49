"""What a node is like before anything is served on it: no IPVS is needed to read it."""

from collections.abc import Mapping

import msgspec

from ipvsctl.model.config import FirewallKind
from ipvsctl.model.host import HostSocket
from ipvsctl.model.neighbours import Neighbours
from ipvsctl.model.net import IPAddress
from ipvsctl.model.state import EMPTY


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; a part that could not be read is None.

    Attributes:
        release: of the kernel, its first numbers.
        modules: name -> whether the kernel has it, loaded, built in or in a file; None
            where its files cannot be seen and it is not loaded.
        sysctls: name relative to `/proc/sys` -> value, of those that could be read.
        links: names of all of them.
        mtus: address of the host -> how long a packet its link takes, in bytes.
        bridges: links that are bridges with ports.
        processes: names of the other proxies that run.
        sockets: of the host, those that wait for clients.
        firewall: the one that ipvsctl would use, never `auto`; None if there is none.
        firewall_reason: why it is that one, or why there is none.
        chains: names of all chains of iptables, ours too; None also where it is not
            installed.
        neighbours: others' rules and tables.
        flavours: of iptables that are installed -> how many rules each has.
        unread: what could not be read, and why, a line each.
    """

    release: tuple[int, ...] = ()
    modules: Mapping[str, bool | None] | None = None
    sysctls: Mapping[str, str] = EMPTY
    links: tuple[str, ...] | None = None
    mtus: Mapping[IPAddress, int] | None = None
    bridges: tuple[str, ...] | None = None
    processes: tuple[str, ...] | None = None
    sockets: frozenset[HostSocket] | None = None
    firewall: FirewallKind | None = None
    firewall_reason: str = ""
    chains: frozenset[str] | None = None
    neighbours: Neighbours = Neighbours()
    flavours: Mapping[str, int] | None = None
    unread: tuple[str, ...] = ()
