"""A page for each command, and reading one again."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from ipvsctl.cli.app import app

DIRECTORY: Final = Path(__file__).parents[2] / "docs" / "commands"

_MADE: Final = """\
The help is the program's own. The rest was printed in the lab, by a node with a real
kernel that serves the manifests of `examples/`; a test runs all of it again.
The page is made by `python -m tests.lab -- python -m tests.commands`.
"""

_ANCHORS: Final = {
    "apply": "diff-apply-cleanup",
    "cleanup": "diff-apply-cleanup",
    "diff": "diff-apply-cleanup",
}


class Scene(NamedTuple):
    """A command that is shown.

    Attributes:
        page: of which command.
        told: what the reader should know before, a sentence.
        words: without the program.
        said: what it printed.
        status: its exit status.
    """

    page: str
    told: str
    words: str
    said: str
    status: int


def commands() -> list[str]:
    """Every command, in the order of `--help`."""
    group = typer.main.get_command(app)
    if not isinstance(group, TyperGroup):
        raise TypeError(group)
    return [*group.commands]


def usage(command: str) -> str:
    """Its `--help`."""
    said = CliRunner().invoke(app, [command, "--help"], prog_name="ipvsctl").stdout
    return "\n".join(line.rstrip() for line in said.strip().splitlines())


def page(command: str, scenes: Iterable[Scene]) -> str:
    """The whole page."""
    anchor = _ANCHORS.get(command, command)
    link = "" if command == "version" else f"#{anchor}"
    parts = [
        f"# ipvsctl {command}",
        f"What it means is in [Commands](../cli.md{link}).\n{_MADE}".strip(),
        _block(usage(command)),
    ]
    for scene in scenes:
        ended = f"\n\nExit status {scene.status}." if scene.status else ""
        printed = _block(f"# ipvsctl {scene.words}\n{scene.said}")
        parts += [f"{scene.told}:", printed + ended]
    return "\n\n".join(parts) + "\n"


def printed(text: str) -> list[str]:
    """The blocks of a page: first the help, then what was printed."""
    return re.findall(r"^```text\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)


def shape(text: str) -> list[str]:
    """What is the same whenever it is printed: no numbers, and no widths."""
    return [
        " ".join(re.sub(r"\d[\d,.]*(s|[kMG]?B?)\b", "0", line).split())
        for line in text.splitlines()
    ]


def _block(text: str) -> str:
    return f"```text\n{text}\n```"
