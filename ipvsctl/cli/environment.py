"""The surroundings of commands, so that a test can put something else there."""

import errno
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import typer

from ipvsctl.model.errors import NotPermitted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvsctl.kernel.interface import Kernel
    from ipvsctl.kernel.ipvs_rates import RateSource
    from ipvsctl.model.config import ProxyConfig
    from ipvsctl.model.neighbours import Connection
    from ipvsctl.model.node_facts import NodeFacts

_NEEDED: Final = {"CAP_NET_ADMIN": 12}
"""Netlink, IPVS and sysctls want it; the numbers are of uapi/linux/capability.h."""

_NEEDED_BY_IPTABLES: Final = {"CAP_NET_RAW": 13}
"""Its `set` match asks for the sets through a raw socket in both flavours, and the
legacy one for its tables [libxt_set.h: get_version; libiptc.c: TC_INIT]."""

_CAP_SYS_MODULE: Final = 16


class OpenKernel(Protocol):
    """Opens the kernel of this node."""

    def __call__(self, config: "ProxyConfig", /, *, to_change: bool) -> "Kernel":
        """The kernel; with `to_change`, modules it needs are loaded first.

        Raises:
            KernelError: there is no IPVS, a module is missing, or it is not permitted.
        """
        ...


def open_linux_kernel(config: "ProxyConfig", *, to_change: bool) -> "Kernel":
    """See `OpenKernel`."""
    # Not all commands need a kernel, and --help needs none of this.
    from ipvsctl.kernel.linux import LinuxKernel  # noqa: PLC0415  # see above
    from ipvsctl.kernel.modules import (  # noqa: PLC0415  # see above
        REQUIRED_MODULES,
        load_modules,
        scheduler_module,
    )
    from ipvsctl.plan.report.check import KEEPALIVE_SYSCTL  # noqa: PLC0415  # see above
    from ipvsctl.plan.union.node import sysctl_names  # noqa: PLC0415  # see above

    capabilities = effective_capabilities(Path("/proc/self/status").read_text("utf-8"))
    require_capabilities(capabilities, config.wanted_firewall)
    # Without it the kernel still loads, of its own accord, what it is asked to use.
    may_load = to_change and bool(capabilities >> _CAP_SYS_MODULE & 1)
    if may_load:
        load_modules((*REQUIRED_MODULES, scheduler_module(config.scheduler)))
    return LinuxKernel.open(
        vip_link=config.vip_link,
        sysctl_names=(*sysctl_names(), KEEPALIVE_SYSCTL),
        proc_sys=Path(config.proc_sys),
        firewall=config.wanted_firewall,
        may_load=may_load,
    )


class ReadNode(Protocol):
    """Reads what this node is like; without IPVS."""

    def __call__(self, config: "ProxyConfig", /) -> "NodeFacts":
        """What was found; a part that cannot be read is named."""
        ...


def read_linux_node(config: "ProxyConfig") -> "NodeFacts":
    """See `ReadNode`."""
    from ipvsctl.kernel.modules import (  # noqa: PLC0415  # see above
        REQUIRED_MODULES,
        scheduler_module,
    )
    from ipvsctl.kernel.node_facts import (  # noqa: PLC0415  # see above
        FIREWALL_MODULES,
        read_node_facts,
    )
    from ipvsctl.plan.report.preflight import PREFLIGHT_SYSCTLS  # noqa: PLC0415  # see above

    return read_node_facts(
        (*REQUIRED_MODULES, scheduler_module(config.scheduler)),
        PREFLIGHT_SYSCTLS,
        Path(config.proc_sys),
        config.wanted_firewall,
        FIREWALL_MODULES,
    )


def read_linux_bridges(config: "ProxyConfig") -> "NodeFacts":
    """See `ReadNode`; of bridges alone."""
    from ipvsctl.kernel.node_facts import read_bridge_facts  # noqa: PLC0415  # see above
    from ipvsctl.plan.report.preflight import BRIDGE_SYSCTL  # noqa: PLC0415  # see above

    return read_bridge_facts((BRIDGE_SYSCTL,), Path(config.proc_sys))


class ReadConnections(Protocol):
    """Reads IPVS' table of connections, row by row."""

    def __call__(self) -> "Iterator[Connection]":
        """Every connection; see `kernel.connections.read_connections`."""
        ...


def read_linux_connections() -> "Iterator[Connection]":
    """See `ReadConnections`."""
    from ipvsctl.kernel.connections import read_connections  # noqa: PLC0415  # see above

    return read_connections()


class OpenRates(Protocol):
    """Opens the rates that IPVS estimates on this node."""

    def __call__(self) -> "RateSource":
        """The rates.

        Raises:
            KernelError: there is no IPVS, or it is not permitted.
        """
        ...


def open_linux_rates() -> "RateSource":
    """See `OpenRates`."""
    from ipvsctl.kernel.ipvs_rates import IpvsRates  # noqa: PLC0415  # see above

    return IpvsRates()


def effective_capabilities(status: str) -> int:
    """One bit a capability, by its number, from the text of `/proc/self/status`."""
    (effective,) = re.findall(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return int(effective, 16)


def require_capabilities(effective: int, firewall: str) -> None:
    """Refuse at once, before every socket and tool does in its own words.

    Args:
        effective: one bit a capability.
        firewall: a `FirewallKind`; `auto` may be iptables.

    Raises:
        NotPermitted: some are missing; the reason names them.
    """
    needed = _NEEDED if firewall == "nftables" else _NEEDED | _NEEDED_BY_IPTABLES
    missing = [name for name, bit in needed.items() if not effective >> bit & 1]
    if missing:
        raise NotPermitted(
            errno=errno.EPERM,
            op="open the kernel",
            reason=f"{' and '.join(missing)} missing; run it as root",
        )


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The parts that are taken from outside."""

    open_kernel: OpenKernel = open_linux_kernel
    read_node: ReadNode = read_linux_node
    read_bridges: ReadNode = read_linux_bridges
    read_connections: ReadConnections = read_linux_connections
    open_rates: OpenRates = open_linux_rates


def environment(context: typer.Context) -> Environment:
    """The surroundings given with the command, or the real ones."""
    given = context.obj
    return given if isinstance(given, Environment) else Environment()
