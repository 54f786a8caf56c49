"""What can go wrong with the lab itself, as opposed to the job it runs.

LabError
  NoLab         this machine can host neither kind of lab as it is
  TimeLimit     the job outlived its limit and was ended
  WorldDied     the world ended without the job having finished
"""

from collections.abc import Iterable


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines) or "    (nothing)"


class LabError(Exception):
    """The lab failed; the job's own failures are exit statuses instead."""


class NoLab(LabError):
    """No lab can be started here.

    Attributes:
        reasons: one sentence per obstacle, naming what to install or change.
    """

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__("no lab can be started here:\n" + _indented(reasons))
        self.reasons = reasons


class TimeLimit(LabError):
    """The job did not finish in time; everything it started has been killed.

    Attributes:
        seconds: the limit.
        console: the last lines of the guest kernel's console, empty in the native lab.
    """

    def __init__(self, seconds: float, console: tuple[str, ...]) -> None:
        super().__init__(
            f"ended at the time limit of {seconds:g} s; last lines of the console:\n"
            + _indented(console)
        )
        self.seconds = seconds
        self.console = console


class WorldDied(LabError):
    """The world ended before the job did: a kernel panic, or a failed set-up.

    Attributes:
        console: the last lines of the guest kernel's console, empty in the native lab.
    """

    def __init__(self, console: tuple[str, ...]) -> None:
        super().__init__(
            "the lab ended without finishing the job; last lines of the console:\n"
            + _indented(console)
        )
        self.console = console
