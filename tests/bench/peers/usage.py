"""What a process and those that it starts use, as `/proc` counts it."""

import os
from pathlib import Path
from typing import Final, NamedTuple

_MIB: Final = 1024
"""KiB in a MiB: `/proc` counts in KiB."""
_RESERVED: Final = 300
"""After the highest process number comes this one (kernel/pid.c: RESERVED_PIDS)."""


class Usage(NamedTuple):
    """Everything up to one moment.

    Attributes:
        cpu_s: of the process, and of those it started that are over.
        last: number of what was started last in this PID namespace, where threads have
            numbers too. `/proc/stat` counts what the whole machine starts.
        threads: of this process now.
    """

    cpu_s: float
    last: int
    threads: int

    def processes_since(self, before: "Usage") -> int:
        """How many processes were started, if nobody else started any.

        A thread that ended in between is taken for a process.
        """
        started = self.last - before.last
        if started < 0:
            started += _highest() - _RESERVED
        return started - (self.threads - before.threads)


def nothing() -> Usage:
    """Before the process is there, which is one of those to be counted.

    Its first thread is what is counted.
    """
    return Usage(cpu_s=0, last=_last(), threads=1)


def read_usage(pid: int) -> Usage:
    """What a process has used so far.

    Raises:
        OSError: there is no such process.
    Source: proc(5).
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    # Fields 14 to 17 and 20 of proc(5), which counts from 1 and has two before these.
    ticks = sum(map(int, fields[11:15]))
    return Usage(
        cpu_s=ticks / os.sysconf("SC_CLK_TCK"),
        last=_last(),
        threads=int(fields[17]),
    )


def read_memory(pid: int) -> tuple[float, float]:
    """Resident memory of a process now, and the most there was; MiB.

    Raises:
        OSError: there is no such process.
    """
    text = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in text.splitlines())
    now, most = (int(fields[name].split()[0]) / _MIB for name in ("VmRSS", "VmHWM"))
    return now, most


def _last() -> int:
    return int(Path("/proc/loadavg").read_text().split()[4])


def _highest() -> int:
    return int(Path("/proc/sys/kernel/pid_max").read_text())
