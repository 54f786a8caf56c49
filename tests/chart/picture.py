"""The picture of the dashboard in docs: `python -m tests.chart.picture` draws it.

No Grafana is at hand, so this is no photograph. A daemon runs for a minute and a half
on a fake kernel, beside a cluster where something always happens; a real Prometheus
scrapes it and answers the panels' own queries; and here that is drawn, each panel at
its place.
"""

import asyncio
import json
import math
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from tests.chart.values import CHART, ROOT
from tests.lab.prometheus import Prometheus, prometheus
from tests.lab.test_prometheus import lively
from tests.serve.test_health_checks import free_port

Panel = Mapping[str, Any]
Lines = dict[str, list[tuple[float, float]]]

DASHBOARD: Final = CHART / "files" / "dashboard.json"
PICTURE: Final = ROOT / "docs" / "dashboard.svg"

_SHOWN_S: Final = 90
_VARIABLES: Final = {
    "$__rate_interval": "10s",
    "$job": "kube-proxy",
    "$node": ".*",
    "$instance": ".*",
}
_COLUMN: Final = 50
_LINE: Final = 24
_LEGEND: Final = 3
"""Lines of a panel that are named."""
_COLORS: Final = ("#3274d9", "#e0752d", "#508642", "#a352cc", "#bf1b00", "#8f6b00")
_STEPS: Final = {
    "green": "#299c46",
    "orange": "#e08a00",
    "red": "#c4162a",
    "blue": "#1f60c4",
}
_UNITS: Final = {
    "cps": "/s",
    "reqps": "/s",
    "s": " s",
    "Bps": "B/s",
    "bytes": "B",
    "percentunit": "%",
}


async def watch(directory: Path) -> dict[int, list[Lines]]:
    """What the queries of each panel say, by its id."""
    port = free_port()
    async with (
        lively(directory) as node,
        prometheus(directory, port=port, target=node.port, rules=[]) as server,
    ):
        await asyncio.sleep(_SHOWN_S)
        return {
            panel["id"]: [await _lines(server, one) for one in panel["targets"]]
            for panel in _panels()
        }


async def _lines(server: Prometheus, target: Mapping[str, str]) -> Lines:
    query = target["expr"]
    for name, value in _VARIABLES.items():
        query = query.replace(name, value)
    found: Lines = {}
    for series in await server.query(f"({query})[{_SHOWN_S}s:2s]"):
        labels = {"node": "node-0", **series["metric"]}
        name = re.sub(
            r"\{\{(\w+)\}\}",
            lambda word, labels=labels: labels.get(word[1], ""),  # type: ignore[misc]  # mypy knows no defaults of lambdas
            target["legendFormat"],
        )
        points = [(float(at), float(value)) for at, value in series["values"]]
        # The address is that of one run.
        name = re.sub(r" 127\.0\.0\.1:\d+", "", name)
        found[name] = [point for point in points if math.isfinite(point[1])]
    return found


def _panels() -> list[Any]:
    found: list[Any] = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def draw(said: Mapping[int, list[Lines]]) -> str:
    """The picture, as SVG."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels) * _LINE
    width = 24 * _COLUMN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="11" fill="#1f2933">'
    )
    parts = [head, _rect(0, 0, width, height, "#f4f5f5")]
    for panel in panels:
        parts += _panel(panel, said.get(panel["id"], []))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, said: list[Lines]) -> Iterator[str]:
    place = panel["gridPos"]
    x, y = place["x"] * _COLUMN + 3, place["y"] * _LINE + 3
    width, height = place["w"] * _COLUMN - 6, place["h"] * _LINE - 6
    if panel["type"] == "row":
        yield _text(x + 4, y + 14, panel["title"], 'font-weight="bold" font-size="13"')
        return
    lines = {name: points for one in said for name, points in one.items() if points}
    if panel["type"] == "stat":
        yield from _stat(panel, lines, (x, y, width, height))
    else:
        yield from _chart(panel, lines, (x, y, width, height))


Box = tuple[float, float, float, float]


def _stat(panel: Panel, lines: Lines, box: Box) -> Iterator[str]:
    x, y, width, height = box
    value = max((points[-1][1] for points in lines.values()), default=0)
    defaults = panel["fieldConfig"]["defaults"]
    color = "green"
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    yield _rect(x, y, width, height, _STEPS[color])
    white = 'fill="white"'
    yield _text(x + 8, y + 17, panel["title"], white)
    shown = _number(value, defaults["unit"])
    yield _text(x + 8, y + 60, shown, f'{white} font-size="30"')


def _chart(panel: Panel, lines: Lines, box: Box) -> Iterator[str]:
    x, y, width, height = box
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults["unit"]
    yield _rect(x, y, width, height, "white")
    yield _text(x + 8, y + 17, panel["title"], 'font-weight="bold"')
    left, top, right, bottom = x + 60, y + 30, x + width - 10, y + height - 34
    points = [point for one in lines.values() for point in one]
    first = min((at for at, _ in points), default=0)
    last = max((at for at, _ in points), default=1)
    most = max((value for _, value in points), default=0) or 1
    for share in (0, 0.5, 1):
        level = bottom - (bottom - top) * share
        yield f'<path d="M{left} {level:.0f}H{right}" stroke="#dde1e6"/>'
        shown = _number(most * share, unit)
        yield _text(left - 5, level + 4, shown, 'text-anchor="end" fill="#52606d"')
    bound = defaults.get("thresholds", {"steps": [{"value": None}]})["steps"][-1][
        "value"
    ]
    if bound is not None and bound <= most:
        level = bottom - (bottom - top) * bound / most
        dashed = f'stroke="{_STEPS["red"]}" stroke-dasharray="4 4"'
        yield f'<path d="M{left} {level:.0f}H{right}" {dashed}/>'
    for index, one in enumerate(lines.values()):
        path = "L".join(
            f"{left + (right - left) * (at - first) / ((last - first) or 1):.0f}"
            f" {bottom - (bottom - top) * value / most:.1f}"
            for at, value in one
        )
        color = _COLORS[index % len(_COLORS)]
        yield f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="1.5"/>'
    yield from _legend(lines, x + 8, y + height - 10, width - 16)


def _legend(names: Iterable[str], x: float, y: float, width: float) -> Iterator[str]:
    shown = list(names)
    more = len(shown) - _LEGEND
    step = width / min(max(len(shown), 1), _LEGEND)
    for index, name in enumerate(shown[:_LEGEND]):
        at = x + index * step
        yield _rect(at, y - 7, 8, 3, _COLORS[index % len(_COLORS)])
        last = index == _LEGEND - 1 and more > 0
        yield _text(at + 12, y - 2, f"{name}, {more} more" if last else name, "")


def _number(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit in {"bytes", "Bps"}:
        for sign, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
            if value >= size:
                return f"{value / size:.3g} {sign}{_UNITS[unit]}"
    if unit == "s" and 0 < value < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.4g}{_UNITS.get(unit, '')}"


def _rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}"/>'


def _text(x: float, y: float, words: str, more: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{escape(words)}</text>'


async def main() -> None:
    """Draw it."""
    with tempfile.TemporaryDirectory() as directory:
        said = await watch(Path(directory))
    PICTURE.write_text(draw(said), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
