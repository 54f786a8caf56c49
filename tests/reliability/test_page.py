"""The page has each change, with what became of it."""

from tests.reliability.drift import DRIFTS
from tests.reliability.page import PAGE


def test_every_change_is_on_the_page() -> None:
    """In their order, with a figure for each time that it was done."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| change |"))
    rows = [line.split("|") for line in lines[start + 2 :] if line.startswith("| ")]
    assert [row[1].strip() for row in rows] == [drift.name for drift in DRIFTS]
    for row in rows:
        lost, healed = (row[n].split(",") for n in (3, 4))
        assert len(lost) == len(healed) >= 3
        assert all(count.strip().isdigit() for count in lost)
