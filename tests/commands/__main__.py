"""`python -m tests.commands`, in the lab: write a page for each command."""

import tempfile
from pathlib import Path

from tests.commands.page import DIRECTORY, commands, page
from tests.commands.play import play


def main() -> None:
    """Run everything once, and write what was said."""
    with tempfile.TemporaryDirectory() as scratch:
        scenes = play(Path(scratch))
    DIRECTORY.mkdir(exist_ok=True)
    for command in commands():
        shown = [scene for scene in scenes if scene.page == command]
        text = page(command, shown)
        (DIRECTORY / f"{command}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
