"""Settings on the command line and in the environment: one option for each."""

import inspect
from collections.abc import Iterable
from typing import Annotated, Any, Final

import typer

from ipvsctl.cluster.config.flags import FLAGS, Flag

Given = tuple[tuple[Flag, str, str], ...]
"""Settings that were given: which, the name of the flag or variable, and the text."""

NOTHING_GIVEN: Final[Given] = ()


def settings_of(paths: tuple[str, ...]) -> tuple[Flag, ...]:
    """The settings at these paths; all of them without any path."""
    return tuple(flag for flag in FLAGS if flag.path in paths or not paths)


def option(flag: Flag) -> inspect.Parameter:
    """The parameter of a command that takes this setting."""
    taken = typer.Option(
        flag.name,
        metavar=flag.metavar,
        envvar=flag.variable,
        help=flag.help,
        autocompletion=(lambda: list(flag.words)) if flag.words else None,
        show_default=False,
    )
    return inspect.Parameter(
        _parameter(flag),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, taken],
    )


def given_settings(
    context: typer.Context, flags: Iterable[Flag], values: dict[str, Any]
) -> Given:
    """The settings among a command's values, which they are taken out of."""
    texts = ((flag, values.pop(_parameter(flag))) for flag in flags)
    return tuple(
        (flag, _source(context, flag), text) for flag, text in texts if text is not None
    )


def _parameter(flag: Flag) -> str:
    return flag.variable.lower()


def _source(context: typer.Context, flag: Flag) -> str:
    source = context.get_parameter_source(_parameter(flag))
    is_variable = source is not None and source.name == "ENVIRONMENT"
    return flag.variable if is_variable else flag.name
