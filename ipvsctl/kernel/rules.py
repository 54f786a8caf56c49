"""The iptables rules of both families: reading them and running their ops."""

import errno
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from ipvsctl.model.errors import KernelError
from ipvsctl.model.neighbours import FilterTable
from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Chains, RulesChange
from ipvsctl.plan.diff.ops import ChangeRules, FailedOp, Op

_NO_TOOL: Final = "no iptables binaries for this family"


class RulesTool(Protocol):
    """Reads and changes the rules of one family."""

    @property
    def random_fully(self) -> bool:
        """`MASQUERADE --random-fully` is understood."""
        ...

    def read(self) -> Chains:
        """Our chains, and the jumps to them."""
        ...

    def read_filter(self) -> FilterTable:
        """Everybody's filter rules."""
        ...

    def read_chain_names(self) -> frozenset[str]:
        """Everybody's chains."""
        ...

    def restore(self, change: RulesChange) -> None:
        """Run one change, or raise KernelError."""
        ...


class Rules:
    """The rules of each family that has a tool.

    Args:
        tools: by family; changing the rules of a family without one fails.
    """

    def __init__(self, tools: Mapping[IPFamily, RulesTool]) -> None:
        self._tools = tools

    @property
    def random_fully(self) -> bool:
        """Every tool understands `MASQUERADE --random-fully`."""
        return all(tool.random_fully for tool in self._tools.values())

    @property
    def families(self) -> tuple[IPFamily, ...]:
        """Those that have rules."""
        return tuple(self._tools)

    def read(self, family: IPFamily) -> Chains:
        """Our chains of one of the families, and the jumps to them."""
        return self._tools[family].read()

    def read_filter(self, family: IPFamily) -> FilterTable:
        """Everybody's filter rules of one of the families."""
        return self._tools[family].read_filter()

    def read_chain_names(self, family: IPFamily) -> frozenset[str]:
        """Everybody's chains of one of the families."""
        return self._tools[family].read_chain_names()

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`."""
        failed = []
        for op in ops:
            if not isinstance(op, ChangeRules):
                raise TypeError(op)
            tool = self._tools.get(op.change.family)
            if tool is None:
                failed.append(FailedOp(op=op, errno=errno.ENOENT, reason=_NO_TOOL))
                continue
            try:
                tool.restore(op.change)
            except KernelError as error:
                failed.append(FailedOp(op=op, errno=error.errno, reason=error.reason))
        return failed
