"""The command that boots a user-mode Linux guest around a job directory."""

import os
import random
import shlex
from pathlib import Path

from tests.lab.room import directory_with_room
from tests.lab.second_kernel import BuiltKernel

_BUILT_WORDS = ("dummy.numdummies=0", "fb_tunnels=none")
"""Else what is built in makes links of its own, the tunnels in every namespace."""

_WORLD_SH = Path(__file__).with_name("world.sh")


def uml_command(
    job: Path,
    mem_bytes: int,
    stdout: int,
    stderr: int,
    kernel: BuiltKernel | None = None,
) -> list[str]:
    """Boot a guest whose root is the host's file system.

    The guest's console is the process's own stdout; the job's two streams leave
    through serial lines on the given file descriptors, so that kernel messages never
    mix with them. The job sees terminals there if ours are, and pipes otherwise.

    Args:
        job: the directory.
        mem_bytes: the guest's memory.
        stdout: file descriptor that the job's output leaves through.
        stderr: the same for its errors.
        kernel: the guest's kernel, by default that of Debian's package.
    """
    # The kernel splits its command line at blanks and passes no arguments to init.
    init = job / "init"
    streams = "terminal" if os.isatty(1) and os.isatty(2) else "pipe"
    built = [str(kernel.modules)] if kernel else []
    world = shlex.join([str(_WORLD_SH), "uml", str(job), streams, *built])
    init.write_text(f"#!/bin/sh\nexec /bin/sh {world}\n")
    init.chmod(0o700)
    # A guest has one CPU, and its processes are the host's, which take turns: spread
    # over several CPUs each turn pays for waking another one, three times the cost.
    cpu = random.choice(tuple(os.sched_getaffinity(0)))
    return [
        "taskset",
        "--cpu-list",
        str(cpu),
        str(kernel.program) if kernel else "linux.uml",
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
        *(_BUILT_WORDS if kernel else ()),
    ]


def memory_directory(mem_bytes: int) -> Path:
    """Where the guest's memory file may live.

    Containers often give /dev/shm 64 MB, without permission to execute.

    Raises:
        NoLab: nowhere.
    """
    candidates = (Path("/dev/shm"), Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - the guest's memory file is unlinked as soon as it is open
    return directory_with_room(candidates, mem_bytes, "the guest's memory")
