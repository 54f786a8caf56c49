"""The pages of the commands have their help, as it is."""

import pytest

from tests.commands.page import DIRECTORY, commands, printed, shape, usage


@pytest.mark.parametrize("command", commands())
def test_help(command: str) -> None:
    """Nobody changed an option, or a page, alone (see the page's first lines)."""
    text = (DIRECTORY / f"{command}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# ipvsctl {command}\n")
    shown, *outputs = printed(text)
    assert shown == usage(command)
    assert all(said.startswith(f"# ipvsctl {command}") for said in outputs)
    assert outputs


def test_nothing_else_has_a_page() -> None:
    """A command that is gone takes its page with it."""
    assert {path.stem for path in DIRECTORY.glob("*.md")} == {*commands()}


def test_shape() -> None:
    """Numbers and widths are left out of it; words are not."""
    assert shape("a  12,000  1.5k 3s ago 240B 1.2MB\n10.96.0.10:80   ok") == [
        "a 0 0 0 ago 0 0",
        "0:0 ok",
    ]
    assert shape("1 different") != shape("1 ok")
