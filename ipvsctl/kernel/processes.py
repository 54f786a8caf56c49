"""Reading which programs run on this node, and who holds the lock of iptables."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Final, TypeVar

from ipvsctl.kernel.modules import PROC
from ipvsctl.model.processes import Process, Processes
from ipvsctl.model.text import one_line

T = TypeVar("T")

XTABLES_LOCK: Final = Path("/run/xtables.lock")

LIMIT_S: Final = 0.5
"""Some 20 us a process; a node has hundreds of them, and of locks."""

_NAME_BYTES: Final = 15
"""What the kernel keeps of a name (include/linux/sched.h:TASK_COMM_LEN)."""

_ARGUMENTS_BYTES: Final = 4096

_NODES_PIDS: Final = "pid:[4026531836]"
"""The first PID namespace (include/linux/proc_ns.h:PROC_PID_INIT_INO)."""

_DEAD: Final = frozenset({b"Z", b"X"})


def read_processes(
    names: Iterable[str],
    proc: Path = PROC,
    lock: Path = XTABLES_LOCK,
    clock: Callable[[], float] = time.monotonic,
) -> Processes:
    """Look at all processes that can be seen, or at as many as there is time for.

    Never fails: what cannot be read was not seen. May be called in any thread.

    Args:
        names: of the programs to look for.
        proc: where `/proc` is.
        lock: the file that is locked.
        clock: steady, in seconds.
    """
    # Before all else: it may be held for some milliseconds.
    holder = _lock_holder(proc, lock, clock)
    running: tuple[Process, ...] = ()
    with suppress(OSError):
        running = tuple(list_running(names, proc, clock))
    return Processes(
        running=running,
        lock_holder=holder,
        are_nodes=_are_nodes(proc),
    )


def list_running(
    names: Iterable[str],
    proc: Path = PROC,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Process]:
    """The processes of these programs; see `Processes.running`.

    Raises:
        OSError: processes cannot be listed.
    """
    known = {name[:_NAME_BYTES]: name for name in names}
    with os.scandir(proc) as entries:
        pids = (int(entry.name) for entry in entries if entry.name.isdigit())
        for pid in _in_time(pids, clock):
            name = known.get(_name(proc, pid))
            if name is not None and _is_others(proc, pid) and not _is_away(proc, pid):
                arguments = _arguments(proc, pid)
                yield Process(pid=pid, name=name, arguments=arguments)


def _in_time(items: Iterable[T], clock: Callable[[], float]) -> Iterator[T]:
    """As many as there is time for."""
    end_s = clock() + LIMIT_S
    return takewhile(lambda _: clock() < end_s, items)


def _name(proc: Path, pid: int) -> str:
    """What the kernel keeps of its name; "" if it has ended meanwhile."""
    try:
        raw = (proc / str(pid) / "comm").read_bytes()
    except OSError:
        return ""
    return raw.removesuffix(b"\n").decode(errors="replace")


def _is_others(proc: Path, pid: int) -> bool:
    """Whether it lives, and neither is this process nor was started by it."""
    if pid == os.getpid():
        return False
    try:
        raw = (proc / str(pid) / "stat").read_bytes()
    except OSError:
        return False
    # The name before it may have anything in it, brackets and spaces too.
    state, parent = raw.rpartition(b")")[2].split()[:2]
    return state not in _DEAD and int(parent) != os.getpid()


def _is_away(proc: Path, pid: int) -> bool:
    """Whether it is known to be in another network namespace.

    Of a process with more rights than this one it cannot be known
    (security/commoncap.c:cap_ptrace_access_check).
    """
    try:
        theirs = (proc / str(pid) / "ns" / "net").readlink()
        return theirs != (proc / "thread-self" / "ns" / "net").readlink()
    except OSError:
        return False


def _arguments(proc: Path, pid: int) -> frozenset[str]:
    try:
        with (proc / str(pid) / "cmdline").open("rb") as file:
            raw = file.read(_ARGUMENTS_BYTES)
    except OSError:
        return frozenset()
    return frozenset(word.decode(errors="replace") for word in raw.split(b"\0") if word)


def _are_nodes(proc: Path) -> bool:
    try:
        pids = (proc / "self" / "ns" / "pid").readlink()
    except OSError:
        return False
    # The second condition fails where /proc is mounted to hide others' processes.
    return pids.name == _NODES_PIDS and bool(_name(proc, 1))


def _lock_holder(proc: Path, lock: Path, clock: Callable[[], float]) -> Process | None:
    """Who has locked a file, if that is another process, and still there.

    One that has left the locked file to what it has started (`exec 9>file; flock 9`)
    is not.
    """
    with suppress(OSError, ValueError):
        held = lock.stat()
        device = f"{os.major(held.st_dev):02x}:{os.minor(held.st_dev):02x}"
        place = f"{device}:{held.st_ino}"
        with (proc / "locks").open(encoding="ascii") as lines:
            for line in _in_time(lines, clock):
                # fs/locks.c:lock_get_status. Those who wait have an arrow before all.
                words = line.split()
                if len(words) < 6 or words[5] != place:
                    continue
                # None of a process that cannot be seen from here.
                pid = int(words[4])
                name = _name(proc, pid) if pid > 0 and _is_others(proc, pid) else ""
                if name:
                    return Process(pid=pid, name=one_line(name))
    return None
