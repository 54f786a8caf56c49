"""The picture of the rooms is of this code."""

import xml.etree.ElementTree as ET

from tests.rooms import DRAWING, TEXT, arrows, rooms, text

_SVG = "{http://www.w3.org/2000/svg}"


def test_text() -> None:
    """Nobody moved a module, or an import, alone (`python -m tests.rooms`)."""
    assert TEXT.read_text(encoding="utf-8") == text()


def test_drawing() -> None:
    """The drawing has the rooms and the arrows of the text."""
    tree = ET.parse(DRAWING)  # noqa: S314  # a file of ours
    titles = {
        kind: {
            group.findtext(f"{_SVG}title")
            for group in tree.iter(f"{_SVG}g")
            if group.get("class") == kind
        }
        for kind in ("node", "edge")
    }
    assert titles["node"] == {room.name for room in rooms()}
    assert titles["edge"] == {f"{room}->{other}" for room, other in arrows()}


def test_arrows_point_down() -> None:
    """No room is reached from itself, and each says what it is for."""
    seen = {room.name: room for room in rooms()}
    assert all(room.purpose for room in seen.values())
    back = {(other, room) for room, other in arrows()}
    assert not back & arrows()
