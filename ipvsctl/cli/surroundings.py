"""What commands find around them, so that a test can put something else there."""

import errno
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import typer

from ipvsctl.model.errors import NotPermitted

if TYPE_CHECKING:
    from ipvsctl.kernel.seam import Kernel
    from ipvsctl.model.config import ProxyConfig

_CAP_NET_ADMIN: Final = 12
"""uapi/linux/capability.h."""


class OpenKernel(Protocol):
    """Opens the kernel of this node."""

    def __call__(self, config: "ProxyConfig", /, *, to_change: bool) -> "Kernel":
        """The kernel; with `to_change`, what it needs is loaded first.

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
    from ipvsctl.plan.check import KEEPALIVE_SYSCTL  # noqa: PLC0415  # see above
    from ipvsctl.plan.node import sysctl_names  # noqa: PLC0415  # see above

    require_net_admin(Path("/proc/self/status").read_text(encoding="utf-8"))
    if to_change:
        load_modules((*REQUIRED_MODULES, scheduler_module(config.scheduler)))
    return LinuxKernel.open(
        vip_link=config.vip_link, sysctl_names=(*sysctl_names(), KEEPALIVE_SYSCTL)
    )


def require_net_admin(status: str) -> None:
    """Say at once what every socket and tool would say in its own way.

    Args:
        status: text of `/proc/self/status`.

    Raises:
        NotPermitted: the process has no CAP_NET_ADMIN.
    """
    (effective,) = re.findall(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    if not int(effective, 16) >> _CAP_NET_ADMIN & 1:
        raise NotPermitted(
            errno=errno.EPERM,
            op="open the kernel",
            reason="CAP_NET_ADMIN is missing; run it as root",
        )


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is taken from outside."""

    open_kernel: OpenKernel = open_linux_kernel


def surroundings(context: typer.Context) -> Surroundings:
    """Those given with the command, or the real ones."""
    given = context.obj
    return given if isinstance(given, Surroundings) else Surroundings()
