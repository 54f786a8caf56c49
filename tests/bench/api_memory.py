"""`python -m tests.bench.api_memory`: `ipvsctl run` on an API server, in the lab.

Daemon and API server are processes in a network namespace of their own, as they would
be on a node: what is measured is what a user would see in `/proc`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.apiserver.large import large_cluster
from tests.lab.netns import create, inside

Figures = dict[str, float]

_PROBED = "10256"
"""The port of `/livez`, by default."""

_MIB = 1024
"""KiB in a MiB: `/proc` counts in KiB."""


def measure(
    services: int,
    endpoints: int,
    *,
    changes_per_s: float = 0,
    after_s: float = 0,
    streaming: str = "on",
) -> Figures:
    """Have a fresh daemon serve a cluster, and look at its memory.

    Args:
        services: how many, with one slice each.
        endpoints: of each slice.
        changes_per_s: how many endpoints change meanwhile.
        after_s: how long to go on after the first audit.
        streaming: what the server thinks of streaming lists; with "off" the daemon asks
            for pages.

    Returns:
        Seconds and MiB by name.

    Raises:
        RuntimeError: the daemon ended, or left ops failed.
    """
    sizes = (f"--services={services}", f"--endpoints={endpoints}")
    manner = (f"--changes-per-s={changes_per_s}", f"--streaming={streaming}")
    with (
        tempfile.TemporaryDirectory() as scratch,
        create("api-memory") as netns,
        inside(netns),
        _running("-m", "tests.fakes.apiserver", *sizes, *manner) as server,
    ):
        kubeconfig = str(server.stdout.readline().decode().strip())
        begun = time.perf_counter()
        where = ("--kubeconfig", kubeconfig, "--socket", f"{scratch}/ipvsctl.sock")
        words = ("run", "--node-name=node-0", "--log-format=json", *where)
        with (
            _running("-m", "ipvsctl", *words) as daemon,
            _running("-m", "tests.bench.prober", _PROBED) as prober,
        ):
            figures = _follow(daemon, begun)
            time.sleep(after_s)
            figures["cpu, s"] = _cpu_s(daemon.pid)
            figures |= _memory(daemon.pid, "at the end")
            answers = json.loads(prober.end())
            figures |= {f"livez, {name}": answers[name] for name in answers}
    figures["list, MB"] = _slices_mb(services, endpoints)
    return figures


def _slices_mb(services: int, endpoints: int) -> float:
    """How long the list of all slices is, in MB."""
    objects = large_cluster(services=services, slices=services, endpoints=endpoints)
    found = (raw for raw in objects if raw["kind"] == "EndpointSlice")
    return sum(len(json.dumps(raw, separators=(",", ":"))) for raw in found) / 1e6


class _Process:
    """A process with its output."""

    def __init__(self, started: "subprocess.Popen[bytes]") -> None:
        assert started.stdout is not None
        self._started = started
        self.stdout = started.stdout
        self.pid = started.pid

    def end(self) -> bytes:
        """End its input; what it has to say then."""
        return self._started.communicate()[0]


@contextmanager
def _running(*arguments: str) -> Iterator[_Process]:
    """A Python process, ended with the block; its errors go where its output goes."""
    command = [sys.executable, *arguments]
    started = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield _Process(started)
    finally:
        if started.poll() is None:
            started.terminate()
            started.communicate()


def _follow(daemon: _Process, begun: float) -> Figures:
    """Read the log up to the end of the first audit."""
    figures: Figures = {}
    for line in daemon.stdout:
        spent_s = time.perf_counter() - begun
        entry = _entry(line)
        if entry.get("event") == "start":
            figures["to start, s"] = spent_s
        if entry.get("event") == "source complete":
            figures["to complete, s"] = spent_s
            figures |= _memory(daemon.pid, "when complete")
        if entry.get("event") == "audit":
            if entry["failed"]:
                raise RuntimeError(f"ops failed: {entry}")
            figures["to synced, s"] = spent_s
            return figures | _memory(daemon.pid, "after the first audit")
    raise RuntimeError("the daemon ended before its first audit")


def _entry(line: bytes) -> dict[str, object]:
    try:
        entry: dict[str, object] = json.loads(line)
    except ValueError:
        raise RuntimeError(f"the daemon said: {line!r}") from None
    return entry


def _memory(pid: int, when: str) -> Figures:
    """Peak and present resident memory of a process, in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in text.splitlines())
    names = {"VmHWM": "peak RSS", "VmRSS": "RSS"}
    return {
        f"{name} {when}, MiB": round(int(fields[field].split()[0]) / _MIB, 1)
        for field, name in names.items()
    }


def _cpu_s(pid: int) -> float:
    """CPU time a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    # utime and stime: fields 14 and 15 of proc(5), which counts from 1 and has the two
    # before these.
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure one size and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.api_memory", description=__doc__
    )
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument("--changes-per-s", type=float, default=0)
    parser.add_argument("--after", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--streaming", choices=("on", "off"), default="on")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    figures = measure(
        options.services,
        options.endpoints,
        changes_per_s=options.changes_per_s,
        after_s=options.after,
        streaming=options.streaming,
    )
    for name, value in figures.items():
        print(f"{name:32} {value:10.1f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
