"""The things a node needs whatever its Services are: rules, sysctls, timeouts."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ConntrackConfig, ProxyConfig, VipBinding
from ipvsctl.model.ipvs import Timeouts
from ipvsctl.model.marks import MarkRange
from ipvsctl.model.net import IPFamily, Protocol, of_family
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.rules import Chains
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.model.state import EMPTY
from ipvsctl.model.tunnel import TunnelEnd
from ipvsctl.plan.rules.filter_mangle import desired_chains
from ipvsctl.plan.service.program import SetMember
from ipvsctl.plan.service.tunnels import GUE_FIXED, tunnel_ends
from ipvsctl.plan.union.vip_binding import VipPlacement, place_vips

# Since 5.9 a SYN that reuses a port in TIME_WAIT is rescheduled without being dropped,
# and mode 0 would send it to a real server of weight 0 (k/k#81775, k/k#93297).
REUSE_MODE_FIXED: Final = (5, 9)
REUSE_MODE_SYSCTL: Final = "net/ipv4/vs/conn_reuse_mode"


class NodeProgram(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the desired state that no Service changes.

    Attributes:
        families: those that get sets and rules.
        sysctls: without the ARP ones, which may depend on the VIPs.
        timeouts: of IPVS connections; 0 leaves the kernel's.
        strict_arp: None is "when a load-balancer VIP is bound".
        marks: for the packets of inside clients.
        placement: how VIPs are bound.
        has_tunnel: see `ProxyConfig.has_tunnel`.
        tunnel_ends: see `NodeState`.
        entries: those that no Service needs.
    """

    families: tuple[IPFamily, ...]
    sysctls: Mapping[str, str]
    timeouts: Timeouts
    strict_arp: bool | None
    marks: MarkRange
    placement: VipPlacement
    has_tunnel: bool = False
    tunnel_ends: Mapping[IPFamily, TunnelEnd] = EMPTY
    entries: tuple[SetMember, ...] = ()
    chains: Mapping[IPFamily, Chains]


ARP_IGNORE_SYSCTL: Final = "net/ipv4/conf/all/arp_ignore"

STRICT_ARP_SYSCTLS: Mapping[str, str] = {
    ARP_IGNORE_SYSCTL: "1",
    "net/ipv4/conf/all/arp_announce": "2",
}
"""Answer ARP only on the link that has the address: else every node answers for a
load-balancer VIP, and the last one to do so gets its traffic (metallb#153)."""


CONNTRACK_LIMIT: Final = "net/netfilter/nf_conntrack_max"
CONNTRACK_BUCKETS: Final = "net/netfilter/nf_conntrack_buckets"

AT_LEAST: Final = frozenset({CONNTRACK_LIMIT, CONNTRACK_BUCKETS})
"""Sysctls that are as desired if they are higher: somebody needs that much, and the
kernel rounds the number of buckets up."""


def sysctl_names() -> tuple[str, ...]:
    """Every sysctl that may be in a desired state, relative to `/proc/sys`."""
    every = {
        **_sysctls(Capabilities(release=(0, 0))),
        **_sysctls(Capabilities()),
        **STRICT_ARP_SYSCTLS,
        **_conntrack_values(_ALL_OF_CONNTRACK, Capabilities()),
    }
    return tuple(sorted(every))


def compile_node(
    node: NodeContext,
    config: ProxyConfig,
    capabilities: Capabilities,
    chosen: VipBinding = VipBinding.ADDRESS,
) -> NodeProgram:
    """Compile the part of the desired state that no Service changes.

    Args:
        node: what is known of it.
        config: settings.
        capabilities: of its kernel.
        chosen: see `place_vips`.
    """
    has_gue = capabilities.release >= GUE_FIXED
    ends = tunnel_ends(node, config) if has_gue else {}
    strict_arp = config.strict_arp
    if strict_arp is None and config.is_kube_proxy:
        strict_arp = False
    return NodeProgram(
        families=capabilities.families,
        sysctls=wanted_sysctls(config, capabilities),
        timeouts=config.timeouts,
        strict_arp=strict_arp,
        marks=config.marks,
        placement=place_vips(node, config, chosen),
        has_tunnel=config.has_tunnel,
        tunnel_ends=ends,
        entries=tuple(_tunnel_entries(node, ends)),
        chains={
            family: desired_chains(
                family,
                config,
                node,
                random_fully=capabilities.random_fully,
                sees_bridge_ports=capabilities.sees_bridge_ports,
            )
            for family in capabilities.families
        },
    )


def _tunnel_entries(
    node: NodeContext, ends: Mapping[IPFamily, TunnelEnd]
) -> Iterator[SetMember]:
    """Where packets in tunnels come to, and who may send them."""
    for family, end in ends.items():
        entry = SetEntry(address=end.address, protocol=Protocol.UDP, port=end.port)
        yield SetMember(set_key(SetRole.TUNNEL_END, family), entry)
        peers = set_key(SetRole.TUNNEL_PEER, family)
        for address in of_family(node.peer_addresses, family):
            yield SetMember(peers, SetEntry(address=address))


def wanted_sysctls(
    config: ProxyConfig, capabilities: Capabilities
) -> Mapping[str, str]:
    """The sysctls of a node, without the ARP ones."""
    return {
        **_sysctls(capabilities),
        **_conntrack_values(config.conntrack, capabilities),
    }


def is_enough(name: str, held: str | None, wanted: str) -> bool:
    """Whether a sysctl has the value that is wanted, or one that is as good."""
    if held == wanted or held is None or name not in AT_LEAST:
        return held == wanted
    return held.isdecimal() and int(held) > int(wanted)


def _sysctls(capabilities: Capabilities) -> Mapping[str, str]:
    sysctls = {
        # Replies of masqueraded connections are looked up in conntrack.
        "net/ipv4/vs/conntrack": "1",
        # A packet to a deleted real server is reset, not dropped in silence.
        "net/ipv4/vs/expire_nodest_conn": "1",
        # Affinity does not hold a client on a real server of weight 0.
        "net/ipv4/vs/expire_quiescent_template": "1",
        "net/ipv4/ip_forward": "1",
    }
    if capabilities.release < REUSE_MODE_FIXED:
        sysctls[REUSE_MODE_SYSCTL] = "0"
    if IPFamily.IPV6 in capabilities.families:
        sysctls["net/ipv6/conf/all/forwarding"] = "1"
    return sysctls


# Settings that set every sysctl there is for them.
_ALL_OF_CONNTRACK = ConntrackConfig(
    tcp_be_liberal=True,
    udp_timeout_s=1,
    udp_stream_timeout_s=1,
)


def _conntrack_values(
    conntrack: ConntrackConfig, capabilities: Capabilities
) -> Mapping[str, str]:
    limit = (
        conntrack.limit(capabilities.cpus) if capabilities.has_conntrack_limit else 0
    )
    values = {
        "nf_conntrack_max": limit,
        # As /sys/module/nf_conntrack/parameters/hashsize, which kube-proxy writes.
        "nf_conntrack_buckets": limit // 4,
        "nf_conntrack_tcp_timeout_established": conntrack.tcp_established_timeout_s,
        "nf_conntrack_tcp_timeout_close_wait": conntrack.tcp_close_wait_timeout_s,
        "nf_conntrack_tcp_be_liberal": int(conntrack.tcp_be_liberal),
        "nf_conntrack_udp_timeout": conntrack.udp_timeout_s,
        "nf_conntrack_udp_timeout_stream": conntrack.udp_stream_timeout_s,
    }
    return {
        f"net/netfilter/{name}": str(value) for name, value in values.items() if value
    }
