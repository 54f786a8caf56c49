"""A screen that is drawn again and again, in place, until it is interrupted.

Plain ANSI: the alternate screen, so that what was there before comes back, and each
line written over the old one, so that nothing flickers. It works over `kubectl exec
-it`, and without the `i` too, where nobody can press a key.
"""

import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

from ipvsctl.cli.layout import Line, Span
from ipvsctl.cli.output import styled_text
from ipvsctl.model.errors import ConfigError, IpvsctlError
from ipvsctl.model.text import one_line

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_END_OF_LINE: Final = "\x1b[K\n"
_BELOW: Final = "\x1b[J"
_QUIT: Final = frozenset({"q", "Q", ""})
"""The last is the end of the input."""


def no_key(_key: str) -> bool:
    """No key means anything."""
    return False


def watch(
    draw: Callable[[], Sequence[Line]],
    period_s: float,
    press: Callable[[str], bool] = no_key,
) -> None:
    """Draw until `q` or an interrupt; an error is shown, and may be over next time.

    Args:
        draw: the lines of now.
        period_s: between two.
        press: takes a key; whether to draw at once.

    Raises:
        ConfigError: there is no terminal.
    """
    if not sys.stdout.isatty():
        reason = "needs a terminal; leave it out to print once"
        raise ConfigError(field="--watch", value=None, reason=reason)
    with _screen(), _keyboard() as keyboard:
        is_over = False
        while not is_over:
            try:
                lines = draw()
            except IpvsctlError as error:
                lines = ((Span(one_line(str(error)), "bold red"),),)
            sys.stdout.write(_frame(lines))
            sys.stdout.flush()
            is_over = _wait(keyboard, period_s, press)


def _wait(keyboard: int | None, period_s: float, press: Callable[[str], bool]) -> bool:
    """Wait until it is time to draw; whether that is never again."""
    end_s = time.monotonic() + period_s
    while (left_s := end_s - time.monotonic()) > 0:
        if keyboard is None:
            time.sleep(left_s)
        elif select.select([keyboard], [], [], left_s)[0]:
            # One at a time: what is typed ahead is not to be skipped.
            key = os.read(keyboard, 1).decode(errors="replace")
            if key in _QUIT:
                return True
            if press(key):
                break
    return False


def _frame(lines: Sequence[Line]) -> str:
    """What is written for one drawing: as many lines as there is room for."""
    room = shutil.get_terminal_size().lines - 1
    left = len(lines) - room
    if left > 0:
        more = (Span(f"{left + 1:,} more lines", "dim"),)
        lines = (*lines[: room - 1], more)
    text = styled_text(lines).removesuffix("\n")
    return _HOME + text.replace("\n", _END_OF_LINE) + _END_OF_LINE + _BELOW


@contextmanager
def _screen() -> Iterator[None]:
    """The terminal is as it was afterwards, however the block ends."""
    before = signal.signal(signal.SIGTERM, _end)
    sys.stdout.write(_ENTER)
    try:
        yield
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _keyboard() -> Iterator[int | None]:
    """Each key at once, and none shown; None if there is no keyboard."""
    if not sys.stdin.isatty():
        yield None
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    # Interrupts stay what they are.
    tty.setcbreak(keyboard)
    try:
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
