"""The iptables rules of both families: reading them and running their ops.

A command may hang, or wait for a lock that another agent holds. The audit that waits
for it goes on without it after a while, and the others until it has ended.
"""

import errno
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from ipvsctl.kernel.patience import Patience
from ipvsctl.model.errors import KernelError
from ipvsctl.model.neighbours import FilterTable
from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Chains, RulesChange
from ipvsctl.plan.diff.ops import ChangeRules, FailedOp, Op

_NO_TOOL: Final = "no iptables binaries for this family"

LOCK_WAIT_S: Final = 5
"""How long to wait for another process that holds the xtables lock."""

LEAST_PATIENCE_S: Final = 2.0
"""A node with few rules answers in some 10 ms."""

FIRST_PATIENCE_S: Final = 20.0
"""One with 100,000 has been seen to take ten seconds, and that is not known yet."""

_LONGER: Final = 4
"""So many times as long as the last time is no surprise."""


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
        patience: with each of them; None is one for each.
    """

    def __init__(
        self,
        tools: Mapping[IPFamily, RulesTool],
        patience: Mapping[IPFamily, Patience] | None = None,
    ) -> None:
        self._tools = tools
        self._patience = patience or {family: Patience() for family in tools}

    @property
    def random_fully(self) -> bool:
        """Every tool understands `MASQUERADE --random-fully`."""
        return all(tool.random_fully for tool in self._tools.values())

    @property
    def families(self) -> tuple[IPFamily, ...]:
        """Those that have rules."""
        return tuple(self._tools)

    def read(self, family: IPFamily) -> Chains:
        """Our chains of one of the families, and the jumps to them.

        Raises:
            KernelError: they could not be read, or not in time.
            WireError: their text is cut short.
        """
        return self._patience[family].call(
            self._tools[family].read, "reading rules", self._patience_s(family)
        )

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
            try:
                self._change(op.change)
            except KernelError as error:
                failed.append(FailedOp(op=op, errno=error.errno, reason=error.reason))
        return failed

    def _change(self, change: RulesChange) -> None:
        tool = self._tools.get(change.family)
        if tool is None:
            raise KernelError.of(errno.ENOENT, "changing rules", _NO_TOOL)
        self._patience[change.family].call(
            lambda: tool.restore(change),
            "changing rules",
            LOCK_WAIT_S + self._patience_s(change.family),
        )

    def _patience_s(self, family: IPFamily) -> float:
        taken_s = self._patience[family].taken_s
        if taken_s is None:
            return FIRST_PATIENCE_S
        return max(LEAST_PATIENCE_S, _LONGER * taken_s)
