"""The table of docs/performance.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.report import Line, markdown

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN = "<!-- what follows is written by `nox -s bench -- --write` -->"
END = "<!-- end of what is written by the command -->"


def write(found: Sequence[Line], machine: Mapping[str, str]) -> None:
    """Replace what is between the two marks.

    Raises:
        ValueError: the page has not got them.
    """
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    body = f"{BEGIN}\n\nMeasured on: {told_of(machine)}.\n\n{markdown(list(found))}\n\n"
    PAGE.write_text(f"{before}{body}{END}{after}")


def told_of(machine: Mapping[str, str]) -> str:
    """What the figures were measured on, in a line."""
    return ", ".join(f"{name} {value}" for name, value in machine.items())
