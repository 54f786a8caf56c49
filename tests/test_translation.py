"""README.zh-CN.md is README.md in Chinese: the same sections, commands and figures.

What a sentence says no test can compare; all that is the same in both languages is.
"""

import re
from pathlib import Path

import pytest

from tests.test_docs import ROOT, blocks

ENGLISH = ROOT / "README.md"
CHINESE = ROOT / "README.zh-CN.md"

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) ", re.MULTILINE)
_INLINE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)]+)\)")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def text(path: Path) -> str:
    """A page."""
    return path.read_text(encoding="utf-8")


def prose(path: Path) -> str:
    """A page without its code blocks and the line that leads to the other language."""
    without = _FENCED.sub("", text(path))
    switch = next(line for line in without.splitlines() if "README" in line)
    return without.replace(switch, "")


def both(pattern: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """What a pattern finds in the prose of each."""
    english, chinese = (pattern.findall(prose(page)) for page in (ENGLISH, CHINESE))
    return english, chinese


def test_code() -> None:
    """Every block of code is the same, byte for byte, and in the same order."""
    assert list(blocks(text(CHINESE))) == list(blocks(text(ENGLISH)))


def test_headings() -> None:
    """As many sections, of the same levels."""
    english, chinese = both(_HEADING)
    assert english == chinese


def test_the_same_in_each_section() -> None:
    """Code in a sentence, links and tables come in the same sections."""
    english, chinese = (_HEADING.split(prose(page)) for page in (ENGLISH, CHINESE))
    for one, other in zip(english, chinese, strict=True):
        for pattern in (_INLINE, _LINK):
            assert sorted(pattern.findall(one)) == sorted(pattern.findall(other))
        assert [row.count("|") for row in one.splitlines() if row.startswith("|")] == [
            row.count("|") for row in other.splitlines() if row.startswith("|")
        ]


def test_figures() -> None:
    """Versions, times and sizes are the same."""
    english, chinese = both(_NUMBER)
    assert sorted(english) == sorted(chinese)


@pytest.mark.parametrize(
    ("page", "other"), [(ENGLISH, CHINESE), (CHINESE, ENGLISH)], ids=["zh", "en"]
)
def test_each_leads_to_the_other(page: Path, other: Path) -> None:
    """At its top, before anything else."""
    title, blank, switch = text(page).splitlines()[:3]
    assert title.startswith("# ")
    assert not blank
    assert f"]({other.name})" in switch
