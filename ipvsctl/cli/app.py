"""The command line, whole: every command is there, and made when it is named.

Most of the time that a command takes to start is spent on commands: importing them, and
reading their parameters. So that is done for the one that is asked for, and for all of
them where all are listed.
"""

from collections import UserDict
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from ipvsctl import __version__
from ipvsctl.cli.commands.root import NO_MARKUP, made
from ipvsctl.cli.plain_values import PlainGroup

MODULES: Final = {
    "run": "imposing",
    "apply": "imposing",
    "diff": "imposing",
    "cleanup": "imposing",
    "status": "looking",
    "check": "looking",
    "explain": "reasons",
    "events": "reasons",
    "conns": "traffic",
    "top": "traffic",
    "render": "without_kernel",
    "version": "without_kernel",
}
"""Where each command is, under `commands`; in the order of `--help`."""


class _Commands(UserDict[str, Any]):
    """Commands by name: None until one is asked for."""

    def __getitem__(self, name: str) -> TyperCommand:
        if self.data[name] is None:
            import_module(f"ipvsctl.cli.commands.{MODULES[name]}")
            self.data[name] = made(name)
        command: TyperCommand = self.data[name]
        return command


class _Group(PlainGroup):
    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  # typer's
        super().__init__(**settings)
        self.commands = _Commands(dict.fromkeys(MODULES))


app = typer.Typer(
    name="ipvsctl",
    cls=_Group,
    help="The Kubernetes service proxy for clusters that run on IPVS.",
    no_args_is_help=True,
    rich_markup_mode=NO_MARKUP,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:  # noqa: FBT001  # typer's
    if is_asked:
        typer.echo(f"ipvsctl {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    is_version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    del is_version
