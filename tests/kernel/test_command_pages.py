"""What the pages of the commands show is what the commands print."""

import pytest

from tests.commands.page import DIRECTORY, Scene, commands, printed, shape
from tests.commands.play import play
from tests.kernel.firewalls import about_iptables

# The pages were made with it, and show its words.
pytestmark = [pytest.mark.kernel, about_iptables]

VARYING = ("top", "run", "check", "events")
"""What these print is the machine's: how fast it is, what its kernel has, and which of
several ops that are equally urgent comes first."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    """All that the pages show, run again."""
    return play(tmp_path_factory.mktemp("play"))


@pytest.mark.parametrize("command", commands())
def test_a_page(scenes: list[Scene], command: str) -> None:
    """The same commands with the same answers, but for numbers, times and widths."""
    text = (DIRECTORY / f"{command}.md").read_text(encoding="utf-8")
    shown = [said.partition("\n") for said in printed(text)[1:]]
    again = [scene for scene in scenes if scene.page == command]
    assert [first for first, _, _ in shown] == [f"# ipvsctl {s.words}" for s in again]
    for (first, _, before), scene in zip(shown, again, strict=True):
        if command in VARYING:
            assert scene.status == 0, scene.said
            assert scene.said.count("\n") > 0, first
        else:
            assert shape(scene.said) == shape(before), first
