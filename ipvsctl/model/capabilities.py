"""Abilities of a kernel and its tools on which the requests to them depend."""

import msgspec

from ipvsctl.model.config import FirewallKind
from ipvsctl.model.ipvs import SCHEDULERS
from ipvsctl.model.net import IPFamily


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about one node, read once at start.

    Attributes:
        release: major and minor of `uname -r`.
        families: address families the kernel has (IPv6 can be switched off).
        random_fully: the firewall can choose ports at random where it masquerades.
        sees_bridge_ports: the firewall can tell what came in through a bridge's port.
        firewall: the one in use; never `auto`.
        firewall_reason: why it is that one.
        schedulers: IPVS schedulers the kernel has, loaded or on its own demand.
        cpus: how many it has; limits may be given for each.
        has_conntrack_limit: the limit of connection tracking can be set from here. It
            is the host's, and read-only in all network namespaces but the first
            (nf_conntrack_standalone.c:nf_conntrack_standalone_init_sysctl).
    """

    release: tuple[int, int] = (6, 1)
    families: tuple[IPFamily, ...] = (IPFamily.IPV4, IPFamily.IPV6)
    random_fully: bool = True
    sees_bridge_ports: bool = True
    firewall: FirewallKind = FirewallKind.IPTABLES
    firewall_reason: str = ""
    schedulers: frozenset[str] = SCHEDULERS
    cpus: int = 1
    has_conntrack_limit: bool = True
