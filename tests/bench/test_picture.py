"""The picture of performance is of the page's tables."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from tests.bench.page import PAGE
from tests.bench.picture import PICTURE, Point, Series, draw, series_on

_SVG = "{http://www.w3.org/2000/svg}"
_TABLES = """
| cold sync | 1,000 | 0.96 s | 0.42 s | 2.28 |  |  |
| cold sync | 10,000 | 7.80 s | 4.80 s | 1.63 | <= 1.25 x floor | NO |
| cold sync | 10,000, many endpoints | 7.80 s | 4.80 s | 1.63 | <= 1.25 x floor | NO |
| cold sync, each Service | 1,000 | 0.96 ms |  | 1.00 |  |  |
| start to first sync done | 200 | 11.80 s | 89.90 s | not run |
| start to first sync done | 1,000 | 14.00 s | not in 900 s | not run |
"""


def test_the_picture_is_of_the_page() -> None:
    """Nobody changed a table or the picture alone (`python -m tests.bench.picture`)."""
    page = PAGE.read_text("utf-8")
    assert f"]({PICTURE.name})" in page
    assert PICTURE.read_text("utf-8") == draw(series_on(page))


def test_what_is_drawn_of_a_page() -> None:
    """What was not run has no line, and what took too long is marked."""
    floor, objects, start, peer = series_on(_TABLES)
    assert floor.points == (Point(1_000, 0.42), Point(10_000, 4.8))
    assert objects.points == (Point(1_000, 0.96), Point(10_000, 7.8))
    assert start.points == (Point(200, 11.8), Point(1_000, 14))
    assert peer.points == (Point(200, 89.9), Point(1_000, 900, is_more=True))
    assert len({floor.name, objects.name, start.name, peer.name}) == 4


def test_where_it_is_drawn() -> None:
    """Ten times as many are as far apart as ten times as many again; more is higher."""
    (series, *_) = series_on(_TABLES)
    points = (Point(100, 1), Point(1_000, 10), Point(10_000, 100))
    drawn = ET.fromstring(draw([Series(series.name, points)]))  # noqa: S314  # ours
    dots = [
        (float(dot.attrib["cx"]), float(dot.attrib["cy"]))
        for dot in drawn.iter(f"{_SVG}circle")
    ]
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(dots)]
    assert steps[0] == pytest.approx(steps[1])
    assert steps[0][0] > 0 > steps[0][1]


def test_words_are_apart() -> None:
    """No text is begun within the height of another one's line, at the same side."""
    drawn = ET.fromstring(draw(series_on(_TABLES)))  # noqa: S314  # ours
    places = [
        (float(text.attrib["x"]), float(text.attrib["y"]))
        for text in drawn.iter(f"{_SVG}text")
    ]
    for number, (x, y) in enumerate(places):
        for other_x, other_y in places[:number]:
            assert abs(y - other_y) >= 12 or abs(x - other_x) >= 60
    assert len(list(drawn.iter(f"{_SVG}polygon"))) == 1
