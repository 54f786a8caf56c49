"""The picture of the rooms is of this code."""

from tests.pictures.rooms import arrows, picture, rooms


def test_drawing() -> None:
    """The drawing has the rooms and the arrows of the code."""
    drawn = picture()
    assert drawn.drawn("node") == {room.name for room in rooms()}
    assert drawn.drawn("edge") == {f"{room}->{other}" for room, other in arrows()}


def test_arrows_point_down() -> None:
    """No room is reached from itself, and each says what it is for."""
    seen = {room.name: room for room in rooms()}
    assert all(room.purpose for room in seen.values())
    back = {(other, room) for room, other in arrows()}
    assert not back & arrows()
