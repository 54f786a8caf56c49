"""The firewall before the one that is in use: what it has, and its removal.

Both are in the kernel for a while when a node is switched. Packets pass both, which
agree: what one has masqueraded the other leaves alone, and what one of them would drop
the other would, too. So the former one stays until the other is complete.
"""

import errno
from collections.abc import Callable, Sequence
from typing import Self

from ipvsctl.kernel.firewall import Firewall, RulesListing, SetListing
from ipvsctl.model.errors import IpvsctlError, KernelError
from ipvsctl.model.former import FormerFirewall
from ipvsctl.model.net import IPFamily
from ipvsctl.model.steps import Steps, finish
from ipvsctl.plan.diff.ops import ChangeRules, DestroySet, FailedOp, Op, RemoveFormer
from ipvsctl.plan.diff.rules import plan_rules


class Former:
    """The other firewall, until nothing is left in it.

    Args:
        name: of the firewall.
        open_firewall: opens it, or raises KernelError; it may not be installed.
    """

    def __init__(self, name: str, open_firewall: Callable[[], Firewall]) -> None:
        self._name = name
        self._open = open_firewall
        self._firewall: Firewall | None = None
        self._is_gone = False

    @classmethod
    def nothing(cls) -> Self:
        """There is no other."""
        return cls("", _no_firewall)

    def close(self) -> None:
        """Close what is open; what is left stays."""
        if self._firewall is not None:
            self._firewall.close()
            self._firewall = None

    def read_in_steps(self) -> Steps[FormerFirewall | None]:
        """What is left; None if nothing is, and from then on.

        Its rules are no evidence: where they cannot be read, as they are of a program
        that works no more, there are none as far as can be told.

        Raises:
            KernelError: its sets could not be read.
            WireError: they could not be understood.
        """
        firewall = self._opened()
        if firewall is None:
            return None
        sets: SetListing = yield from firewall.read_sets_in_steps()
        rules: RulesListing = yield from firewall.read_rules_in_steps()
        chains = sum(map(len, rules.chains.values()))
        if not (sets.sets or sets.leftovers or chains):
            self._is_gone = True
            self.close()
            return None
        return FormerFirewall(
            name=self._name,
            entries=sets.entries,
            leftovers=frozenset(sets.leftovers),
            chains=chains,
        )

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`; of what is there now."""
        return [failed for op in ops for failed in self._remove(op)]

    def _remove(self, op: Op) -> Sequence[FailedOp]:
        if not isinstance(op, RemoveFormer):
            raise TypeError(op)
        firewall = self._opened()
        if firewall is None:
            return ()
        try:
            refused = firewall.run(_removal(firewall))
        except IpvsctlError as error:
            code = error.errno if isinstance(error, KernelError) else errno.EIO
            return (FailedOp(op=op, errno=code, reason=str(error)),)
        return tuple(
            FailedOp(op=op, errno=one.errno, reason=one.words(firewall.words))
            for one in refused[:1]
        )

    def _opened(self) -> Firewall | None:
        if self._firewall is None and not self._is_gone:
            try:
                self._firewall = self._open()
            except KernelError:
                # It is not installed, and so has nothing of ours.
                self._is_gone = True
        return self._firewall


def _no_firewall() -> Firewall:
    raise KernelError.of(errno.ENOENT, "open another firewall")


def _removal(firewall: Firewall) -> list[Op]:
    """The ops that remove all: rules first, for they refer to sets."""
    rules = finish(firewall.read_rules_in_steps())
    sets = finish(firewall.read_sets_in_steps())
    ops: list[Op] = []
    for family in IPFamily:
        change = plan_rules(family, rules.chains.get(family, {}), {})
        if change is not None:
            ops.append(ChangeRules(change))
    ops += (DestroySet(key) for key in sorted(sets.sets))
    ops += (DestroySet(left) for left in sorted(sets.leftovers, key=str))
    return ops
