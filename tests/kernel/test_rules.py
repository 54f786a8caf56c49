"""Rules of two families, each through its own tool."""

import errno

from ipvsctl.kernel.rules import Rules
from ipvsctl.model.errors import KernelError
from ipvsctl.model.neighbours import FilterTable
from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Chains, RulesChange
from ipvsctl.plan.diff.ops import ChangeRules


class Tool:
    """Remembers changes; refuses the second one."""

    def __init__(self, *, random_fully: bool = True) -> None:
        self.random_fully = random_fully
        self.changes: list[RulesChange] = []

    def read(self) -> Chains:
        """No chains."""
        return {}

    def read_filter(self) -> FilterTable:
        """Nobody's."""
        return FilterTable()

    def read_chain_names(self) -> frozenset[str]:
        """Nobody's."""
        return frozenset()

    def restore(self, change: RulesChange) -> None:
        """Remember the change."""
        if self.changes:
            raise KernelError.of(errno.EINVAL, "iptables-restore", "line 2 failed")
        self.changes.append(change)


CHANGE = ChangeRules(RulesChange(family=IPFamily.IPV4))
CHANGE6 = ChangeRules(RulesChange(family=IPFamily.IPV6))


def test_a_refused_change_stops_no_other() -> None:
    """The tool's words are the reason, and the other family's change runs."""
    tool, tool6 = Tool(), Tool()
    rules = Rules({IPFamily.IPV4: tool, IPFamily.IPV6: tool6})
    failed = rules.run((CHANGE, CHANGE, CHANGE6))
    assert [(item.op, item.errno, item.reason) for item in failed] == [
        (CHANGE, errno.EINVAL, "line 2 failed")
    ]
    assert tool6.changes == [CHANGE6.change]


def test_a_family_without_a_tool() -> None:
    """Its rules are not read, and changing them fails."""
    rules = Rules({IPFamily.IPV4: Tool()})
    assert rules.read(IPFamily.IPV4) == {}
    (failed,) = rules.run((CHANGE6,))
    assert failed.errno == errno.ENOENT
    assert "no iptables" in failed.reason


def test_random_fully_needs_every_tool() -> None:
    """One fact for both families: what the older of the tools can do."""
    tools = {IPFamily.IPV4: Tool(), IPFamily.IPV6: Tool(random_fully=False)}
    assert not Rules(tools).random_fully
    assert Rules({IPFamily.IPV4: Tool()}).random_fully
