"""`lab.second_kernel`: a kernel is built once, and why it cannot be is said."""

import io
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.lab import second_kernel
from tests.lab.errors import NoLab
from tests.lab.second_kernel import OPTIONS, BuiltKernel, lost_options


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def built(version: str, at: int = 0) -> BuiltKernel:
    """Something in its place, made at that time."""
    place = second_kernel._place(version)
    place.mkdir(parents=True)
    os.utime(place, (at, at))
    return BuiltKernel(place)


def test_another_source_is_another_kernel() -> None:
    """When Debian has a newer source, the kernel is built again."""
    kernel = built("6.12.1-1")
    assert second_kernel._find("6.12.1-1") == kernel
    assert second_kernel._find("6.12.2-1") is None


def test_without_the_source_what_was_built_is_good() -> None:
    """Nothing is installed for a kernel that is there; the latest is taken."""
    assert second_kernel._find(None) is None
    built("6.12.1-1", at=1)
    later = built("6.12.3-1", at=3)
    built("6.12.2-1", at=2)
    assert second_kernel._find(None) == later


def test_two_labs_build_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that comes second waits, says so, and builds nothing."""
    has_begun, may_end = threading.Event(), threading.Event()

    def build() -> BuiltKernel:
        has_begun.set()
        assert may_end.wait(60)
        return built("6.12.1-1")

    def build_again() -> BuiltKernel:
        raise AssertionError

    def look() -> BuiltKernel | None:
        return second_kernel._find("6.12.1-1")

    found: list[BuiltKernel] = []
    first, second = (
        threading.Thread(
            target=lambda how=how: found.append(second_kernel._once(look, how))
        )
        for how in (build, build_again)
    )
    # pytest's own loses what a thread says while it is asked what was said.
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    first.start()
    assert has_begun.wait(60)
    second.start()
    end_s = time.monotonic() + 60
    while "waiting" not in said.getvalue():
        assert time.monotonic() < end_s
        time.sleep(0.01)
    may_end.set()
    for thread in (first, second):
        thread.join(60)
    assert found == [second_kernel._find("6.12.1-1")] * 2


def test_a_step_that_fails_has_the_last_word(tmp_path: Path) -> None:
    """What is shown is the end of its output, and the command itself."""
    with pytest.raises(NoLab) as caught:
        second_kernel._run(tmp_path / "log", "sh", "-c", "seq 1000; exit 3")
    first, *lines = caught.value.reasons
    assert "seq 1000" in first
    assert lines == [str(number) for number in range(981, 1001)]


def test_options_are_stated_once() -> None:
    """Each on a line of its own, in the words of a kernel's configuration."""
    lines = [line for line in OPTIONS.read_text().splitlines() if line]
    options = [line for line in lines if not line.startswith("#")]
    assert len(set(options)) == len(options)
    assert all(line.startswith("CONFIG_") and "=" in line for line in options)


def test_options_that_were_lost_are_named() -> None:
    """A word that the source does not know is not passed over."""
    wanted = "# comment\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_C=12\n"
    got = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=13\n"
    assert lost_options(wanted, got) == ("CONFIG_B", "CONFIG_C")
    assert lost_options(wanted, wanted) == ()
