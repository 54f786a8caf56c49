"""Why something answers, or does not, as values for people and scripts.

Plain text, so that it can leave the process as JSON and come back.
"""

from enum import StrEnum
from typing import Self

import msgspec


class Verdict(StrEnum):
    """What a step of an explanation has come to."""

    OK = "ok"
    NOTE = "note"
    """Fine, and worth knowing."""
    UNKNOWN = "unknown"
    """It could not be found out."""
    BROKEN = "BROKEN"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at on the way from the object to the wire.

    Attributes:
        subject: what was looked at: `endpoints`, `virtual server`.
        found: what is so.
        details: a line each.
        remedy: what mends it, a command or an object; "" if nothing is to be mended.
    """

    verdict: Verdict
    subject: str
    found: str
    details: tuple[str, ...] = ()
    remedy: str = ""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The steps about one thing: the node, a Service, one of its ways in."""

    title: str
    steps: tuple[Step, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The whole way, in order.

    Attributes:
        target: what was asked about.
        by: who answers: a daemon, or the kernel read without one.
    """

    target: str
    by: str = ""
    parts: tuple[Part, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """Those of all parts."""
        return tuple(step for part in self.parts for step in part.steps)

    @property
    def verdict(self) -> Verdict:
        """BROKEN if a step is, else UNKNOWN if a step is, else OK."""
        verdicts = {step.verdict for step in self.steps}
        for verdict in (Verdict.BROKEN, Verdict.UNKNOWN):
            if verdict in verdicts:
                return verdict
        return Verdict.OK

    @property
    def headline(self) -> Step | None:
        """The first step that is as bad as the whole; None if all is well."""
        worst = self.verdict
        if worst is Verdict.OK:
            return None
        return next(step for step in self.steps if step.verdict is worst)

    def before(self, *parts: Part) -> Self:
        """The same after some other parts."""
        return msgspec.structs.replace(self, parts=(*parts, *self.parts))
