"""Which firewall a node has: the one that is asked for, or the one that it can have."""

import errno
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from ipvsctl.kernel.firewall import Firewall
from ipvsctl.kernel.former import Former
from ipvsctl.kernel.iptables_firewall import IptablesFirewall
from ipvsctl.kernel.modules import (
    PROC,
    SYS,
    find_modules,
    load_modules,
    loaded_modules,
)
from ipvsctl.kernel.nftables_firewall import NftablesFirewall
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.errors import KernelError
from ipvsctl.model.net import IPFamily

IPTABLES_MODULES: Final = (
    "xt_set",
    "ip_set_hash_ip",
    "ip_set_hash_ipport",
    "ip_set_hash_ipportip",
    "ip_set_hash_ipportnet",
    "ip_set_bitmap_port",
)
"""What the rules of iptables need beside what its flavour loads by itself."""

_IP_SET: Final = "ip_set"


class Choice(NamedTuple):
    """A firewall, and how it came to be the one.

    Attributes:
        former: the other one.
        kind: never `AUTO`.
        reason: in words, behind "it is this one: ".
    """

    firewall: Firewall
    former: Former
    kind: FirewallKind
    reason: str


def choose_firewall(
    wanted: FirewallKind, families: Sequence[IPFamily], *, may_load: bool
) -> Choice:
    """Open the firewall of this node.

    Args:
        wanted: `AUTO` is iptables where it works, whose rules and sets kube-proxy knows
            when a node is given back, and nftables elsewhere.
        families: those that are to have rules.
        may_load: modules that are missing may be loaded.

    Raises:
        KernelError: the one that is asked for, or each of them, does not work here.
    """
    if wanted is not FirewallKind.AUTO:
        return _choice(wanted, families, "configured", may_load=may_load)
    try:
        return _working_iptables(families, may_load=may_load)
    except KernelError as error:
        lacking = str(error)
    try:
        return _choice(FirewallKind.NFTABLES, families, lacking, may_load=may_load)
    except KernelError as error:
        reason = f"neither iptables ({lacking}) nor nftables ({error}) works here"
        raise KernelError.of(error.errno, "choose a firewall", reason) from error


def _choice(
    kind: FirewallKind, families: Sequence[IPFamily], reason: str, *, may_load: bool
) -> Choice:
    if kind is FirewallKind.NFTABLES:
        firewall: Firewall = NftablesFirewall.open(families)
        former = Former(
            FirewallKind.IPTABLES,
            _open_sets_if_loaded,
            partial(IptablesFirewall.open_leniently, families),
        )
        return Choice(firewall, former, kind, reason)
    if may_load:
        load_modules(IPTABLES_MODULES)
    return _with_former(IptablesFirewall.open(families), families, reason)


def _with_former(
    firewall: IptablesFirewall, families: Sequence[IPFamily], reason: str
) -> Choice:
    open_other: Callable[[], Firewall] = partial(
        NftablesFirewall.open_if_there, families
    )
    former = Former(FirewallKind.NFTABLES, open_other)
    return Choice(firewall, former, FirewallKind.IPTABLES, reason)


def _working_iptables(families: Sequence[IPFamily], *, may_load: bool) -> Choice:
    """Iptables' firewall, if what it needs of the kernel is there, too.

    Raises:
        KernelError: it is not, or it is not installed.
    """
    if may_load:
        load_modules(IPTABLES_MODULES)
    else:
        _require_modules()
    firewall = IptablesFirewall.open(families)
    try:
        firewall.check()
    except KernelError:
        firewall.close()
        raise
    return _with_former(firewall, families, "iptables and ipset work here")


def _require_modules() -> None:
    """Have the kernel load them itself, when rules ask for them, if it can.

    Raises:
        KernelError: some are in none of its files.
    """
    found = find_modules(IPTABLES_MODULES)
    missing = [name for name, is_there in found.items() if is_there is False]
    if missing:
        reason = f"this kernel has no {', '.join(missing)}"
        raise KernelError.of(errno.ENOENT, "iptables", reason)


def _open_sets_if_loaded() -> Firewall:
    """The sets of iptables, unless the kernel would load them only for the question.

    No program is started for that.

    Raises:
        KernelError: it has none.
    """
    if not _has_module(_IP_SET):
        raise KernelError.of(errno.ENOENT, "ipset", "not loaded")
    return IptablesFirewall({})


def _has_module(name: str, proc: Path = PROC, sys: Path = SYS) -> bool:
    """Loaded, or built in and with parameters."""
    return name in loaded_modules(proc) or (sys / "module" / name).exists()
