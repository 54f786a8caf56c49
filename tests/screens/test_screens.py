"""Each screen is as it was looked at; `python -m tests.screens` writes them anew."""

from pathlib import Path
from typing import Final

import pytest

from tests.screens.scene import SCREENS
from tests.screens.terminal import plain, screen

COLUMNS: Final = (80, 120)
_GOLDEN: Final = Path(__file__).parents[1] / "golden" / "screens"

WIDER: Final = {("conns", 80), ("conns", 120), ("diff", 80), ("diff", 120)}
"""Go on in the next line by the terminal's own doing: rows whose widths nobody knows
before they come, and lines that are to be copied. (`-o wide` needs a wide one.)"""

COLOURLESS: Final = {"conns"}


def golden(name: str, columns: int) -> Path:
    """Where a text is."""
    return _GOLDEN / f"{name}-{columns}.txt"


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("name", SCREENS)
def test_a_screen(name: str, columns: int) -> None:
    """Text, colours, and nothing over the terminal's width that need not be."""
    shown = screen(name, columns)
    text = plain(shown)
    assert text == golden(name, columns).read_text(encoding="utf-8")
    assert (shown != text) == (name not in COLOURLESS)
    if (name, columns) not in {*WIDER, ("status-wide", 80)}:
        assert [line for line in text.splitlines() if len(line) > columns] == []


def test_no_other_text_is_kept() -> None:
    """A screen that is gone takes its texts with it."""
    kept = {path.name for path in _GOLDEN.iterdir()}
    assert kept == {golden(n, c).name for n in SCREENS for c in COLUMNS}
