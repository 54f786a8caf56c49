"""What can go wrong on demand: values, and which requests they befall."""

from typing import Any

import msgspec


class Refuse(msgspec.Struct, frozen=True, kw_only=True):
    """Answer with an error instead: 429, 500, 503, ..."""

    code: int
    retry_after_s: int | None = None


class Expire(msgspec.Struct, frozen=True):
    """Answer that the resource version is too old, whichever it is."""


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Close the connection after that many bytes of the body."""

    after_bytes: int


class Hang(msgspec.Struct, frozen=True, kw_only=True):
    """Send nothing more after that many bytes of the body; 0: not even headers."""

    after_bytes: int = 0


class Throttle(msgspec.Struct, frozen=True, kw_only=True):
    """Send no more than that."""

    bytes_per_s: int


class Garble(msgspec.Struct, frozen=True, kw_only=True):
    """Put bytes into the body.

    Attributes:
        text: the bytes; a line of its own in a watch, instead of the body elsewhere.
        after_lines: so many events of a watch come before it.
    """

    text: bytes = b'{"type":"MODIFIED","object":{"meta\x00data'
    after_lines: int = 0


class Alter(msgspec.Struct, frozen=True, kw_only=True):
    """Show the objects of one name with other fields.

    Attributes:
        name: of the objects.
        patch: a JSON merge patch; nothing checks the result.
    """

    name: str
    patch: dict[str, Any]


Fault = Refuse | Expire | Cut | Hang | Throttle | Garble | Alter


class When(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that a fault befalls.

    Attributes:
        fault: what goes wrong.
        verb: `get`, `list`, `watch`, `create`, ...; empty for all. A streaming list is
            a watch.
        resource: the plural, or empty for all.
        skip: so many of these requests go well first.
        every: after those the fault befalls the 1st, and then each so many-th.
        times: how often at most; None for no end.
    """

    fault: Fault
    verb: str = ""
    resource: str = ""
    skip: int = 0
    every: int = 1
    times: int | None = None


class Script:
    """The faults to come."""

    def __init__(self) -> None:
        self._pending: list[_Pending] = []

    def set(self, *rules: When) -> None:
        """Have these faults from now on, and no others."""
        self._pending = [_Pending(rule) for rule in rules]

    def next(self, verb: str, resource: str) -> tuple[Fault, ...]:
        """The faults of the next request."""
        due = [pending for pending in self._pending if pending.is_due(verb, resource)]
        return tuple(pending.rule.fault for pending in due)


class _Pending:
    def __init__(self, rule: When) -> None:
        self.rule = rule
        self._seen = 0
        self._done = 0

    def is_due(self, verb: str, resource: str) -> bool:
        rule = self.rule
        if rule.verb not in {"", verb} or rule.resource not in {"", resource}:
            return False
        place = self._seen - rule.skip
        self._seen += 1
        if place < 0 or place % rule.every or self._done == rule.times:
            return False
        self._done += 1
        return True
