"""A screen that is drawn in place, in a real terminal."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ipvsctl.cli.screen import watch
from ipvsctl.model.errors import ConfigError

SCRIPT = """
import itertools, sys
from ipvsctl.cli.layout import Span
from ipvsctl.cli.screen import watch
from ipvsctl.model.errors import ConfigError

number = itertools.count()

def draw():
    drawn = next(number)
    if drawn == 1:
        raise ConfigError(field="it", value=None, reason="is away")
    return [(Span(f"line {n} of {drawn}"),) for n in range(100)]

keys = []

def press(key):
    keys.append(key)
    return key == "n"

watch(draw, float(sys.argv[1]), press)
print("pressed", *keys)
"""
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"


@contextmanager
def watching(period_s: float = 0.05) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The script in a terminal of 24 lines."""
    mine, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(period_s)],
        stdin=its,
        stdout=its,
        stderr=its,
        env={**os.environ, "LINES": "24", "COLUMNS": "80", "TERM": "xterm"},
    )
    os.close(its)
    try:
        yield process, mine
    finally:
        process.kill()
        process.wait()
        os.close(mine)


def read_until(terminal: int, word: bytes) -> bytes:
    """What is written until a word is."""
    found = b""
    end = time.monotonic() + 60
    while word not in found:
        assert time.monotonic() < end, found
        if select.select([terminal], [], [], 1)[0]:
            try:
                found += os.read(terminal, 65536)
            except OSError:
                # The other end is closed.
                break
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_terminal_is_as_it_was(number: signal.Signals) -> None:
    """However it ends; and no drawing clears the screen, which would flicker."""
    with watching() as (process, terminal):
        found = read_until(terminal, b"line 3 of 3")
        process.send_signal(number)
        found += read_until(terminal, LEAVE)
        process.wait(timeout=60)
    assert found.count(ENTER) == found.count(LEAVE) == 1
    assert found.index(ENTER) < found.index(b"line 0 of 0") < found.index(LEAVE)
    assert b"\x1b[2J" not in found
    assert b"\x1b[H" in found


def test_it_fits_and_errors_pass() -> None:
    """What there is no room for is counted; an error is shown, and not the end."""
    with watching() as (_, terminal):
        found = read_until(terminal, b"of 2")
    first = found.partition(b"\x1b[J")[0]
    assert first.count(b"line ") == 22
    assert b"78 more lines" in first
    assert b"it: is away" in found


def test_keys() -> None:
    """They draw at once, or not, are never shown, and `q` ends."""
    with watching(period_s=3600) as (process, terminal):
        before = termios.tcgetattr(terminal)
        found = read_until(terminal, b"of 0")
        os.write(terminal, b"xn")
        found += read_until(terminal, b"it: is away")
        os.write(terminal, b"nq")
        found += read_until(terminal, b"pressed x n n")
        assert process.wait(timeout=60) == 0
        assert termios.tcgetattr(terminal) == before
    assert found.index(LEAVE) < found.index(b"pressed")
    assert b"x" not in found.partition(LEAVE)[0]


def test_without_a_terminal() -> None:
    """It is refused, by the option's name."""
    with pytest.raises(ConfigError, match="--watch"):
        watch(list, 1)
