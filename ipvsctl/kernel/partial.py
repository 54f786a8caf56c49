"""Readings of which each part may fail alone."""

from collections.abc import Callable
from typing import TypeVar

from ipvsctl.model.errors import IpvsctlError

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
