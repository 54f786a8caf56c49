"""Findings about a node, before it is served or meanwhile."""

from collections.abc import Iterator
from typing import Final

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig, VipBinding
from ipvsctl.model.net import IPFamily, Protocol
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.report.check_tunnels import check_tunnels
from ipvsctl.plan.report.findings import Finding, Severity
from ipvsctl.plan.union.node import (
    ARP_IGNORE_SYSCTL,
    REUSE_MODE_FIXED,
    REUSE_MODE_SYSCTL,
    is_enough,
    wanted_sysctls,
)
from ipvsctl.plan.union.vip_binding import choose_binding, held_vips

KEEPALIVE_SYSCTL: Final = "net/ipv4/tcp_keepalive_time"
"""Idle seconds before the first TCP keepalive, in both families."""

_OF_LOAD_BALANCERS: Final = frozenset(
    {SetRole.LOAD_BALANCER, SetRole.LOAD_BALANCER_LOCAL}
)

_OF_IPVS: Final = "net/ipv4/vs/"

MANY_VIPS: Final = 5_000
"""Above, addresses cost so much more than routes that it is worth a change of settings
that says `address`; `vipBinding: auto` asks nobody, and goes to routes earlier."""


def check_node(
    observed: Observed,
    capabilities: Capabilities,
    config: ProxyConfig,
    desired: NodeState,
    context: NodeContext | None = None,
    *,
    has_daemon: bool = False,
) -> tuple[Finding, ...]:
    """Look at a node and its settings.

    Args:
        observed: what the kernel holds, with `KEEPALIVE_SYSCTL` among its sysctls.
        capabilities: of the same kernel.
        config: the settings it is, or is to be, served with.
        desired: what it is to hold; what it holds, if that is not known.
        context: what is known of this node and the others, if anything.
        has_daemon: ipvsctl runs here.

    Returns:
        Always in the same order. What cannot be known has no finding.
    """
    vips = _check_vips(observed.state, desired, config, has_daemon=has_daemon)
    timeout = _check_tcp_timeout(observed.state, config)
    return (
        _kernel(capabilities),
        _reuse_mode(observed.state, capabilities),
        _check_schedulers(capabilities, config),
        *((timeout,) if timeout else ()),
        _check_sysctls(observed.state, capabilities, config, has_daemon=has_daemon),
        *_check_arp(observed.state, desired, config),
        vips,
        *check_tunnels(observed, desired, capabilities, config, context),
        *_check_localhost(desired, config),
    )


def _kernel(capabilities: Capabilities) -> Finding:
    release = ".".join(map(str, capabilities.release))
    families = " ".join(family.label for family in capabilities.families)
    return Finding(
        severity=Severity.OK, subject="kernel", found=f"{release} {families}"
    )


def _reuse_mode(state: NodeState, capabilities: Capabilities) -> Finding:
    if capabilities.release < REUSE_MODE_FIXED:
        found = "mode 0, for kernels before 5.9"
    else:
        mode = state.sysctls.get(REUSE_MODE_SYSCTL, "unknown")
        found = f"mode {mode}, left as it is from 5.9 on"
    return Finding(severity=Severity.OK, subject="connection reuse", found=found)


def _check_schedulers(capabilities: Capabilities, config: ProxyConfig) -> Finding:
    is_usable = config.scheduler in capabilities.schedulers
    usable = " ".join(sorted(capabilities.schedulers)) or "none"
    return Finding(
        severity=Severity.OK if is_usable else Severity.PROBLEM,
        subject="schedulers",
        found=f"{config.scheduler} wanted; usable: {usable}",
        advice=""
        if is_usable
        else f"install the kernel module ip_vs_{config.scheduler},"
        " or set ipvs.scheduler to a usable one",
    )


def _check_tcp_timeout(state: NodeState, config: ProxyConfig) -> Finding | None:
    timeout_s = config.tcp_timeout_s or state.timeouts.tcp_s
    keepalive_s = int(state.sysctls.get(KEEPALIVE_SYSCTL, 0))
    if not timeout_s or not keepalive_s:
        return None
    # At the same second the keepalive may come too late.
    is_safe = timeout_s > keepalive_s
    return Finding(
        severity=Severity.OK if is_safe else Severity.NOTE,
        subject="IPVS TCP timeout",
        found=f"{timeout_s} s; TCP keepalive after {keepalive_s} s",
        advice=""
        if is_safe
        else f"connections that are idle for {timeout_s} s are forgotten before a"
        " keepalive, and reset when used again: set ipvs.tcpTimeout to more than"
        f" {keepalive_s}s",
    )


