"""The page has each change, with what became of it."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.reliability.drift import DRIFTS
from tests.reliability.page import PAGE, put

ROOT: Final = Path(__file__).parents[2]


def test_every_change_is_on_the_page() -> None:
    """In their order, with a figure for each time that it was done."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| change |"))
    end = lines.index("<!-- /drift -->")
    rows = [line.split("|") for line in lines[start + 2 : end] if line]
    assert [row[1].strip() for row in rows] == [drift.name for drift in DRIFTS]
    for row in rows:
        lost, healed = (row[n].split(",") for n in (3, 4))
        assert len(lost) == len(healed) >= 3
        assert all(count.strip().isdigit() for count in lost)


def test_figures_take_the_place_of_those_before(tmp_path: Path) -> None:
    """All else on the page stays."""
    page = tmp_path / "page.md"
    page.write_text("# a\n<!-- b -->\n<!-- /b -->\nc\n")
    for figures in ("1", "2"):
        put("b", [figures], page)
        assert page.read_text() == (f"# a\n<!-- b -->\n\n{figures}\n\n<!-- /b -->\nc\n")
    with pytest.raises(ValueError, match="has no place x"):
        put("x", ["3"], page)


def test_each_error_has_a_test_that_is_there() -> None:
    """In the last column: a file, or one of its tests."""
    rows = PAGE.read_text("utf-8").partition("## Where each error ends")[2]
    named = re.findall(r"\| `(tests/\S+)` \|$", rows, re.MULTILINE)
    assert len(named) > 25
    for name in named:
        path, _, test = name.partition("::")
        text = (ROOT / path).read_text("utf-8")
        assert not test or f"def {test}(" in text, name
