"""The table of ipvsctl beside kube-proxy."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tests.bench.peers.contenders import NAMES, NATIVELY
from tests.bench.report import in_ms, in_s
from tests.bench.sizes import Figures

TITLES: Final = ("figure", "Services", *NAMES)
NOT_RUN: Final = "not run"
MACHINE: Final = "machine"

Told = Mapping[str, str]
"""Of each proxy its version, or why it is not run; and what it was measured on."""

_Write = Callable[[float], str]


def peer_lines(by_size: Mapping[int, Figures], told: Told) -> list[str]:
    """The table as lines of Markdown, and what there is to know of its columns.

    Args:
        by_size: figures by number of Services, each named `PROXY: FIGURE`.
        told: see `Told`.
    """
    rows = [TITLES, ("---",) * len(TITLES), *peer_rows(by_size)]
    return [
        f"Measured on: {told.get(MACHINE, NOT_RUN)}.",
        "",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        *(f"- {name}: {told[name]}" for name in (*NAMES, NATIVELY) if name in told),
    ]


def peer_rows(by_size: Mapping[int, Figures]) -> Iterator[tuple[str, ...]]:
    """Rows below `TITLES`."""
    for services, found in sorted(by_size.items()):
        for title, name, write in _ROWS:
            cells = (_cell(figures_of(proxy, found), name, write) for proxy in NAMES)
            yield (title, f"{services:,}", *cells)


def figures_of(proxy: str, found: Figures) -> Figures:
    """Those of one proxy."""
    begin = f"{proxy}: "
    return {
        name.removeprefix(begin): value
        for name, value in found.items()
        if name.startswith(begin)
    }


def _cell(own: Figures, name: str, write: _Write) -> str:
    if name in own:
        return write(own[name])
    limit = _LIMITS.get(name)
    if limit in own:
        return f"not in {own[limit]:.0f} s"
    return "" if own else NOT_RUN


def _in_mib(size: float) -> str:
    return f"{size:.0f} MiB"


def _count(value: float) -> str:
    return f"{value:,.0f}"


_LIMITS: Final = {
    "reachable, s": "limit, s",
    "first sync, s": "limit, s",
    "change, s": "change, limit",
    "churn 10, late, s": "churn 10, limit",
    "churn 200, late, s": "churn 200, limit",
}
"""Within what something was to be done that was not."""

_ROWS: Final[tuple[tuple[str, str, _Write], ...]] = (
    ("start to all Services reachable", "reachable, s", in_s),
    ("start to first sync done", "first sync, s", in_s),
    ("- processes started", "processes", _count),
    ("- CPU", "CPU, s", in_s),
    ("- RSS then", "RSS, MiB", _in_mib),
    ("one change, median", "change, s", in_ms),
    ("- processes started", "change, processes", _count),
    ("- CPU", "change, CPU, s", in_ms),
    ("10 changes a second for 20 s, CPU", "churn 10, CPU, s", in_s),
    ("- they took", "churn 10, took, s", in_s),
    ("- processes started", "churn 10, processes", _count),
    ("- one more change is there after", "churn 10, late, s", in_s),
    ("200 changes a second for 20 s, CPU", "churn 200, CPU, s", in_s),
    ("- they took", "churn 200, took, s", in_s),
    ("- processes started", "churn 200, processes", _count),
    ("- one more change is there after", "churn 200, late, s", in_s),
    ("peak RSS", "peak RSS, MiB", _in_mib),
)
