"""Where and how commands print."""

import sys
from typing import TYPE_CHECKING

import msgspec

from ipvsctl.cli.options import PlanFormat, StateFormat
from ipvsctl.cli.plain import plain

if TYPE_CHECKING:
    from rich.console import RenderableType

_UNLIMITED = 10_000


def print_data(value: object, form: StateFormat | PlanFormat) -> None:
    """Print a value as JSON, or as YAML."""
    data = plain(value)
    if form == "yaml":
        import yaml  # noqa: PLC0415  # only here

        yaml.safe_dump(data, sys.stdout, sort_keys=False, allow_unicode=True)
        return
    text = msgspec.json.format(msgspec.json.encode(data), indent=2)
    sys.stdout.write(text.decode() + "\n")


def print_lines(lines: list[str]) -> None:
    """Print lines as they are."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def print_rich(*parts: "RenderableType") -> None:
    """Print for a person.

    On a terminal in its width, unless that would cut something, and with colours;
    elsewhere as wide as it needs to be, without trailing blanks.
    """
    from rich.console import Console  # noqa: PLC0415  # data needs none
    from rich.measure import Measurement  # noqa: PLC0415  # data needs none

    # Names in objects are text, never markup.
    console = Console(markup=False, highlight=False)
    if sys.stdout.isatty():
        least = (Measurement.get(console, console.options, part) for part in parts)
        console.width = max(console.width, *(width.minimum for width in least))
        for part in parts:
            console.print(part)
        return
    console.width = _UNLIMITED
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    print_lines([line.rstrip() for line in captured.get().splitlines()])
