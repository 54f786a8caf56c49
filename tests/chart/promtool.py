"""Prometheus' own tool, which knows its query language."""

import subprocess
from pathlib import Path


def promtool(*words: str, where: Path) -> str:
    """Run promtool; what it said. It must succeed."""
    done = subprocess.run(
        ["promtool", *words], cwd=where, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
