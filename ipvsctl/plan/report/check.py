"""Findings about a node, before it is served or meanwhile."""

from enum import StrEnum
from typing import Final

import msgspec

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.config import ProxyConfig, VipBinding
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.union.node import REUSE_MODE_FIXED, REUSE_MODE_SYSCTL

KEEPALIVE_SYSCTL: Final = "net/ipv4/tcp_keepalive_time"
"""Idle seconds before the first TCP keepalive, in both families."""

MANY_VIPS: Final = 5_000
"""Up to here addresses cost about what routes do."""


class Severity(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes:
        subject: what was looked at.
        found: what is there.
        advice: what to do, and why; "" if nothing.
    """

    severity: Severity
    subject: str
    found: str
    advice: str = ""


def check_node(
    observed: Observed,
    capabilities: Capabilities,
    config: ProxyConfig,
    desired: NodeState,
) -> tuple[Finding, ...]:
    """Look at a node and its settings.

    Args:
        observed: what the kernel holds, with `KEEPALIVE_SYSCTL` among its sysctls.
        capabilities: of the same kernel.
        config: the settings it is, or is to be, served with.
        desired: what it is to hold; what it holds, if that is not known.

    Returns:
        Always in the same order. What cannot be known has no finding.
    """
    vips = _check_vips(desired, config)
    timeout = _check_tcp_timeout(observed.state, config)
    return (
        _kernel(capabilities),
        _reuse_mode(observed.state, capabilities),
        _check_schedulers(capabilities, config),
        *((timeout,) if timeout else ()),
        vips,
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


def _check_vips(state: NodeState, config: ProxyConfig) -> Finding:
    count = len(state.addresses | state.routes.keys())
    binding = VipBinding.ADDRESS if config.is_kube_proxy else config.vip_binding
    is_slow = binding is VipBinding.ADDRESS and count > MANY_VIPS
    first = "compatibility: none and " if config.is_kube_proxy else ""
    return Finding(
        severity=Severity.NOTE if is_slow else Severity.OK,
        subject="VIPs",
        found=f"{count}, vipBinding {binding}",
        advice=f"set {first}vipBinding: route: N addresses on a link take the kernel"
        " N x N steps (50,000: over a minute, as routes some seconds), and agents that"
        " list the node's addresses meet them all"
        if is_slow
        else "",
    )
