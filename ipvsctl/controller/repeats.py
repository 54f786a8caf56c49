"""Repairs that come again and again: somebody insists on something else."""

from collections.abc import Iterable
from typing import Final

from ipvsctl.model.problem import WORDED, Kind, ObjectRef, Problem

OFTEN: Final = 3
"""So many times within `WITHIN_S` nobody does something by hand."""

WITHIN_S: Final = 600.0

_MOST_KNOWN: Final = 1000
"""Repairs that are told apart; who undoes more than that undoes everything."""

REASON: Final = "is changed by another program again and again, and put right each time"


class Repeats:
    """The repairs of the last minutes, by what was repaired.

    Args:
        node: name of this node, whose problem it is.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._times: dict[str, list[float]] = {}

    def note(self, repairs: Iterable[str], now_s: float) -> None:
        """Take note of repairs, each by its words.

        Args:
            repairs: of one audit.
            now_s: on the wall clock.
        """
        self._forget(now_s)
        for text in repairs:
            if text in self._times or len(self._times) < _MOST_KNOWN:
                self._times.setdefault(text, []).append(now_s)

    def problems(self, now_s: float) -> tuple[Problem, ...]:
        """What is repaired often."""
        self._forget(now_s)
        often = [text for text, times in self._times.items() if len(times) >= OFTEN]
        found = [
            Problem(
                kind=Kind.NODE,
                ref=ObjectRef("", self._node),
                field="kernel",
                value=text,
                reason=REASON,
            )
            for text in sorted(often)
        ]
        left = len(found) - WORDED
        if left > 0:
            return (*found[:WORDED], found[0].rest(left))
        return tuple(found)

    def _forget(self, now_s: float) -> None:
        kept = {
            text: [time_s for time_s in times if now_s - time_s <= WITHIN_S]
            for text, times in self._times.items()
        }
        self._times = {text: times for text, times in kept.items() if times}
