"""Both firewalls, on a kernel that may lack one of them."""

import os

import pytest

from ipvsctl.kernel.firewall_choice import Choice, choose_firewall
from ipvsctl.kernel.nftables_firewall import NftablesFirewall
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.errors import KernelError
from ipvsctl.model.net import IPFamily

BOTH = (FirewallKind.IPTABLES, FirewallKind.NFTABLES)


def firewalls_here() -> tuple[FirewallKind, ...]:
    """Those of this kernel; both where that is unknown, or a lab was asked for it."""
    if "IPVSCTL_LAB" not in os.environ or _is_asked_for():
        return BOTH
    try:
        NftablesFirewall.open((IPFamily.IPV4,)).close()
    except KernelError:
        return (FirewallKind.IPTABLES,)
    return BOTH


def firewall_of_run() -> FirewallKind:
    """The firewall that tests of packets have in this run; iptables by default."""
    return FirewallKind(os.environ.get("IPVSCTL_FIREWALL", FirewallKind.IPTABLES))


about_iptables = pytest.mark.skipif(
    firewall_of_run() is not FirewallKind.IPTABLES,
    reason="it is about iptables itself, and this run's firewall is another",
)
"""Marks what a run with the other firewall leaves out: programs and words of one."""


def open_firewall(kind: FirewallKind) -> Choice:
    """A firewall of the caller's network namespace.

    Debian's user-mode Linux 6.1 has no nftables, and there its tests cannot be. A lab
    that was asked for another kernel has to have it.
    """
    require(kind)
    return choose_firewall(kind, tuple(IPFamily), may_load=False)


def require(kind: FirewallKind) -> None:
    """Skip the test if this kernel has no such firewall."""
    try:
        chosen = choose_firewall(kind, (IPFamily.IPV4,), may_load=False)
    except KernelError as error:
        if kind is FirewallKind.IPTABLES or _is_asked_for():
            raise
        pytest.skip(str(error))
    chosen.firewall.close()
    chosen.former.close()


def _is_asked_for() -> bool:
    """Whether the lab was asked for another kernel than its first."""
    return bool(os.environ.get("IPVSCTL_LAB_KERNEL"))
