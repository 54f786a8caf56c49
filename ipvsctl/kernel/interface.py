"""What the rest of the project may ask of a kernel, one screen wide.

`LinuxKernel` is the real one; tests also have a strict fake that is held to the same
contract.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from ipvsctl.kernel.notices import Notices
from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.glance import Glance
from ipvsctl.model.host import HostNetwork
from ipvsctl.model.ipvs import RealServers, VirtualServerKey
from ipvsctl.model.neighbours import Neighbours
from ipvsctl.model.net import IPAddress
from ipvsctl.model.processes import Processes
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.model.steps import Steps
from ipvsctl.plan.diff.ops import Plan, Report
from ipvsctl.plan.diff.words import FirewallWords

Reading = Steps[Observed]
"""Reads the complete state step by step.

What other calls change between two steps may be in the result as it was or as it is.
The mappings of the result, by virtual server, are the caller's own.
"""


class Kernel(Protocol):
    """A kernel that holds a node's state. Calls block; one at a time."""

    @property
    def words(self) -> FirewallWords:
        """What operators call the things of its firewall."""
        ...

    def capabilities(self) -> Capabilities:
        """What this kernel and its tools can do; read once, then remembered."""
        ...

    def observe(self) -> Observed:
        """Read the complete state.

        Never fails: a part that could not be read, even after a retry, is named.
        """
        ...

    def read_in_steps(self, likely: NodeState, *, has_rules: bool = True) -> Reading:
        """See `observe`; close what is not read to its end.

        Args:
            likely: what the kernel probably holds. Parts of the result that are equal
                to its parts are the same objects, which takes less time and memory.
            has_rules: whether rules are to be read, which may take seconds.
        """
        ...

    def read_host(self) -> HostNetwork:
        """This node's own network, as in `Observed`."""
        ...

    def read_vips(self) -> frozenset[IPAddress]:
        """The VIPs: addresses on the VIP link, and those with a route of ours."""
        ...

    def read_neighbours(self, addresses: AbstractSet[IPAddress]) -> Neighbours:
        """What else there is, with the connections to these addresses.

        Never fails: a part that cannot be read is named. May be called in any thread,
        while another call runs.
        """
        ...

    def read_processes(self, names: AbstractSet[str]) -> Processes:
        """Which of these programs run here, and who holds the lock of iptables.

        Never fails: what cannot be seen is not there. Takes a second at most, and may
        be called in any thread, while another call runs.
        """
        ...

    def glance(self) -> Glance:
        """What can be seen in less than a millisecond.

        Raises:
            KernelError: it could not be read.
        """
        ...

    def is_link_up(self, name: str) -> bool:
        """Whether a link of ours is there, and up.

        Raises:
            KernelError: it could not be asked for.
        """
        ...

    def open_notices(self) -> Notices | None:
        """What it tells of links and addresses; None if it tells nothing.

        Raises:
            KernelError: nothing can be heard.
        """
        ...

    def observe_virtual_servers(
        self,
        keys: Iterable[VirtualServerKey],
        likely: Mapping[VirtualServerKey, RealServers] = EMPTY,
    ) -> Observed:
        """Read only these virtual servers, with their real servers and counters.

        Args:
            keys: those that the kernel does not have are absent from the answer.
            likely: the real servers that some of them probably have; these very values
                are in the answer where they are what is read.

        Returns:
            What was read; every other part of the state is left empty.
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
