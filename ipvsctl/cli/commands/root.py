# ruff: noqa: PLC0415
# PLC0415: a command imports what it is made of when it runs, so that the others, and
# every --help, start at once.
"""What all commands are commands of."""

from typing import Annotated, Final

import typer

STATUSES: Final = "Exit status: 0 ok, 2 error."
"""Of a command that says no more with it."""

_NO_FLAGS: Final = dict.fromkeys(
    ("help", "install_completion", "show_completion"), False
)

# No rich markup: importing it costs more than most commands.
app = typer.Typer(
    name="ipvsctl",
    help="The Kubernetes service proxy for clusters that run on IPVS.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        # A flag that is not given is None to typer, which then imports pydantic to
        # make it a boolean: half of the time that --help or `version` take.
        "default_map": {**_NO_FLAGS, "is_version": False, "version": _NO_FLAGS},
    },
)


def _print_version(is_asked: bool) -> None:  # noqa: FBT001  # typer's
    if is_asked:
        from ipvsctl import __version__

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
