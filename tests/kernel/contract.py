"""What every kernel does with every kind of op: rows that fake and Linux share.

One row a fact. The errnos are what Linux 6.1 answers, and
6.12 of nftables. The rows are in `contract_ipvs`,
`contract_sets` and `contract_node`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ipvsctl.model.config import FirewallKind
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff.ops import Op, Plan

VIP_LINK: Final = "kube-ipvs0"
CONNTRACK: Final = "net/ipv4/vs/conntrack"
MISSING_SYSCTL: Final = "net/ipv4/vs/no_such_sysctl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What becomes of an op; see `Row`."""

    code: int = 0
    then: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fact.

    Attributes:
        fact: a sentence without a full stop.
        given: what runs first; all of it succeeds.
        op: what is tried.
        code: the errno it is refused with, and then nothing has changed; 0 if it
            succeeds.
        look: what to look at after a success.
        then: what is to be seen there.
        nftables: what becomes of it where that is the firewall, if it is not the same.
    """

    fact: str
    given: Plan = ()
    op: Op
    code: int = 0
    look: Callable[[NodeState], object] = lambda _: None
    then: object = None
    nftables: Outcome | None = None

    def outcome(self, firewall: FirewallKind) -> Outcome:
        """What becomes of the op with a firewall."""
        if firewall is FirewallKind.NFTABLES and self.nftables is not None:
            return self.nftables
        return Outcome(code=self.code, then=self.then)

    def __str__(self) -> str:
        """The name of the test."""
        return self.fact.replace(" ", "-")
