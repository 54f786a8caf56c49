"""Programs of the node: found once, by an absolute path, and run without a shell.

Their environment is ours: nothing of the daemon's own (`LD_PRELOAD`, `XTABLES_LIBDIR`)
chooses what they load or do, and `PATH` chooses no more than where they are found.
"""

import errno
import os
import shutil
import subprocess
from typing import Final

from ipvsctl.model.errors import KernelError

ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
}
"""What a program is run with; the first is for those that are scripts."""

TIMEOUT_S: Final = 60.0
"""A process that takes longer is killed; nodes with 100,000 rules of other agents
have been seen to take ten seconds to list them."""


def look_for(name: str, path: str | None = None) -> str | None:
    """Where a program is; None if it is nowhere.

    Args:
        name: of the program.
        path: directories to look in, as in `PATH`, which is the default. Those that
            depend on the directory that somebody is in are passed over.
    """
    listed = os.environ.get("PATH", os.defpath) if path is None else path
    places = [place for place in listed.split(os.pathsep) if place.startswith("/")]
    return shutil.which(name, path=os.pathsep.join(places)) if places else None


def find(name: str, path: str | None = None) -> str:
    """See `look_for`.

    Raises:
        NotFound: it is nowhere.
    """
    found = look_for(name, path)
    if found is None:
        raise KernelError.of(errno.ENOENT, name, "not installed, or not on PATH")
    return found


def run(command: list[str], text: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, whatever its exit status.

    What it says and is told may be in any encoding: bytes survive both ways.

    Args:
        command: the absolute path, and arguments.
        text: its standard input.

    Raises:
        KernelError: it cannot be run, or was killed since it took too long.
    """
    name = command[0].rpartition("/")[2]
    try:
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="surrogateescape",
            env=ENVIRONMENT,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        reason = f"killed after {TIMEOUT_S:.0f} s"
        raise KernelError.of(errno.ETIMEDOUT, name, reason) from error
    except OSError as error:
        raise KernelError.of(error.errno or errno.EIO, name) from error
