"""Starts a world, streams the job's output, and leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from tests.lab import fp_state
from tests.lab.errors import TimeLimit, WorldDied
from tests.lab.host import Kind, choose, namespace_obstacles
from tests.lab.job import read_status, write_job
from tests.lab.second_kernel import VERSION, BuiltKernel, second_kernel
from tests.lab.stream import Console, pump, write_to
from tests.lab.uml import memory_directory, uml_command

KERNELS = (VERSION,)
"""Versions of Linux that a guest can have besides that of Debian's package."""

DEFAULT_MEM_BYTES = 2 * 2**30
_WORLD_SH = Path(__file__).with_name("world.sh")

_CAGE = (
    "setpriv",
    "--pdeathsig=KILL",
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)
"""Ties the world's life to ours.

When this process dies in whatever way, `unshare` is killed, then the first process of
the PID namespace, and with it the kernel ends everything in there.
"""

_UML_CAGE = (*_CAGE, "sh", "-c", '"$@"; exit', "sh")
"""The same with a shell as first process: a guest that panics ends itself by SIGABRT,
which the first process of a namespace does not receive from within.
"""


def run(
    argv: Sequence[str],
    *,
    time_limit_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    mem_bytes: int = DEFAULT_MEM_BYTES,
    kind: Kind | None = None,
    kernel: str | None = None,
) -> int:
    """Run a command as root on a kernel with IPVS, in a world of its own.

    Its output is copied to our stdout and stderr as it appears; its stdin is empty.

    Args:
        argv: the command; found through PATH of `env`.
        time_limit_s: seconds from the start of the world to its forced end.
        env: the command's environment, ours by default; TMPDIR, IPVSCTL_LAB and
            IPVSCTL_LAB_KERNEL are set for it.
        cwd: its working directory, ours by default.
        mem_bytes: memory of a guest, used only as far as it is touched.
        kind: the kind of lab, by default the native one where possible.
        kernel: the version of a guest's kernel, one of `KERNELS`; by default a guest
            has that of Debian's package. There is a guest if this is given.

    Returns:
        The exit status, 128 + n when signal n ended the command.

    Raises:
        NoLab: no lab of this kind can be started here.
        TimeLimit: the time was up; everything has been killed.
        WorldDied: the guest ended before the command did.
    """
    kind = choose(Kind.UML if kernel else kind)
    built = second_kernel() if kernel else None
    directory = Path(tempfile.mkdtemp(prefix="ipvsctl-lab-"))
    try:
        job_env = _job_env(os.environ if env is None else env, kind, kernel)
        write_job(directory, argv, job_env, cwd or Path.cwd())
        if kind is Kind.UML:
            return _run_uml(directory, time_limit_s, mem_bytes, built)
        return _run_native(directory, time_limit_s)
    finally:
        shutil.rmtree(directory)


def _job_env(env: Mapping[str, str], kind: Kind, kernel: str | None) -> dict[str, str]:
    # Unbuffered, so that nothing is missing from a job that is ended at its limit.
    job_env = {"PYTHONUNBUFFERED": "1", **env}
    job_env |= {"IPVSCTL_LAB": kind, "TMPDIR": "/run/tmp"}
    job_env |= {"IPVSCTL_LAB_KERNEL": kernel or ""}
    if kind is Kind.UML:
        # A serial line does not know the size of the terminal behind it.
        size = shutil.get_terminal_size()
        job_env |= {"COLUMNS": str(size.columns), "LINES": str(size.lines)}
    return job_env


def _run_native(directory: Path, time_limit_s: float) -> int:
    world = subprocess.Popen(
        [*_CAGE, "--net", "/bin/sh", _WORLD_SH, Kind.NATIVE, directory],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        world.wait(time_limit_s)
    except subprocess.TimeoutExpired:
        raise TimeLimit(time_limit_s, ()) from None
    finally:
        _end(world)
    return _status(directory, Console())


def _run_uml(
    directory: Path, time_limit_s: float, mem_bytes: int, kernel: BuiltKernel | None
) -> int:
    console = Console()
    with ExitStack() as stack:
        console_read, console_write = _pipe(stack)
        stdout_read, stdout_write = _pipe(stack)
        stderr_read, stderr_write = _pipe(stack)
        sinks = {
            console_read.fileno(): console.feed,
            stdout_read.fileno(): write_to(1),
            stderr_read.fileno(): write_to(2),
        }
        job_streams = (stdout_write.fileno(), stderr_write.fileno())
        command = uml_command(directory, mem_bytes, *job_streams, kernel)
        env = {"TMPDIR": str(memory_directory(mem_bytes)), **fp_state.environment()}
        world = subprocess.Popen(
            [*(() if namespace_obstacles() else _UML_CAGE), *command],
            stdin=subprocess.DEVNULL,
            stdout=console_write,
            stderr=console_write,
            pass_fds=job_streams,
            env=os.environ | env,
            start_new_session=True,
        )
        stack.callback(_end, world)
        for ours in (console_write, stdout_write, stderr_write):
            ours.close()
        if not pump(sinks, time_limit_s):
            raise TimeLimit(time_limit_s, console.tail())
    return _status(directory, console)


def _pipe(stack: ExitStack) -> tuple[BinaryIO, BinaryIO]:
    read, write = os.pipe()
    return (
        stack.enter_context(os.fdopen(read, "rb", buffering=0)),
        stack.enter_context(os.fdopen(write, "wb", buffering=0)),
    )


def _end(world: subprocess.Popen[bytes]) -> None:
    # The group outlives its first process when the guest's helpers do.
    with suppress(ProcessLookupError):
        os.killpg(world.pid, signal.SIGKILL)
    world.wait()


def _status(directory: Path, console: Console) -> int:
    status = read_status(directory)
    if status is None:
        raise WorldDied(console.tail())
    return status
