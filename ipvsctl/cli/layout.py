"""Lines of styled text in columns.

A node has up to some hundred thousand lines; a library's table, which measures and
wraps every cell, takes the better part of a minute for them.
"""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_GAP: Final = 2
_LEAST_NOTES: Final = 16
"""Columns; with less room for the notes the terminal may wrap the lines itself."""


class Span(NamedTuple):
    """Text in one style, which is rich's: `bold red`."""

    text: str
    style: str = ""


Line = tuple[Span, ...]


class Row(NamedTuple):
    """One row; with one cell and no notes it is a title, which may be any length.

    Attributes:
        cells: one for each column; "" leaves it empty.
        notes: in the last column, separated by commas.
    """

    cells: tuple[Span, ...]
    notes: tuple[Span, ...] = ()


class Column(NamedTuple):
    """A column's name and whether its cells stand at its right."""

    name: str
    is_number: bool = False


def lay_out(
    columns: Sequence[Column], rows: Sequence[Row], width: int | None
) -> Iterator[Line]:
    """Put rows under each other.

    Args:
        columns: the last one takes the notes.
        rows: their cells are never cut.
        width: of the terminal; notes that do not fit go on in the next line. None is
            as wide as it needs to be.

    Yields:
        Lines without trailing blanks, the names of the columns first.
    """
    head = Row(
        tuple(Span(column.name, "dim") for column in columns[:-1]),
        (Span(columns[-1].name, "dim"),),
    )
    table = [head, *rows]
    widths = [
        max(len(row.cells[i].text) for row in table if i < len(row.cells) > 1)
        for i in range(len(columns) - 1)
    ]
    start = sum(widths) + _GAP * len(widths)
    room = None if width is None or width - start < _LEAST_NOTES else width - start
    for row in table:
        first, *rest = fold(row.notes, room)
        yield _line(row.cells, columns, widths, first)
        for notes in rest:
            yield (Span(" " * start), *notes)


def _line(
    cells: tuple[Span, ...],
    columns: Sequence[Column],
    widths: Sequence[int],
    notes: Line,
) -> Line:
    spans: list[Span] = []
    blanks = 0
    for cell, column, width in zip(cells, columns, widths, strict=False):
        missing = max(width - len(cell.text), 0)
        if cell.text:
            before = blanks + (missing if column.is_number else 0)
            if before:
                spans.append(Span(" " * before))
            spans.append(cell)
            blanks = _GAP + (0 if column.is_number else missing)
        else:
            blanks += width + _GAP
    if notes:
        spans += (Span(" " * blanks), *notes)
    return tuple(spans)


def fold(
    notes: tuple[Span, ...], room: int | None, *, between: str = ", "
) -> Iterator[Line]:
    """Notes in lines of at most `room` columns; None is any number.

    Args:
        notes: those that are too long go on in the next line.
        room: of every line.
        between: what stands between two, and a blank at its end.
    """
    mark, gap = between.rstrip(), between[len(between.rstrip()) :]
    line: list[Span] = []
    used = 0
    for note, comma in _pieces(notes, room, mark):
        length = len(note.text) + len(comma)
        if line and room is not None and used + len(gap) + length > room:
            yield tuple(line)
            line, used = [], 0
        if line:
            line.append(Span(gap))
            used += len(gap)
        line += (note, Span(comma)) if comma else (note,)
        used += length
    yield tuple(line)


def count(number: int, noun: str) -> str:
    """`1 Service`, `2,000 Services`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _pieces(
    notes: tuple[Span, ...], room: int | None, mark: str
) -> Iterator[tuple[Span, str]]:
    """The notes, long ones in parts, each with what follows it."""
    for position, note in enumerate(notes, start=1):
        comma = mark if position < len(notes) else ""
        if room is None or len(note.text) + len(comma) <= room:
            yield note, comma
            continue
        *parts, last = textwrap.wrap(note.text, room - 1, break_on_hyphens=False)
        for part in parts:
            yield Span(part, note.style), ""
        yield Span(last, note.style), comma
