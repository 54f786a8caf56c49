"""What the rest of the project may ask of a kernel, one screen wide.

`LinuxKernel` is the real one; tests also have a strict fake that is held to the same
contract.
"""

from collections.abc import Iterable
from typing import Protocol

from ipvsctl.model.facts import KernelFacts
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.state import Observed
from ipvsctl.plan.ops import Plan, Report


class Kernel(Protocol):
    """A kernel that holds a node's state. Calls block; one at a time."""

    def facts(self) -> KernelFacts:
        """What this kernel and its tools can do; read once, then remembered."""
        ...

    def observe(self) -> Observed:
        """Read the complete state.

        Raises:
            KernelError: something could not be read, even after a retry.
        """
        ...

    def observe_virtual_servers(self, keys: Iterable[VirtualServerKey]) -> Observed:
        """Read only these virtual servers, with their real servers and counters.

        Keys the kernel does not have are absent from the answer; every other part of
        the state is left empty.
        """
        ...

    def apply(self, plan: Plan) -> Report:
        """Run the ops in order.

        A failed op does not stop the others, except those that cannot succeed
        without it (the real servers of a virtual server that was refused), which are
        reported as failed too.
        """
        ...

    def close(self) -> None:
        """Close sockets; the kernel state stays."""
        ...
