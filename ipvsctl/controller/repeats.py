"""Repairs that come again and again: somebody insists on something else."""

from collections.abc import Mapping
from typing import Final

import msgspec

from ipvsctl.model.config import FirewallKind
from ipvsctl.model.problem import WORDED, Kind, ObjectRef, Problem
from ipvsctl.model.processes import Processes
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.report.culprits import guess

OFTEN: Final = 3
"""So many times within `WITHIN_S` nobody does something by hand."""

WITHIN_S: Final = 600.0

LOOK_EVERY_S: Final = 60.0
"""Who runs only while he changes something may be there another time."""

_MOST_KNOWN: Final = 1000
"""Repairs that are told apart; who undoes more than that undoes everything."""

REASON: Final = "is changed by another program again and again, and put right each time"


class _Repair(msgspec.Struct):
    """One that has been done lately."""

    kind: ObjectKind
    times_s: list[float]

    @property
    def is_often(self) -> bool:
        return len(self.times_s) >= OFTEN


class Repeats:
    """The repairs of the last minutes, by what was repaired.

    A guess at who makes them necessary is part of the problem, which is told again when
    its words change. So for a kind of object it is made before the problem is first
    told, and once somebody is named he stays until there is no such problem any more,
    whichever processes come and go.

    Args:
        node: name of this node, whose problem it is.
        firewall: the one in use.
    """

    def __init__(
        self, node: str, firewall: FirewallKind = FirewallKind.IPTABLES
    ) -> None:
        self._node = node
        self._firewall = firewall
        self._repairs: dict[str, _Repair] = {}
        self._guesses: dict[ObjectKind, str] = {}
        self._looked_at_s: dict[ObjectKind, float] = {}

    def want_look(self, repairs: Mapping[str, ObjectKind], now_s: float) -> bool:
        """Whether `note` is to be told who runs on the node.

        Args:
            repairs: see `note`.
            now_s: on the wall clock.
        """
        self._forget(now_s)
        return any(
            len(self._repairs[text].times_s) + 1 >= OFTEN
            and kind not in self._guesses
            and abs(now_s - self._looked_at_s.get(kind, -LOOK_EVERY_S)) >= LOOK_EVERY_S
            for text, kind in repairs.items()
            if text in self._repairs
        )

    def note(
        self,
        repairs: Mapping[str, ObjectKind],
        now_s: float,
        seen: Processes | None = None,
    ) -> None:
        """Take note of repairs.

        Args:
            repairs: of one audit, each by its words.
            now_s: on the wall clock.
            seen: who runs on the node, if that was looked for.
        """
        self._forget(now_s)
        for text, kind in repairs.items():
            if text in self._repairs or len(self._repairs) < _MOST_KNOWN:
                repair = self._repairs.setdefault(text, _Repair(kind, []))
                repair.times_s.append(now_s)
        if seen is None:
            return
        for kind in self._fought_over() - self._guesses.keys():
            self._looked_at_s[kind] = now_s
            clause = guess(kind, seen, self._firewall)
            if clause:
                self._guesses[kind] = clause

    def problems(self, now_s: float) -> tuple[Problem, ...]:
        """What is repaired often."""
        self._forget(now_s)
        found = [
            Problem(
                kind=Kind.NODE,
                ref=ObjectRef("", self._node),
                field="kernel",
                value=text,
                reason=self._reason(repair.kind),
            )
            for text, repair in sorted(self._repairs.items())
            if repair.is_often
        ]
        left = len(found) - WORDED
        if left > 0:
            return (*found[:WORDED], found[0].rest(left, REASON))
        return tuple(found)

    def _reason(self, kind: ObjectKind) -> str:
        return "; ".join(filter(None, (REASON, self._guesses.get(kind))))

    def _fought_over(self) -> set[ObjectKind]:
        return {repair.kind for repair in self._repairs.values() if repair.is_often}

    def _forget(self, now_s: float) -> None:
        for text, repair in tuple(self._repairs.items()):
            times_s = [t for t in repair.times_s if now_s - t <= WITHIN_S]
            repair.times_s = times_s
            if not times_s:
                del self._repairs[text]
        kinds = self._fought_over()
        self._guesses = {k: text for k, text in self._guesses.items() if k in kinds}
