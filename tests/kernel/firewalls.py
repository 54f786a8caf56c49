"""Both firewalls, on a kernel that may lack one of them."""

import os

import pytest

from ipvsctl.kernel.firewall_choice import Choice, choose_firewall
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.errors import KernelError
from ipvsctl.model.net import IPFamily

BOTH = (FirewallKind.IPTABLES, FirewallKind.NFTABLES)


def firewall_of_run() -> FirewallKind:
    """The firewall that tests of packets have in this run; iptables by default."""
    return FirewallKind(os.environ.get("IPVSCTL_FIREWALL", FirewallKind.IPTABLES))


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
        if kind is FirewallKind.IPTABLES or "IPVSCTL_LAB_KERNEL" in os.environ:
            raise
        pytest.skip(str(error))
    chosen.firewall.close()
    chosen.former.close()
