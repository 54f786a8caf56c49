"""Write every picture, its text and its drawing."""

import sys
from typing import Final

from tests.pictures import hooks, rooms, ways
from tests.pictures.drawing import write

PICTURES: Final = (rooms.picture(), hooks.picture(), *ways.pictures())
"""All that there are."""

if __name__ == "__main__":
    sys.exit(write(PICTURES))
