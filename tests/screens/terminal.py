"""A terminal of some size, and what is written to it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Final

_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
_TEMPORARY: Final = re.compile(r"/\S*/tmp[a-z0-9_]{8}")


def screen(name: str, columns: int) -> str:
    """What a screen is, with its colours."""
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "NO_COLOR"}}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.screens.scene", name],
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=Path(__file__).parents[2],
        env={**env, "TERM": "xterm-256color", "TZ": "UTC"},
    ):
        os.close(its)
        text = b"".join(iter(lambda: _read(mine), b"")).decode()
    os.close(mine)
    shown = text.replace("\r\n", "\n").partition("-- screen --\n")[2]
    return _TEMPORARY.sub("/etc/ipvsctl", shown)


def plain(text: str) -> str:
    """Without colours."""
    return _STYLE.sub("", text)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
