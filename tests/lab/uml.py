"""The command that boots a user-mode Linux guest around a job directory."""

import os
import random
import shlex
from pathlib import Path

from tests.lab.errors import NoLab

_WORLD_SH = Path(__file__).with_name("world.sh")


def uml_command(job: Path, mem_bytes: int, stdout: int, stderr: int) -> list[str]:
    """Boot a guest whose root is the host's file system.

    The guest's console is the process's own stdout; the job's two streams leave
    through serial lines on the given file descriptors, so that kernel messages never
    mix with them. The job sees terminals there if ours are, and pipes otherwise.
    """
    # The kernel splits its command line at blanks and passes no arguments to init.
    init = job / "init"
    streams = "terminal" if os.isatty(1) and os.isatty(2) else "pipe"
    world = shlex.join([str(_WORLD_SH), "uml", str(job), streams])
    init.write_text(f"#!/bin/sh\nexec /bin/sh {world}\n")
    init.chmod(0o700)
    # A guest has one CPU, and its processes are the host's, which take turns: spread
    # over several CPUs each turn pays for waking another one, three times the cost.
    cpu = random.choice(tuple(os.sched_getaffinity(0)))
    return [
        "taskset",
        "--cpu-list",
        str(cpu),
        "linux.uml",
        f"mem={mem_bytes // 2**20}M",
        "rootfstype=hostfs",
        "rootflags=/",
        "rw",
        f"init={init}",
        f"uml_dir={job}/",
        "con0=null,fd:1",
        "con=null",
        f"ssl1=null,fd:{stdout}",
        f"ssl2=null,fd:{stderr}",
        "ssl=null",
        "quiet",
    ]


def memory_directory(mem_bytes: int) -> Path:
    """Where the guest's memory file may live: executable, and large enough.

    Containers often give /dev/shm 64 MB, without permission to execute.

    Raises:
        NoLab: no candidate qualifies.
    """
    candidates = (Path("/dev/shm"), Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - the guest's memory file is unlinked as soon as it is open
    for directory in candidates:
        if not directory.is_dir():
            continue
        about = os.statvfs(directory)
        is_large_enough = about.f_bavail * about.f_frsize >= mem_bytes
        if is_large_enough and not about.f_flag & os.ST_NOEXEC:
            return directory
    names = ", ".join(map(str, candidates))
    size = f"{mem_bytes // 2**20} MB"
    raise NoLab((f"none of {names} has {size} free and may hold executable memory",))
