"""One proxy in a network namespace of its own, from its start to the last change."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tests.bench.floor import node_netns
from tests.bench.peers.contenders import Contender
from tests.bench.peers.server import Changed
from tests.bench.peers.usage import Usage, nothing, read_memory, read_usage
from tests.bench.peers.views import View, open_view, wait
from tests.bench.sizes import Figures, Size
from tests.lab.netns import inside

_SETTLED_S: Final = 0.5
_SETTLED_SHARE: Final = 0.1
_MOST_SETTLING: Final = 60
_END_OF_LOG: Final = 2000


class Course(NamedTuple):
    """What is asked of each proxy.

    Attributes:
        first_s: how long its first sync may take.
        changes: how many, one after the other, as far as there is time.
        changes_s: the time there is.
        change_s: how long one may take.
        rates: of churn, changes a second.
        churn_s: how long each churn goes on.
    """

    first_s: float = 900
    changes: int = 20
    changes_s: float = 60
    change_s: float = 120
    rates: tuple[int, ...] = (10, 200)
    churn_s: float = 20


class _Server:
    """The API server, told by lines."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        if process.stdin is None or process.stdout is None:
            raise TypeError(process)
        self._asked, self._answers = process.stdin, process.stdout

    def read(self) -> bytes:
        """Its next line."""
        return self._answers.readline().strip()

    def tell(self, *words: float) -> Changed:
        """Have it change something, and wait until it has."""
        self._asked.write(f"{' '.join(map(str, words))}\n".encode())
        self._asked.flush()
        return msgspec.json.decode(self.read(), type=Changed)


class _Runner(NamedTuple):
    """A proxy that is running.

    Attributes:
        process: its own.
        log: what it says.
        view: of its work.
        server: that it follows.
    """

    process: "subprocess.Popen[bytes]"
    log: Path
    view: View
    server: _Server

    def usage(self) -> Usage:
        """What it has used so far.

        Raises:
            RuntimeError: it has ended.
        """
        if self.process.poll() is not None:
            said = self.log.read_text(errors="replace")[-_END_OF_LOG:]
            raise RuntimeError(f"it ended, and said at last: {said}")
        return read_usage(self.process.pid)

    def settle(self) -> Usage:
        """Wait until it does nothing any more; what it has used then."""
        usage = self.usage()
        for _ in range(_MOST_SETTLING):
            before = usage
            time.sleep(_SETTLED_S)
            usage = self.usage()
            if usage.cpu_s - before.cpu_s <= _SETTLED_SHARE * _SETTLED_S:
                break
        return usage

    def is_reachable(self) -> bool:
        """See `View`; it has to be running."""
        self.usage()
        return self.view.is_reachable()


def measure(contender: Contender, size: Size, course: Course) -> Figures:
    """Have a fresh proxy serve a cluster, and change it.

    Args:
        contender: which proxy.
        size: of the cluster.
        course: what is asked of it.

    Returns:
        Seconds, MiB and counts by name. What was not done in time is not among them.

    Raises:
        RuntimeError: the proxy ended.
    """
    with (
        tempfile.TemporaryDirectory() as name,
        node_netns("peers") as netns,
        inside(netns),
        _serving(size, Path(name, "kubeconfig")) as server,
        closing(open_view(contender.table, size)) as view,
    ):
        begun_s, before = time.monotonic(), nothing()
        words = contender.command(Path(name), Path(name, "kubeconfig"))
        with _running(words, Path(name, "log")) as process:
            runner = _Runner(process, Path(name, "log"), view, server)
            figures = _first_sync(runner, begun_s, before, course)
            if "first sync, s" in figures:
                figures |= _changes(runner, size.services, course)
                for rate in course.rates:
                    figures |= _churn(runner, rate, size.services, course)
            figures["peak RSS, MiB"] = read_memory(process.pid)[1]
    return figures


def _first_sync(
    runner: _Runner, begun_s: float, before: Usage, course: Course
) -> Figures:
    figures: Figures = {"limit, s": course.first_s}
    limits = {"since_s": begun_s, "limit_s": course.first_s}
    reachable_s = wait(runner.is_reachable, **limits)
    if reachable_s is not None:
        figures["reachable, s"] = reachable_s
        whole_s = wait(runner.view.is_whole, **limits)
        if whole_s is not None:
            figures["first sync, s"] = whole_s
    usage = runner.settle() if "first sync, s" in figures else runner.usage()
    figures["processes"] = usage.processes_since(before) - runner.view.started
    figures["CPU, s"] = usage.cpu_s
    figures["RSS, MiB"] = read_memory(runner.process.pid)[0]
    return figures


def _changes(runner: _Runner, services: int, course: Course) -> Figures:
    """One change after the other, each when the proxy has nothing else to do."""
    times: list[float] = []
    cpu: list[float] = []
    processes: list[int] = []
    end_s = time.monotonic() + course.changes_s
    before = runner.settle()
    while len(times) < course.changes and (time.monotonic() < end_s or not times):
        took_s = _change(runner, len(times) % services, course.change_s)
        if took_s is None:
            return {"change, limit": course.change_s}
        after = runner.settle()
        times.append(took_s)
        cpu.append(after.cpu_s - before.cpu_s)
        processes.append(after.processes_since(before))
        before = after
    return {
        "changes": len(times),
        "change, s": statistics.median(times),
        "change, CPU, s": statistics.fmean(cpu),
        "change, processes": statistics.median(processes),
    }


def _churn(runner: _Runner, rate: int, services: int, course: Course) -> Figures:
    """Many changes, and then one of a Service that was not among the changed ones.

    Once the kernel has that one, the proxy has made up for all that came before.
    """
    before = runner.settle()
    changed = runner.server.tell(rate, course.churn_s, services - 1)
    late_s = _change(runner, services - 1, course.change_s)
    usage = runner.settle()
    churn = f"churn {rate}"
    figures: Figures = {
        f"{churn}, changes": changed.count,
        f"{churn}, took, s": changed.took_s,
        f"{churn}, CPU, s": usage.cpu_s - before.cpu_s,
        f"{churn}, processes": usage.processes_since(before),
    }
    if late_s is None:
        return {**figures, f"{churn}, limit": course.change_s}
    return {**figures, f"{churn}, late, s": late_s}


def _change(runner: _Runner, number: int, limit_s: float) -> float | None:
    """Change a Service; seconds until the kernel has it, None if it does not come."""
    # What was told of before is of another change.
    runner.view.has(number, is_ready=True)
    changed = runner.server.tell(number)
    return wait(
        lambda: runner.view.has(number, is_ready=changed.is_ready),
        since_s=changed.at_s,
        limit_s=limit_s,
    )


@contextmanager
def _serving(size: Size, kubeconfig: Path) -> Iterator[_Server]:
    """The API server, once it answers."""
    words = (str(size.services), str(size.endpoints), str(kubeconfig))
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.peers.server", *words],
        stdin=pipe,
        stdout=pipe,
    )
    try:
        server = _Server(process)
        server.read()
        yield server
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _running(words: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A proxy, killed at the end; what it did to the kernel goes with the namespace."""
    with log.open("wb") as file:
        process = subprocess.Popen(words, stdout=file, stderr=file)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
