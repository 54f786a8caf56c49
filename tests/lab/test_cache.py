"""`lab.cache`: what is kept is found again, and never half of it."""

from pathlib import Path

import pytest

from tests.lab.cache import cache_directory, cached, keeping
from tests.lab.errors import NoLab


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_folder_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`$XDG_CACHE_HOME`, if that is an absolute path, or else `~/.cache`."""
    assert cache_directory() == tmp_path / "ipvsctl"
    monkeypatch.setenv("HOME", "/home/me")
    for ignored in ("", "not/absolute"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_directory() == Path("/home/me/.cache/ipvsctl")


def test_name_goes_by_what_it_is_made_of() -> None:
    """The same bytes are the same file, others another one."""
    assert cached("thing", b"a") == cached("thing", b"a")
    assert cached("thing", b"a") != cached("thing", b"b")
    assert cached("thing", b"a").name.startswith("thing-")


def test_kept_when_it_is_whole() -> None:
    """Nobody finds it before its block ends, and then nothing else is in the folder."""
    path = cached("thing", b"")
    with keeping(path) as unfinished:
        unfinished.write_text("half")
        assert not path.exists()
        unfinished.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_two_at_a_time_do_not_meet() -> None:
    """Each writes a file of its own, and the later one is kept."""
    path = cached("thing", b"")
    with keeping(path) as one:
        with keeping(path) as other:
            one.write_text("one")
            other.write_text("other")
        assert path.read_text() == "other"
    assert path.read_text() == "one"


def test_nothing_is_left_of_a_failure() -> None:
    """Neither the thing nor the beginning of it."""
    path = cached("thing", b"")

    def fail() -> None:
        with keeping(path) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(path.parent.iterdir()) == []


def test_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    """The lab says why it cannot start."""
    tmp_path.joinpath("ipvsctl").write_text("a file")
    with pytest.raises(NoLab, match="ipvsctl"), keeping(cached("thing", b"")):
        pass
