"""How a plan comes about: ops are collected, and stand in the order of stages."""

from collections import defaultdict

from ipvsctl.model.net import IPAddress
from ipvsctl.plan.diff.ops import Op, Plan
from ipvsctl.plan.diff.stages import Stage


class PlanBuilder:
    """Collects ops by stage.

    Args:
        urgent: addresses whose ops run before those of others, where ops can hurry.
    """

    def __init__(self, urgent: frozenset[IPAddress]) -> None:
        self._urgent_addresses = urgent
        self._ops: defaultdict[Stage, list[Op]] = defaultdict(list)

    def add(self, op: Op, address: IPAddress | None = None) -> None:
        """Add an op behind those of its stage.

        Args:
            op: the op.
            address: what it is done for; None if it need not hurry.
        """
        stage = op.stage
        if address in self._urgent_addresses:
            stage = op.urgent or stage
        self._ops[stage].append(op)

    def place(self, stage: Stage, op: Op, address: IPAddress | None = None) -> None:
        """Add an op behind those of the stage that the situation asks for.

        Args:
            stage: the op's own, or one of its `other_stages`.
            op: the op.
            address: what it is done for; None if it need not hurry.

        Raises:
            ValueError: the op does not know such a situation.
        """
        if stage is not op.stage and stage not in op.other_stages:
            raise ValueError(f"{type(op).__name__} does not run in {stage.name}")
        if address in self._urgent_addresses:
            stage = op.urgent or stage
        self._ops[stage].append(op)

    def build(self) -> Plan:
        """The ops, in the order of stages."""
        return tuple(op for stage in sorted(self._ops) for op in self._ops[stage])
