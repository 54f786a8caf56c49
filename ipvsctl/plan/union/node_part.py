"""The node's own part of the desired state, as far as Services have a say in it."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from ipvsctl.model.net import IPFamily
from ipvsctl.model.tunnel import TunnelEnd
from ipvsctl.plan.service.program import ServiceProgram
from ipvsctl.plan.union.node import STRICT_ARP_SYSCTLS, NodeProgram
from ipvsctl.plan.union.vip_binding import VipPlacement


class NodeNeeds(NamedTuple):
    """The values of the node's part that may differ between two changes.

    Attributes:
        sysctls: name -> value, those for ARP included if they are needed.
        placement: how VIPs are bound.
        tunnel_ends: see `NodeState`.
    """

    sysctls: Mapping[str, str]
    placement: VipPlacement
    tunnel_ends: Mapping[IPFamily, TunnelEnd]


class NodePart:
    """The node's program, and what the Services add to it.

    Attributes:
        program: may be replaced; its families must stay the same.
        lost_node_ports: family -> how many Services have node ports that no address
            here serves.
    """

    def __init__(self, program: NodeProgram) -> None:
        self.program = program
        self.lost_node_ports: Counter[IPFamily] = Counter()
        self._ingress_vip_services = 0
        self._slow_starts = 0
        self._told = self.needs()

    def count(self, program: ServiceProgram, by: int) -> None:
        """Count a Service's program: 1 when it comes, -1 when it goes."""
        self._ingress_vip_services += by * program.has_ingress_vip
        self._slow_starts += by * any(s.slow_start_s for s in program.servers[:1])
        for family in program.lost_node_ports:
            self.lost_node_ports[family] += by

    @property
    def has_slow_start(self) -> bool:
        """Whether any Service's endpoints start slowly."""
        return self._slow_starts > 0

    def needs(self) -> NodeNeeds:
        """The sysctls that are desired now, and how VIPs are to be bound."""
        strict = self.program.strict_arp
        if strict is None:
            strict = self._ingress_vip_services > 0
        return NodeNeeds(
            {**self.program.sysctls, **(STRICT_ARP_SYSCTLS if strict else {})},
            self.program.placement,
            self.program.tunnel_ends,
        )

    def take_change(self) -> tuple[NodeNeeds, NodeNeeds]:
        """The needs at the last call, and those of now."""
        before, self._told = self._told, self.needs()
        return before, self._told
