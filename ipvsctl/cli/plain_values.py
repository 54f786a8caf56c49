"""Values of options, taken without pydantic where nothing is wrong with them.

typer has pydantic check every value, those too that nobody gave: importing it is half
of the time that a command takes to start, and costs a daemon 7 MB. A value that is
plainly of its option's type is taken as it is. Any other goes to typer, so that each
error is in typer's words.
"""

import os
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin

from typer.core import TyperCommand, TyperGroup


class PlainCommand(TyperCommand):
    """A command whose plain values are taken as they are."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401  # typer's context
        """See typer."""
        return _plain(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """The same of the program's own options."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401  # typer's context
        """See typer."""
        return _plain(super().get_params(ctx))


def _plain(options: list[Any]) -> list[Any]:
    """Have typer ask us first.

    Its options have a method for it, and it takes no class of ours for them. Where
    another release has no such method, nothing is taken as it is, and tests fail.
    """
    for option in options:
        method = getattr(type(option), "get_runtime_param", None)
        if method is not None:
            option.get_runtime_param = partial(PlainValues, partial(method, option))
    return options


class PlainValues:
    """What becomes of the values of an option.

    Args:
        thorough: typer's own.
    """

    def __init__(self, thorough: Callable[[], Any]) -> None:
        self._thorough = thorough

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401  # typer's
        """The value as its option's type; None, or nothing, for None.

        Raises:
            typer.BadParameter: it is none.
        """
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        taken = plain_value(param.type_descriptor.annotation, value)
        if taken is not None and _is_within_limits(param, taken):
            return taken
        return self._thorough().coerce(value, param=param, ctx=ctx)


def plain_value(kind: Any, value: Any) -> Any:  # noqa: ANN401  # of any type
    """The value as this type; None where that needs a thorough look."""
    if get_origin(kind) is list and isinstance(value, list | tuple):
        (each,) = get_args(kind)
        items = [plain_value(each, item) for item in value]
        return None if any(item is None for item in items) else items
    if not isinstance(kind, type):
        return None
    if kind is Path:
        return _path(value)
    if type(value) is kind:
        # Other text may be none at all: bytes that are in no encoding.
        return value if not isinstance(value, str) or value.isascii() else None
    if issubclass(kind, Enum) and isinstance(value, str):
        return next((member for member in kind if member.value == value), None)
    return None


def _path(value: Any) -> Path | None:  # noqa: ANN401  # of any type
    text = str(value) if isinstance(value, str | Path) else ""
    if not text or not text.isascii():
        return None
    # One that is there must be readable.
    is_there = os.path.exists(text)  # noqa: PTH110  # pathlib's raises
    return None if is_there and not os.access(text, os.R_OK) else Path(value)


def _is_within_limits(option: Any, value: Any) -> bool:  # noqa: ANN401  # of any type
    about = option.type_descriptor.parameter_info
    if about.min is not None and value < about.min:
        return False
    return about.max is None or bool(value <= about.max)
