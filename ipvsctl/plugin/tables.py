"""One table of what several nodes say."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from ipvsctl.plugin.kubectl import Said

_GAP: Final = "  "
_STALE_S: Final = 30.0
_SIGNS: Final = {"add": "+", "change": "~", "delete": "-"}

Answers = Mapping[str, Said]
"""Node -> what it said, in order."""


def status_table(answers: Answers) -> Iterator[str]:
    """A line for each node, and then what is not well on each.

    Args:
        answers: of `status --problems -o json`.
    """
    rows: list[Sequence[str]] = [
        (
            *("NODE", "VERSION", "SERVICES", "VIRTUAL", "EMPTY", "DRAINING"),
            *("FOREIGN", "PROBLEMS", "KERNEL", "SOURCE"),
        )
    ]
    troubles: list[Sequence[str]] = [("NODE", "SERVICE", "STATE")]
    for node, found in _parsed(answers):
        if isinstance(found, str):
            rows.append((node, *["-"] * 8, found))
            continue
        summary = found["summary"]
        counts = found.get("counts") or {}
        numbers = [
            f"{counts[name]:,}" if name in counts else "?"
            for name in (
                *("services", "virtual_servers", "without_real_servers", "draining"),
                *("foreign", "problems"),
            )
        ]
        rows.append((node, summary["version"], *numbers, *_worth(summary)))
        troubles += ((node, *trouble) for trouble in _troubles(found))
    yield from lay_out(rows)
    if len(troubles) > 1:
        yield ""
        yield from lay_out(troubles)


def diff_table(answers: Answers) -> Iterator[str]:
    """A line for each difference, and how many nodes have none.

    Args:
        answers: of `diff -o json`.
    """
    rows: list[Sequence[str]] = [("NODE", "SERVICE", "DIFFERENCE")]
    equal = 0
    for node, found in _parsed(answers):
        if isinstance(found, str):
            rows.append((node, "-", found))
            continue
        rows += (
            (node, line["service"] or "-", f"{_SIGNS[line['action']]} {line['text']}")
            for line in found["changes"]
        )
        if answers[node].status not in {0, 1}:
            reason = answers[node].stderr.splitlines() or ["not known"]
            rows.append((node, "-", reason[0]))
        elif not found["changes"]:
            equal += 1
    if len(rows) > 1:
        yield from lay_out(rows)
    if equal:
        yield f"{equal} node{'' if equal == 1 else 's'} equal"


def lines_by_node(answers: Answers) -> Iterator[str]:
    """Whatever they said, each line with its node."""
    width = max(map(len, answers), default=0)
    for node, said in answers.items():
        for line in (*said.stdout.splitlines(), *said.stderr.splitlines()):
            yield f"{node:<{width}}{_GAP}{line}".rstrip()


def data_by_node(answers: Answers) -> str:
    """JSON: node -> what it said, or its error."""
    found = {
        node: {"error": said} if isinstance(said, str) else said
        for node, said in _parsed(answers)
    }
    return json.dumps(found, indent=2)


def lay_out(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Columns, as wide as they have to be."""
    table = [*rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield _GAP.join(cells).rstrip()


def _parsed(answers: Answers) -> Iterator[tuple[str, Any]]:
    """What each node said; text if it is no answer."""
    for node, said in answers.items():
        try:
            yield node, json.loads(said.stdout)
        except ValueError:
            lines = said.stderr.splitlines() or [f"exit status {said.status}"]
            yield node, lines[-1].removeprefix("ipvsctl: error: ")


def _worth(summary: Mapping[str, Any]) -> tuple[str, str]:
    """How the kernel is, and what that is worth."""
    pending, state = summary.get("pending_ops"), summary.get("source_state") or {}
    kernel = "unknown" if pending is None else "equal"
    if pending:
        kernel = f"{pending:,} to do"
    return kernel, "; ".join((_heard(state), *state.get("doubts", ())))


def _heard(state: Mapping[str, Any]) -> str:
    age_s, error = state.get("age_s"), state.get("error", "")
    if age_s is None:
        return f"not heard yet: {error}" if error else "not heard yet"
    if error or age_s > _STALE_S:
        return f"not heard for {age_s:.0f} s: {error}".removesuffix(": ")
    return f"heard {age_s:.0f} s ago"


def _troubles(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for service in found.get("services", ()):
        name = f"{service['namespace']}/{service['name']}"
        for server in service["virtual_servers"]:
            place = f"{server['protocol']} {server['address']}:{server['port']}"
            reasons = [server.get("why", ""), *server.get("lacks", ())]
            if server.get("bound") is False:
                reasons.append("not bound")
            states = sorted(
                {real["standing"] for real in server["real_servers"]} - {"ok"}
            )
            words = [*filter(None, reasons)] or states or [server["standing"]]
            yield name, f"{place}: {', '.join(words)}"
    for problem in found.get("problems", ()):
        ref = problem["ref"]
        name = f"{ref['namespace']}/{ref['name']}".strip("/")
        parts = (problem["field"], problem["value"], problem["reason"])
        yield name, ": ".join(filter(None, parts))
