"""`conns`: IPVS' connections by the names of Services."""

import sys
from collections.abc import Iterable, Iterator

import msgspec

from ipvsctl.cli.layout import Column, Line, Row, Span, lay_out
from ipvsctl.cli.options import PlanFormat
from ipvsctl.cli.output import print_data, print_lines, print_styled, terminal_width
from ipvsctl.cli.plain import plain
from ipvsctl.model.connections import ConnectionCount, NamedConnection
from ipvsctl.model.count_by import By
from ipvsctl.model.neighbours import Connection
from ipvsctl.model.status import NodeStatus
from ipvsctl.model.target import Target
from ipvsctl.model.text import one_line
from ipvsctl.plan.report.connections import Names, chosen, count

_WIDTHS = (22, 22, 22, 12)
"""Columns of a list that is printed row by row: nobody knows the longest one yet."""

_HEADS = ("CLIENT", "ASKED", "ENDPOINT", "STATE", "SERVICE")


def print_connections(
    found: Iterable[Connection],
    status: NodeStatus,
    target: Target | None,
    by: By | None,
    form: PlanFormat,
    *,
    draining: bool,
) -> None:
    """Print connections, or how many there are.

    Args:
        found: the whole table; read once, and never kept.
        status: of the node, for names and drains.
        target: only those to, of or behind it; None is all.
        by: count them by it; None lists them.
        form: of the output.
        draining: only those of endpoints that drain.
    """
    names = Names(status)
    meant = chosen(map(names.of, found), target, draining=draining)
    if by is not None:
        counts = count(meant, by)
        if form is PlanFormat.TABLE:
            print_styled([*_counted(counts, by, terminal_width())])
        else:
            print_data(counts, form)
    elif form is PlanFormat.TABLE:
        print_lines(_listed(meant))
    else:
        _print_each(meant, form)


def _listed(found: Iterable[NamedConnection]) -> Iterator[str]:
    yield _columns(_HEADS)
    for one in found:
        row = one.connection
        key = row.virtual_server
        drains = " (draining)" if one.is_draining else ""
        asked = str(key).partition(" ")[2]
        words = (str(row.client), asked, str(row.real_server), row.state)
        yield _columns((*words, one_line(one.service) + drains))


def _columns(words: tuple[str, ...]) -> str:
    *cells, last = words
    padded = (f"{w:<{n}}" for w, n in zip(cells, _WIDTHS, strict=True))
    return "  ".join((*padded, last)).rstrip()


def _print_each(found: Iterable[NamedConnection], form: PlanFormat) -> None:
    """One JSON object a line, or the items of a YAML list, however many there are."""
    for one in found:
        if form is PlanFormat.JSON:
            sys.stdout.write(msgspec.json.encode(plain(one)).decode() + "\n")
        else:
            print_data([one], form)


def _counted(
    counts: list[ConnectionCount], by: By, width: int | None
) -> Iterator[Line]:
    columns = (
        Column(by.value.upper()),
        *([Column("SERVICE")] if by is By.ENDPOINT else ()),
        Column("CONNS", is_number=True),
        Column("STATES"),
    )
    return lay_out(columns, [_row(one, by) for one in counts], width)


def _row(one: ConnectionCount, by: By) -> Row:
    style = "yellow" if one.is_draining else ""
    service = (Span(one_line(one.service)),) if by is By.ENDPOINT else ()
    states = sorted(one.states.items(), key=lambda item: (-item[1], item[0]))
    notes = [Span(f"{number:,} {state}", "dim") for state, number in states]
    if one.is_draining:
        notes.insert(0, Span("draining", style))
    return Row(
        (Span(one.name or "all others", style), *service, Span(f"{one.count:,}")),
        tuple(notes),
    )