def _check_sysctls(
    state: NodeState,
    capabilities: Capabilities,
    config: ProxyConfig,
    *,
    has_daemon: bool,
) -> Finding:
    """Those of IPVS. A daemon has set them, or will set them when it starts."""
    others = {
        name: value
        for name, value in sorted(wanted_sysctls(config, capabilities).items())
        if name.startswith(_OF_IPVS)
        and not is_enough(name, state.sysctls.get(name), value)
    }
    if others and has_daemon:
        return Finding(
            severity=Severity.NOTE,
            subject="sysctls",
            found=", ".join(
                f"{name} is {state.sysctls.get(name, 'not there')} and not {value}"
                for name, value in others.items()
            ),
            advice="ipvsctl run sets them at every audit; if they come back, something"
            " else (sysctl.d, tuned, a network plugin) sets them, too",
        )
    to_set = ", ".join(f"{name}={value}" for name, value in others.items())
    found = (
        f"ipvsctl run will set {to_set}" if others else "those of IPVS are as wanted"
    )
    return Finding(severity=Severity.OK, subject="sysctls", found=found)


def _check_arp(
    state: NodeState, desired: NodeState, config: ProxyConfig
) -> Iterator[Finding]:
    """Load-balancer VIPs that every node answers ARP for."""
    has_vips = any(
        entries and key.role in _OF_LOAD_BALANCERS
        for key, entries in desired.entries.items()
    )
    name = ARP_IGNORE_SYSCTL
    is_strict = state.sysctls.get(name) not in {None, "0"}
    is_left = config.strict_arp is False or config.is_kube_proxy
    if has_vips and is_left and not is_strict:
        yield Finding(
            severity=Severity.NOTE,
            subject="ARP",
            found=f"{name} is 0, and there are load-balancer VIPs",
            advice="every node answers ARP for them, where MetalLB or kube-vip wants"
            " one to: leave ipvs.strictARP unset, or set it",
        )


def _check_localhost(state: NodeState, config: ProxyConfig) -> Iterator[Finding]:
    """Node ports on localhost, where they are asked for."""
    choice = config.node_port_addresses
    if config.is_kube_proxy and choice.localhost:
        yield Finding(
            severity=Severity.NOTE,
            subject="localhost",
            found=f"nodePortAddresses {choice}",
            advice="node ports are on no loopback address with compatibility:"
            " kube-proxy, as in its IPVS mode: set compatibility: none",
        )
    addresses = [*filter(None, map(config.localhost, sorted(IPFamily)))]
    if not addresses:
        return
    left_out = {
        (entry.protocol, entry.port)
        for family in IPFamily
        for entry in state.entries.get(set_key(SetRole.NODE_PORT, family), ())
        if entry.protocol is not Protocol.TCP
    }
    where = " and ".join(map(str, addresses))
    yield Finding(
        severity=Severity.NOTE if left_out else Severity.OK,
        subject="localhost",
        found=f"ipvsctl run relays connections to node ports on {where}",
        advice=f"{len(left_out):,} node ports for UDP or SCTP are not there: it relays"
        " TCP alone"
        if left_out
        else "",
    )


def _check_vips(
    state: NodeState, desired: NodeState, config: ProxyConfig, *, has_daemon: bool
) -> Finding:
    count = len(desired.addresses | desired.routes.keys())
    binding = config.wanted_vip_binding
    if binding is VipBinding.AUTO:
        return _check_choice(state, count, has_daemon=has_daemon)
    is_slow = binding is VipBinding.ADDRESS and count > MANY_VIPS
    first = "compatibility: none and " if config.is_kube_proxy else ""
    return Finding(
        severity=Severity.NOTE if is_slow else Severity.OK,
        subject="VIPs",
        found=f"{count}, vipBinding {binding}",
        advice=f"set {first}vipBinding: auto (or route): N addresses on a link take the"
        " kernel N x N steps (50,000: over a minute, as routes some seconds), and"
        " agents that list the node's addresses meet them all"
        if is_slow
        else "",
    )


def _check_choice(state: NodeState, count: int, *, has_daemon: bool) -> Finding:
    """What `vipBinding: auto` is here, and what a start would make of it."""
    held = held_vips(state)
    choice = choose_binding(count, *held)
    binding = held.binding if has_daemon and held.binding else choice
    is_old = binding is not choice
    return Finding(
        severity=Severity.NOTE if is_old else Severity.OK,
        subject="VIPs",
        found=f"{count}, vipBinding auto: {binding}",
        advice=f"restart ipvsctl run to have {choice}: it chooses at its start"
        if is_old
        else "",
    )
