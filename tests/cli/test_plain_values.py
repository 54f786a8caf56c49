"""`plain_values`: what typer makes of a value, and its words where it refuses it."""

import sys
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
import typer.testing
from typer.core import TyperGroup

from ipvsctl.cli.app import app
from ipvsctl.cli.plain_values import plain_value

VALUES: tuple[Any, ...] = (
    None,
    "",
    "a",
    "json",
    "JSON",
    "health",
    "0",
    "2.5",
    "-1",
    "ü",
    "\udcff",
    "/",
    "/no/such/place",
    "/dev/null",
    "/dev/null/below",
    0,
    3,
    -1,
    2.5,
    True,
    Path("/"),
    (),
    ("/", "/no/such/place"),
    ["/", "\udcff"],
    ["/", 3],
)


def options() -> list[Any]:
    """Every option and argument of every command, and of the program, once a kind."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    context = typer.Context(group)
    found = {}
    for command in (group, *group.commands.values()):
        params: list[Any] = command.get_params(context)
        for option in params:
            about = option.type_descriptor.parameter_info
            kind = option.type_descriptor.annotation
            limits = (about.min, about.max, option.multiple, option.nargs)
            found[f"{kind} {limits} {option.default is None}"] = option
    return [*found.values()]


def outcome(look: Callable[[], Any]) -> tuple[str, object]:
    """What comes of a value: another one, or an error with its words."""
    try:
        value = look()
    except typer.BadParameter as error:
        return "refused", error.message
    return type(value).__name__, value


@pytest.mark.parametrize("option", options(), ids=lambda option: str(option.name))
def test_a_value_is_what_typer_makes_of_it(option: Any) -> None:
    """Of each type that an option has."""
    context = typer.Context(typer.main.get_command(app))
    ours = option.get_runtime_param()
    typers = type(option).get_runtime_param(option)
    assert type(ours) is not type(typers)
    for value in (*VALUES, option.default):
        taken, expected = (
            outcome(partial(way.coerce, value, param=option, ctx=context))
            for way in (ours, typers)
        )
        assert taken == expected, value


class _Word(StrEnum):
    YES = "yes"


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        (str, "a", "a"),
        (int, 3, 3),
        (float, 2.5, 2.5),
        (_Word, "yes", _Word.YES),
        (_Word, _Word.YES, _Word.YES),
        (Path, "/no/such/place", Path("/no/such/place")),
        (Path, Path("/"), Path("/")),
        (list[Path], ("/",), [Path("/")]),
    ],
)
def test_plain_values_need_no_other_look(
    kind: object, value: object, taken: object
) -> None:
    """The usual ones, given or not."""
    assert plain_value(kind, value) == taken


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (str, "\udcff"),
        (int, "3"),
        (int, True),
        (_Word, "no"),
        (Path, ""),
        (Path, "\udcff"),
        (list[Path], "/"),
        (list[Path], ("/", 3)),
        (list, ("/",)),
        (tuple[str, str], ("a", "b")),
    ],
)
def test_others_do(kind: object, value: object) -> None:
    """What is of another type, and text that may be none."""
    assert plain_value(kind, value) is None


def test_what_is_there_must_be_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is typer that says so."""
    monkeypatch.setattr("os.access", lambda *_: False)
    assert plain_value(Path, str(tmp_path)) is None
    assert plain_value(Path, str(tmp_path / "nothing")) == tmp_path / "nothing"


def test_pydantic_is_there_for_what_is_wrong() -> None:
    """Else the comparison above would compare nothing."""
    typer.testing.CliRunner().invoke(app, ["status", "-o", "xml"])
    assert "pydantic" in sys.modules
