"""What a node gets whatever its Services are."""

from collections.abc import Mapping

import pytest

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import Compatibility, ConntrackConfig, ProxyConfig
from ipvsctl.model.ipvs import Timeouts
from ipvsctl.model.net import IPFamily
from ipvsctl.model.objects import NodeContext
from ipvsctl.plan.union.node import (
    STRICT_ARP_SYSCTLS,
    NodeProgram,
    compile_node,
    sysctl_names,
)

NODE = NodeContext(name="node-0")
REUSE = "net/ipv4/vs/conn_reuse_mode"
FORWARDING6 = "net/ipv6/conf/all/forwarding"


def program(config: ProxyConfig | None = None, **capabilities: object) -> NodeProgram:
    """The node's program on a kernel with these capabilities."""
    return compile_node(NODE, config or ProxyConfig(), Capabilities(**capabilities))  # type: ignore[arg-type]  # fields of any type


@pytest.mark.parametrize(
    ("release", "expected"),
    [((4, 19), "0"), ((5, 8), "0"), ((5, 9), None), ((6, 1), None)],
)
def test_connection_reuse(release: tuple[int, int], expected: str | None) -> None:
    """Mode 0 is for kernels whose mode 1 drops the first SYN; others are let alone."""
    assert program(release=release).sysctls.get(REUSE) == expected


UNTOUCHED = ConntrackConfig(
    max_per_core=0, tcp_established_timeout_s=0, tcp_close_wait_timeout_s=0
)


def test_sysctls() -> None:
    """The others are the same on every kernel; IPv6 has its own forwarding."""
    both = {
        "net/ipv4/vs/conntrack": "1",
        "net/ipv4/vs/expire_nodest_conn": "1",
        "net/ipv4/vs/expire_quiescent_template": "1",
        "net/ipv4/ip_forward": "1",
        FORWARDING6: "1",
    }
    config = ProxyConfig(conntrack=UNTOUCHED)
    assert program(config).sysctls == both
    del both[FORWARDING6]
    assert program(config, families=(IPFamily.IPV4,)).sysctls == both


CONNTRACK = ConntrackConfig(
    max_per_core=1000,
    min=0,
    tcp_established_timeout_s=86400,
    tcp_close_wait_timeout_s=3600,
    tcp_be_liberal=True,
    udp_timeout_s=30,
    udp_stream_timeout_s=180,
)


@pytest.mark.parametrize(
    ("conntrack", "expected"),
    [
        (
            ConntrackConfig(),
            {
                "nf_conntrack_max": "131072",
                "nf_conntrack_buckets": "32768",
                "nf_conntrack_tcp_timeout_established": "86400",
                "nf_conntrack_tcp_timeout_close_wait": "3600",
            },
        ),
        (UNTOUCHED, {}),
        (
            CONNTRACK,
            {
                "nf_conntrack_max": "4000",
                "nf_conntrack_buckets": "1000",
                "nf_conntrack_tcp_timeout_established": "86400",
                "nf_conntrack_tcp_timeout_close_wait": "3600",
                "nf_conntrack_tcp_be_liberal": "1",
                "nf_conntrack_udp_timeout": "30",
                "nf_conntrack_udp_timeout_stream": "180",
            },
        ),
    ],
)
def test_conntrack(conntrack: ConntrackConfig, expected: Mapping[str, str]) -> None:
    """Limits and timeouts are kube-proxy's unless they are configured; 0 is no wish."""
    made = program(ProxyConfig(conntrack=conntrack), cpus=4)
    prefix = "net/netfilter/"
    assert {
        name.removeprefix(prefix): value
        for name, value in made.sysctls.items()
        if name.startswith(prefix)
    } == expected


def test_another_namespaces_limit_is_not_ours() -> None:
    """The limit is the host's, and read-only elsewhere; the timeouts are not."""
    names = {
        name.removeprefix("net/netfilter/nf_conntrack_")
        for name in program(has_conntrack_limit=False).sysctls
        if name.startswith("net/netfilter/")
    }
    assert names == {"tcp_timeout_established", "tcp_timeout_close_wait"}


def test_every_sysctl_is_read() -> None:
    """Whatever is desired can be compared with what is there."""
    made = program(ProxyConfig(conntrack=CONNTRACK), release=(4, 19))
    assert set(sysctl_names()) == {*made.sysctls, *STRICT_ARP_SYSCTLS}


def test_timeouts() -> None:
    """IPVS timeouts are those configured; 0 leaves the kernel's."""
    config = ProxyConfig(tcp_timeout_s=7200, udp_timeout_s=60)
    assert program(config).timeouts == Timeouts(7200, 0, 60)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ProxyConfig(), None),
        (ProxyConfig(strict_arp=True), True),
        (ProxyConfig(compatibility=Compatibility.KUBE_PROXY), False),
        (ProxyConfig(compatibility=Compatibility.KUBE_PROXY, strict_arp=True), True),
    ],
)
def test_strict_arp(config: ProxyConfig, *, expected: bool | None) -> None:
    """Unset, it depends on the VIPs, unless kube-proxy's default is asked for."""
    assert program(config).strict_arp is expected
