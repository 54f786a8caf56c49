"""An explanation as text."""

import textwrap
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from ipvsctl.cli.layout import Line, Span
from ipvsctl.model.explanation import Explanation, Step, Verdict
from ipvsctl.model.text import one_line

_STYLES: Mapping[Verdict, str] = MappingProxyType(
    {
        Verdict.OK: "green",
        Verdict.NOTE: "yellow",
        Verdict.UNKNOWN: "yellow",
        Verdict.BROKEN: "bold red",
    }
)
_VERDICT_WIDTH: Final = max(map(len, Verdict))
_NUMBER_WIDTH: Final = 3
_GAP: Final = 2
_LEAST_ROOM: Final = 24
"""Columns; with less the terminal may wrap the lines itself."""


def explanation_lines(explanation: Explanation, width: int | None) -> Iterator[Line]:
    """The lines to print, from top to bottom.

    Args:
        explanation: what to say.
        width: of the terminal; None is as wide as it needs to be.
    """
    yield from _head(explanation, width)
    subjects = [len(one_line(step.subject)) for step in explanation.steps]
    start = _NUMBER_WIDTH + _VERDICT_WIDTH + max(subjects, default=0) + 3 * _GAP
    number = 0
    for part in explanation.parts:
        yield ()
        yield (Span(one_line(part.title), "bold"),)
        for step in part.steps:
            number += 1
            yield from _step(number, step, start, width)


def _head(explanation: Explanation, width: int | None) -> Iterator[Line]:
    target = one_line(explanation.target)
    worst = explanation.headline
    by = f"  ({one_line(explanation.by)})" if explanation.by else ""
    if worst is None:
        yield (Span(target, "bold"), Span(" works on this node", "green"))
        if by:
            yield (Span(by.strip(), "dim"),)
        return
    number = explanation.steps.index(worst) + 1
    what = "is broken" if worst.verdict is Verdict.BROKEN else "cannot be told"
    style = _STYLES[worst.verdict]
    yield (Span(target, "bold"), Span(f" {what}", style), Span(f" (step {number})"))
    yield from _folded(f"{worst.subject}: {worst.found}", "  ", width, style)
    if worst.remedy:
        yield from _folded(f"-> {worst.remedy}", "  ", width, "")
    if by:
        yield (Span(by.strip(), "dim"),)


def _step(number: int, step: Step, start: int, width: int | None) -> Iterator[Line]:
    room = None if width is None or width - start < _LEAST_ROOM else width - start
    subject = one_line(step.subject)
    used = _NUMBER_WIDTH + _VERDICT_WIDTH + len(subject) + 2 * _GAP
    first, *rest = _fold(one_line(step.found), room)
    yield (
        Span(f"{number:>{_NUMBER_WIDTH}}{' ' * _GAP}", "dim"),
        Span(f"{step.verdict.value:<{_VERDICT_WIDTH}}", _STYLES[step.verdict]),
        Span(f"{' ' * _GAP}{subject}{' ' * (start - used)}{first}".rstrip()),
    )
    blank = " " * start
    for line in rest:
        yield (Span(f"{blank}{line}"),)
    for detail in step.details:
        for line in _fold(one_line(detail), room):
            yield (Span(f"{blank}{line}", "dim"),)
    if step.remedy:
        for line in _fold(f"-> {one_line(step.remedy)}", room):
            yield (Span(f"{blank}{line}"),)


def _folded(text: str, indent: str, width: int | None, style: str) -> Iterator[Line]:
    room = None if width is None else max(width - len(indent), _LEAST_ROOM)
    for line in _fold(one_line(text), room):
        yield (Span(f"{indent}{line}", style),)


def _fold(text: str, room: int | None) -> list[str]:
    if room is None:
        return [text]
    return textwrap.wrap(text, room, break_on_hyphens=False) or [""]
