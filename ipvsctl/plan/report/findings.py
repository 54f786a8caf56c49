"""What a check finds, as values."""

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes:
        subject: what was looked at.
        found: what is there.
        advice: what to do, and why; "" if nothing.
    """

    severity: Severity
    subject: str
    found: str
    advice: str = ""
