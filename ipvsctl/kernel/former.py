"""The firewall before the one that is in use: what it has, and its removal.

Both are in the kernel for a while when a node is switched. Packets pass both, which
agree: what one has masqueraded the other leaves alone, and what one of them would drop
the other would, too. So the former one stays until the other is complete.
"""

import errno
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final, Self

from ipvsctl.kernel.firewall import Firewall, SetListing
from ipvsctl.model.errors import IpvsctlError, KernelError
from ipvsctl.model.former import FormerFirewall
from ipvsctl.model.net import IPFamily
from ipvsctl.model.steps import Steps, finish
from ipvsctl.plan.diff.ops import ChangeRules, DestroySet, FailedOp, Op, RemoveFormer
from ipvsctl.plan.diff.rules import plan_rules

_ABSENT: Final = frozenset(
    {errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT}
)
"""What a kernel answers that has no such firewall."""


class Former:
    """The other firewall, until nothing is left in it.

    Its sets say whether anything is. Chains alone may be those of a kube-proxy in its
    iptables mode, which has the same names and no sets, and are left to it.

    Args:
        name: of the firewall.
        open_sets: opens it as far as sets go, or raises KernelError.
        open_firewall: opens all of it; by default that is the same.
    """

    def __init__(
        self,
        name: str,
        open_sets: Callable[[], Firewall],
        open_firewall: Callable[[], Firewall] | None = None,
    ) -> None:
        self._name = name
        self._open_sets = open_sets
        self._open_firewall = open_firewall or open_sets
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

        Raises:
            KernelError: it could not be opened, or its sets not be read.
            WireError: they could not be understood.
        """
        firewall = self._opened()
        if firewall is None:
            return None
        sets: SetListing = yield from firewall.read_sets_in_steps()
        if not (sets.sets or sets.leftovers):
            self._is_gone = True
            self.close()
            return None
        return FormerFirewall(
            name=self._name,
            entries=sets.entries,
            leftovers=frozenset(sets.leftovers),
        )

    def run(self, ops: Sequence[Op]) -> list[FailedOp]:
        """See `applier.Transport`; of what is there now."""
        return [failed for op in ops for failed in self._remove(op)]

    def _remove(self, op: Op) -> Sequence[FailedOp]:
        if not isinstance(op, RemoveFormer):
            raise TypeError(op)
        try:
            if self._opened() is None:
                return ()
            with closing(self._open_firewall()) as firewall:
                refused = _remove_all(firewall)
                words = firewall.words
        except IpvsctlError as error:
            code = error.errno if isinstance(error, KernelError) else errno.EIO
            return (FailedOp(op=op, errno=code, reason=str(error)),)
        return tuple(
            FailedOp(op=op, errno=one.errno, reason=one.words(words))
            for one in refused[:1]
        )

    def _opened(self) -> Firewall | None:
        if self._firewall is None and not self._is_gone:
            try:
                self._firewall = self._open_sets()
            except KernelError as error:
                # Whether there is anything is not known, if it is for another reason.
                if error.errno not in _ABSENT:
                    raise
                self._is_gone = True
        return self._firewall


def _no_firewall() -> Firewall:
    raise KernelError.of(errno.ENOENT, "open another firewall")


def _remove_all(firewall: Firewall) -> Sequence[FailedOp]:
    """Remove rules, for they refer to sets, and then sets, for those say what is left.

    Returns:
        What failed; sets stay as long as rules do.
    """
    rules = finish(firewall.read_rules_in_steps())
    changes = [
        ChangeRules(change)
        for family in IPFamily
        if (change := plan_rules(family, rules.chains.get(family, {}), {})) is not None
    ]
    failed = firewall.run(changes)
    if failed:
        return failed
    sets = finish(firewall.read_sets_in_steps())
    return firewall.run(
        [
            *(DestroySet(key) for key in sorted(sets.sets)),
            *(DestroySet(left) for left in sorted(sets.leftovers, key=str)),
        ]
    )
