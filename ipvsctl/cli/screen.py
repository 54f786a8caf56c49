"""A screen that is drawn again and again, in place, until it is interrupted.

Plain ANSI: the alternate screen, so that what was there before comes back, and each
line written over the old one, so that nothing flickers. It works over `kubectl exec
-it`.
"""

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

from ipvsctl.cli.errors import one_line
from ipvsctl.cli.layout import Line, Span
from ipvsctl.cli.output import styled_text
from ipvsctl.model.errors import ConfigError, IpvsctlError

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_END_OF_LINE: Final = "\x1b[K\n"
_BELOW: Final = "\x1b[J"


def watch(
    draw: Callable[[], Sequence[Line]],
    period_s: float,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Draw until interrupted; an error is shown, and tried to be over the next time.

    Args:
        draw: the lines of now.
        period_s: between two.
        sleep: between two.

    Raises:
        ConfigError: there is no terminal.
    """
    if not sys.stdout.isatty():
        reason = "needs a terminal; leave it out to print once"
        raise ConfigError(field="--watch", value=None, reason=reason)
    with _screen():
        while True:
            try:
                lines = draw()
            except IpvsctlError as error:
                lines = ((Span(one_line(str(error)), "bold red"),),)
            sys.stdout.write(_frame(lines))
            sys.stdout.flush()
            sleep(period_s)


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


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
