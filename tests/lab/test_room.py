"""`lab.room`: large things go where they fit."""

import shutil
from pathlib import Path

import pytest

from tests.lab.errors import NoLab
from tests.lab.room import directory_with_room


def test_first_that_fits(tmp_path: Path) -> None:
    """One that is not there is passed over."""
    candidates = (tmp_path / "none", tmp_path, Path("/"))
    assert directory_with_room(candidates, 1, "a test") == tmp_path


def test_none_fits(tmp_path: Path) -> None:
    """It says where it looked, for how much, and what for."""
    needed = shutil.disk_usage(tmp_path).total * 2
    with pytest.raises(NoLab) as caught:
        directory_with_room((tmp_path,), needed, "a test")
    for word in (str(tmp_path), f"{needed // 2**20} MB", "a test"):
        assert word in str(caught.value)
