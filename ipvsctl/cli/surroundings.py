"""What commands find around them, so that a test can put something else there."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import typer

if TYPE_CHECKING:
    from ipvsctl.kernel.seam import Kernel
    from ipvsctl.model.config import ProxyConfig


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
    from ipvsctl.plan.node import sysctl_names  # noqa: PLC0415  # see above

    if to_change:
        load_modules((*REQUIRED_MODULES, scheduler_module(config.scheduler)))
    return LinuxKernel.open(vip_link=config.vip_link, sysctl_names=sysctl_names())


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is taken from outside."""

    open_kernel: OpenKernel = open_linux_kernel


def surroundings(context: typer.Context) -> Surroundings:
    """Those given with the command, or the real ones."""
    given = context.obj
    return given if isinstance(given, Surroundings) else Surroundings()
