"""`events`: what the daemon did to whom."""

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from ipvsctl.cli.daemon import ask
from ipvsctl.cli.errors import ExitStatus, complain
from ipvsctl.cli.layout import Column, Line, Row, Span, lay_out
from ipvsctl.cli.options import PlanFormat
from ipvsctl.cli.output import print_data, print_styled, terminal_width
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.history import Entry, History, What
from ipvsctl.model.target import NamedTarget
from ipvsctl.model.text import one_line

_POLL_S: Final = 1.0

_STYLES: Final = {
    What.SYNC: "",
    What.REPAIR: "red",
    What.FAILED: "bold red",
    What.DRAIN: "yellow",
    What.DRAINED: "",
    What.PROBLEM: "red",
    What.OTHER: "",
}
_COLUMNS: Final = (Column("TIME"), Column("WHAT"), Column("SERVICE"), Column("DONE"))
_WIDTHS: Final = (19, 7, 30)


def ask_for_events(socket: Path, since: int = 0) -> History:
    """What the daemon remembers.

    Raises:
        ConfigError: there is none.
        DaemonError: it cannot say.
    """
    answer = ask(socket, "/v1/events", {"since": str(since)}, needs=2)
    if answer is None:
        reason = "no ipvsctl run answers there, and only a daemon has a memory"
        raise ConfigError(field="--socket", value=str(socket), reason=reason)
    return msgspec.json.decode(answer, type=History)


def print_events(
    socket: Path, target: NamedTarget | None, form: PlanFormat, *, follow: bool
) -> ExitStatus:
    """Print what is remembered; with `follow` what comes, until interrupted."""
    history = ask_for_events(socket)
    _print([*_meant(history.entries, target)], form, follow=follow)
    while follow:
        time.sleep(_POLL_S)
        serial = history.entries[-1].serial if history.entries else 0
        found = ask_for_events(socket, serial)
        if found.daemon != history.daemon:
            complain("note: the daemon has been started anew")
            found = ask_for_events(socket)
            history = msgspec.structs.replace(found, entries=())
        if found.lost and history.entries:
            complain(f"note: {found.lost} events are forgotten already")
        for entry in _meant(found.entries, target):
            _print_line(entry, form)
        if found.entries:
            history = found
    return ExitStatus.OK


def _meant(entries: Iterable[Entry], target: NamedTarget | None) -> Iterator[Entry]:
    for entry in entries:
        if target is None or any(_is_named(name, target) for name in entry.services):
            yield entry


def _is_named(service: str, target: NamedTarget) -> bool:
    namespace, _, name = service.partition("/")
    return name == target.name and target.namespace in {"", namespace}


def _print(entries: list[Entry], form: PlanFormat, *, follow: bool) -> None:
    if follow:
        for entry in entries:
            _print_line(entry, form)
    elif form is not PlanFormat.TABLE:
        print_data(entries, form)
    elif entries:
        rows = [_row(entry) for entry in entries]
        print_styled([*lay_out(_COLUMNS, rows, terminal_width())])
    else:
        print_styled([(Span("nothing was done yet"),)])


def _print_line(entry: Entry, form: PlanFormat) -> None:
    """One event a line, as soon as it is known."""
    if form is PlanFormat.TABLE:
        print_styled([_line(entry)])
    elif form is PlanFormat.JSON:
        sys.stdout.write(msgspec.json.encode(entry).decode() + "\n")
    else:
        print_data([entry], form)
    sys.stdout.flush()


def _line(entry: Entry) -> Line:
    words = (_time(entry), entry.what.value, _services(entry))
    cells = [f"{word:<{width}}" for word, width in zip(words, _WIDTHS, strict=True)]
    style = _STYLES[entry.what]
    return (
        Span(f"{cells[0]}  ", "dim"),
        Span(f"{cells[1]}  ", style),
        Span(f"{cells[2]}  "),
        Span(one_line(entry.text)),
    )


def _row(entry: Entry) -> Row:
    return Row(
        (
            Span(_time(entry), "dim"),
            Span(entry.what.value, _STYLES[entry.what]),
            Span(_services(entry)),
        ),
        (Span(one_line(entry.text)),),
    )


def _time(entry: Entry) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.at_s))


def _services(entry: Entry) -> str:
    first, *others = entry.services or ("",)
    return one_line(first) + (f" +{len(others)}" if others else "")
