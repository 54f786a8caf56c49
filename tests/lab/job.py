"""The job: what to run, written to a directory both sides of the lab can see.

The directory holds `job.sh` (environment, working directory, command) for the world,
and gets `status` back from it.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def write_job(
    directory: Path, argv: Sequence[str], env: Mapping[str, str], cwd: Path
) -> None:
    """Write `job.sh`, readable by its owner only because it holds the environment.

    Variables whose names no shell can export are left out.
    """
    lines = [
        f"export {name}={shlex.quote(value)}"
        for name, value in sorted(env.items())
        if _SHELL_NAME.fullmatch(name)
    ]
    lines += [f"cd {shlex.quote(str(cwd))} || exit 126", f"exec {shlex.join(argv)}"]
    script = directory / "job.sh"
    script.touch(mode=0o600)
    script.write_text("\n".join(lines) + "\n")


def read_status(directory: Path) -> int | None:
    """The job's exit status as a shell reports it, or None if it never finished."""
    try:
        text = (directory / "status").read_text()
    except FileNotFoundError:
        return None
    return int(text) if text.strip() else None
