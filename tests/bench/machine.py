"""On what the figures were measured, without saying whose machine it is."""

import os
import platform
import re
from pathlib import Path


def describe() -> dict[str, str]:
    """What a reader needs to compare figures with theirs."""
    model = re.search(
        r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE
    )
    return {
        "CPU": _class(model[1] if model else platform.machine()),
        "CPUs": str(os.cpu_count()),
        "kernel": platform.release(),
        "lab": os.environ.get("IPVSCTL_LAB", "none"),
        "Python": platform.python_version(),
    }


def _class(model: str) -> str:
    """The family of a processor, without what only one machine has."""
    return re.sub(r"\s+", " ", re.sub(r"\(R\)|\(TM\)|@.*", "", model)).strip()
