"""The picture of docs/performance.md: seconds against Services, both logarithmic.

It is drawn of the page's own tables, which the bench writes from its JSON, so that
tables and picture can be held against each other.
"""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tests.bench.page import PAGE
from tests.bench.peers.contenders import (
    IPVSCTL,
    KUBE_PROXY_IPVS,
    KUBE_PROXY_NFTABLES,
    NAMES,
)

PICTURE: Final = PAGE.with_suffix(".svg")

_WIDTH: Final = 860
_HEIGHT: Final = 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 540, 50, 420
"""The edges of the plot; the words about its lines are beside it."""
_COLD: Final = "cold sync"
_FIRST: Final = "start to first sync done"
_INK: Final = "#1f2933"
_GRID: Final = "#cbd2d9"
_FLOOR: Final = "the floor: the kernel alone"
_OBJECTS: Final = f"{IPVSCTL}: objects to kernel"
_STARTS: Final = {name: f"{name}: from its start" for name in NAMES}
_LOOKS: Final = {
    _FLOOR: {"stroke": "#7b8794", "stroke-dasharray": "2 4"},
    _OBJECTS: {"stroke": "#0967d2"},
    _STARTS[IPVSCTL]: {"stroke": "#0967d2", "stroke-dasharray": "8 4"},
    _STARTS[KUBE_PROXY_IPVS]: {"stroke": "#ba2525"},
    _STARTS[KUBE_PROXY_NFTABLES]: {"stroke": "#8d6708"},
}
_SECONDS: Final = re.compile(r"(?P<not>not in )?(?P<number>[\d.]+) s")


class Point(NamedTuple):
    """One figure.

    Attributes:
        is_more: it was not done within these seconds.
    """

    services: int
    seconds: float
    is_more: bool = False


class Series(NamedTuple):
    """One line of the picture, smallest cluster first."""

    name: str
    points: tuple[Point, ...]


def write_picture() -> None:
    """Draw the page's tables."""
    PICTURE.write_text(draw(series_on(PAGE.read_text("utf-8"))), "utf-8")


def series_on(page: str) -> list[Series]:
    """What the tables of the page have about a node that starts empty."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if "|" in line]
    cold = [row for row in rows if row[0] == _COLD]
    first = [row for row in rows if row[0] == _FIRST]
    columns = {_FLOOR: (cold, 3), _OBJECTS: (cold, 2)}
    for place, name in enumerate(NAMES, 2):
        columns[_STARTS[name]] = (first, place)
    made = (Series(name, tuple(_points(*where))) for name, where in columns.items())
    return [series for series in made if series.points]


def draw(series: list[Series]) -> str:
    """The picture.

    Args:
        series: one of them has a point at least.
    """
    points = [point for one in series for point in one.points]
    axes = _Axes(
        _decades(point.services for point in points),
        _decades(point.seconds for point in points),
    )
    box = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {_WIDTH} {_HEIGHT}"}
    root = ET.Element("svg", {**box, "font-family": "sans-serif"})
    # Opaque, so that it can be read on a dark page too.
    _add(root, "rect", width=_WIDTH, height=_HEIGHT, rx=8, fill="#ffffff")
    title = "From nothing to all Services: seconds against Services"
    _text(root, title, _LEFT, 28, size=15, weight="bold")
    axes.draw(root)
    for place, one in enumerate(series):
        _line(root, axes, one)
        _legend(root, one.name, 70 + 26 * place)
    if any(point.is_more for point in points):
        below = 70 + 26 * len(series)
        _text(root, "\u25b3 not done within so many seconds", 562, below + 4, size=12)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


class _Axes(NamedTuple):
    """Powers of ten from the first to the last, of Services and of seconds."""

    x: tuple[int, int]
    y: tuple[int, int]

    def place(self, services: float, seconds: float) -> tuple[float, float]:
        """Where a point is drawn."""
        right = (math.log10(services) - self.x[0]) / (self.x[1] - self.x[0])
        up = (math.log10(seconds) - self.y[0]) / (self.y[1] - self.y[0])
        x = _LEFT + right * (_RIGHT - _LEFT)
        return round(x, 1), round(_BOTTOM - up * (_BOTTOM - _TOP), 1)

    def draw(self, root: ET.Element) -> None:
        """A grid with a line for each power of ten, and what they are."""
        for power in range(self.x[0], self.x[1] + 1):
            x, _ = self.place(10**power, 10 ** self.y[0])
            _add(root, "line", x1=x, x2=x, y1=_TOP, y2=_BOTTOM, stroke=_GRID)
            _text(root, f"{10**power:,}", x, _BOTTOM + 20, anchor="middle")
        for power in range(self.y[0], self.y[1] + 1):
            _, y = self.place(10 ** self.x[0], 10**power)
            _add(root, "line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, stroke=_GRID)
            _text(root, f"{10**power:,g} s", _LEFT - 8, y + 4, anchor="end")
        middle = (_LEFT + _RIGHT) / 2
        _text(root, "Services of ten endpoints", middle, _BOTTOM + 44, anchor="middle")


def _points(rows: Iterable[list[str]], column: int) -> Iterator[Point]:
    for row in rows:
        found = _SECONDS.fullmatch(row[column])
        services = row[1].replace(",", "")
        # Rows of clusters with more endpoints say so.
        if found and services.isdecimal():
            yield Point(int(services), float(found["number"]), bool(found["not"]))


def _decades(values: Iterable[float]) -> tuple[int, int]:
    powers = [math.log10(value) for value in values]
    least, most = math.floor(min(powers)), math.ceil(max(powers))
    return least, max(most, least + 1)


def _line(root: ET.Element, axes: _Axes, series: Series) -> None:
    places = [axes.place(point.services, point.seconds) for point in series.points]
    path = " ".join(f"{x},{y}" for x, y in places)
    look = {"stroke-width": "2", **_LOOKS[series.name]}
    _add(root, "polyline", points=path, fill="none", **look)
    for point, (x, y) in zip(series.points, places, strict=True):
        if point.is_more:
            triangle = f"{x - 6},{y + 5} {x + 6},{y + 5} {x},{y - 6}"
            _add(root, "polygon", points=triangle, stroke=look["stroke"], fill="white")
        else:
            _add(root, "circle", cx=x, cy=y, r=3.5, fill=look["stroke"])


def _legend(root: ET.Element, name: str, y: int) -> None:
    look = {"stroke-width": "2", **_LOOKS[name]}
    _add(root, "line", x1=556, x2=590, y1=y, y2=y, **look)
    _text(root, name, 598, y + 4, size=12)


def _text(
    root: ET.Element,
    words: str,
    x: float,
    y: float,
    *,
    anchor: str = "start",
    size: int = 13,
    weight: str = "normal",
) -> None:
    look = {"text-anchor": anchor, "font-size": size, "font-weight": weight}
    _add(root, "text", x=x, y=y, fill=_INK, **look).text = words


def _add(root: ET.Element, tag: str, **attributes: object) -> ET.Element:
    words = {name: str(value) for name, value in attributes.items()}
    return ET.SubElement(root, tag, words)


def main() -> int:
    """Draw the page as it is."""
    write_picture()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
