"""UDP flows in memory: what Linux does with an op about them."""

from collections.abc import Iterable

from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.net import Protocol
from ipvsctl.plan.diff.ops import DeleteStaleFlows
from tests.lab.flows import Flow


class FakeConntrack:
    """The UDP flows that pass a node.

    Attributes:
        udp: all of them, those of no virtual server too; add what passes.
    """

    def __init__(self) -> None:
        self.udp: set[Flow] = set()

    def observe(
        self, keys: Iterable[VirtualServerKey]
    ) -> dict[VirtualServerKey, frozenset[RealServerKey]]:
        """Where the flows of these virtual servers lead; those without are absent."""
        found = {key: frozenset(map(_target, self._of(key))) for key in keys}
        return {key: targets for key, targets in found.items() if targets}

    def run(self, op: DeleteStaleFlows) -> None:
        """Run an op."""
        self.udp.difference_update(
            flow for flow in self._of(op.virtual_server) if _target(flow) not in op.keep
        )

    def _of(self, key: VirtualServerKey) -> list[Flow]:
        if key.protocol is not Protocol.UDP:
            return []
        return [f for f in self.udp if (f.address, f.port) == (key.address, key.port)]


def _target(flow: Flow) -> RealServerKey:
    return RealServerKey(flow.target, flow.target_port)
