"""Readings of which each part may fail alone."""

from collections.abc import Callable
from typing import TypeVar

from ipvsctl.model.errors import IpvsctlError, KernelError, WireError
from ipvsctl.model.parts import Part
from ipvsctl.model.steps import Steps

T = TypeVar("T")


class PartialReading:
    """Remembers what could not be read, and why.

    Attributes:
        unread: a line each.
    """

    def __init__(self) -> None:
        self.unread: list[str] = []

    def part(self, what: str, read: Callable[[], T]) -> T | None:
        """What is read; None if it cannot be."""
        try:
            return read()
        except (OSError, ValueError, IpvsctlError) as error:
            self.unread.append(f"{what}: {error}")
            return None


class PartialObservation:
    """Remembers the parts of a kernel that could not be read, and why.

    Attributes:
        unread: see `Observed`.
    """

    def __init__(self) -> None:
        self.unread: dict[Part, str] = {}

    def part(self, part: Part, steps: Steps[T], otherwise: T) -> Steps[T]:
        """What is read in steps; something else if it cannot be."""
        try:
            return (yield from steps)
        except (KernelError, WireError) as error:
            self.unread[part] = str(error)
            return otherwise
