"""What all commands have, and how each is found when it is named."""

from collections.abc import Callable
from typing import Final, TypeVar

import typer
import typer.main
from typer.core import TyperCommand

from ipvsctl.cli.plain_values import PlainCommand

STATUSES: Final = "Exit status: 0 ok, 2 error."
"""Of a command that says no more with it."""

NO_MARKUP: Final = None
"""No rich markup: importing it costs more than most commands."""

_alone: Final[dict[str, typer.Typer]] = {}
"""Each command, as the only one of a command line."""

Function = TypeVar("Function", bound=Callable[..., None])


def registered(*, epilog: str) -> Callable[[Function], Function]:
    """Make a command of a function, of its name.

    Args:
        epilog: the end of its help.
    """

    def keep(function: Function) -> Function:
        alone = typer.Typer(add_completion=False, rich_markup_mode=NO_MARKUP)
        alone.command(cls=PlainCommand, epilog=epilog)(function)
        _alone[function.__name__] = alone
        return function

    return keep


def made(name: str) -> TyperCommand:
    """The command of a function that has been imported.

    Typer reads the function's parameters for it, which takes as long as importing it.
    """
    found = typer.main.get_command(_alone[name])
    if not isinstance(found, TyperCommand):
        raise TypeError(found)
    return found
