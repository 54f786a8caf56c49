"""Programs of others that run on a node: scripts, each named as its file."""

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LIVES: Final = "kill -STOP $$"
"""A script that does nothing until it is killed.

It starts nothing either, which would have its name until it is what was started.
"""


_LIMIT_S: Final = 30


@contextmanager
def program(path: Path, script: str) -> Iterator[int]:
    """A process that no process of ours has started; its pid.

    Args:
        path: its file, which is made; its name is the program's.
        script: for the shell; what it starts must end by itself.
    """
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", '"$1" >/dev/null 2>&1 & echo $!', "sh", str(path)],
        capture_output=True,
        check=True,
        text=True,
    )
    pid = int(done.stdout)
    ends = os.pidfd_open(pid)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        # It runs on for a moment, in which another test would find it.
        select.select([ends], [], [], _LIMIT_S)
        os.close(ends)
