"""Lines in columns."""

import pytest

from ipvsctl.cli.layout import Column, Row, Span, lay_out

COLUMNS = (Column("NAME"), Column("N", is_number=True), Column("STATE"))
ROWS = (
    Row((Span("a title of any length"),)),
    Row((Span("long"), Span("1")), (Span("bound"), Span("persistent"), Span("x"))),
    Row((Span("s"), Span("100")), (Span("ok"),)),
    Row((Span(""), Span("7"))),
    Row((Span("t"), Span(""))),
)


def laid_out(width: int | None) -> list[str]:
    """The text of the lines."""
    lines = lay_out(COLUMNS, ROWS, width)
    return ["".join(span.text for span in line) for line in lines]


@pytest.mark.parametrize("width", [None, 80, 20])
def test_columns_stand_under_each_other(width: int | None) -> None:
    """Numbers to the right, no trailing blanks; a terminal too narrow is not tried."""
    assert laid_out(width) == [
        "NAME    N  STATE",
        "a title of any length",
        "long    1  bound, persistent, x",
        "s     100  ok",
        "        7",
        "t",
    ]


def test_notes_go_on_in_the_next_line() -> None:
    """They are folded between notes, under their column."""
    assert laid_out(28)[2:5] == [
        "long    1  bound,",
        "           persistent, x",
        "s     100  ok",
    ]


def test_styles_are_kept() -> None:
    """A span is never cut, so its style is what it was."""
    rows = (Row((Span("a", "red"), Span("1")), (Span("ok", "dim"),)),)
    (_, line) = lay_out(COLUMNS, rows, None)
    assert [span for span in line if span.style] == [
        Span("a", "red"),
        Span("ok", "dim"),
    ]
