"""The daemon as a process: killed, started again, ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ipvsctl.cli.daemon import DaemonError, ask
from ipvsctl.model.status import NodeStatus
from tests.bench.cluster import write_manifests
from tests.lab.netns import Netns, inside

pytestmark = pytest.mark.kernel

IPVSCTL = (sys.executable, "-m", "ipvsctl")
FOREIGN = ["-A -t 10.103.97.12:6443 -s rr", "-a -t 10.103.97.12:6443 -r 10.0.0.11:6443"]
SERVICES = 200


class Daemon:
    """`ipvsctl` in a namespace, on manifests of its own."""

    def __init__(self, netns: Netns, scratch: Path) -> None:
        self.netns = netns
        self.manifests = scratch / "cluster.json"
        self._socket_path = scratch / "ipvsctl.sock"
        self._socket = ("--socket", str(self._socket_path))

    def start(self) -> subprocess.Popen[bytes]:
        """Start `ipvsctl run`."""
        with inside(self.netns):
            return subprocess.Popen(
                [*IPVSCTL, "run", *self._cluster(), *self._socket],
                stderr=subprocess.DEVNULL,
            )

    def diff(self) -> int:
        """Run `ipvsctl diff`; its exit status."""
        return self._run("diff", *self._cluster())

    def apply(self) -> int:
        """Run `ipvsctl apply`; its exit status."""
        return self._run("apply", *self._cluster())

    def status(self) -> NodeStatus | None:
        """What the process that runs says; None before its first audit."""
        with contextlib.suppress(DaemonError):
            answer = ask(self._socket_path, "/v1/status")
            if answer is not None:
                return msgspec.json.decode(answer, type=NodeStatus)
        return None

    def cleanup(self) -> int:
        """Run `ipvsctl cleanup`; its exit status."""
        return self._run("cleanup")

    def _run(self, *words: str) -> int:
        socket = self._socket if words[0] != "apply" else ()
        with inside(self.netns):
            done = subprocess.run(
                [*IPVSCTL, *words, *socket],
                stdout=subprocess.DEVNULL,
                check=False,
            )
        return done.returncode

    def virtual_servers(self) -> int:
        """How many the kernel has."""
        with inside(self.netns):
            table = Path("/proc/thread-self/net/ip_vs").read_text()
        return sum(line.startswith(("TCP", "UDP")) for line in table.splitlines())

    def _cluster(self) -> tuple[str, ...]:
        return "--manifests", str(self.manifests), "--node-name", "node-0"


@pytest.fixture
def daemon(netns: Netns, tmp_path: Path) -> Daemon:
    """A node with a foreign virtual server and a cluster to serve."""
    for line in FOREIGN:
        subprocess.run(["ipvsadm", *line.split()], check=True)
    made = Daemon(netns, tmp_path)
    write_manifests(made.manifests, services=SERVICES, endpoints=3)
    return made


def wait_for(holds: Callable[[], bool], limit_s: float = 180) -> None:
    """Wait until something holds."""
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, "it did not come to hold"
        os.sched_yield()


def foreign_is_there() -> bool:
    """The foreign virtual server is as it was."""
    saved = subprocess.run(
        ["ipvsadm-save", "-n"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return {
        "-A -t 10.103.97.12:6443 -s rr",
        "-a -t 10.103.97.12:6443 -r 10.0.0.11:6443 -g -w 1",
    } <= set(saved)


def test_killed_and_started_again(daemon: Daemon) -> None:
    """Kill -9 in the middle of the first sync; the next process finishes it.

    Ended by SIGTERM it leaves before anything it could wait for is over, which takes
    ten seconds, and leaves the kernel as it is.
    """
    first = daemon.start()
    wait_for(lambda: daemon.virtual_servers() > 1)
    first.kill()
    first.wait()
    assert foreign_is_there()
    second = daemon.start()
    wait_for(lambda: daemon.virtual_servers() == SERVICES + 1)
    wait_for(lambda: daemon.diff() == 0)
    second.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    assert second.wait() == 0
    assert time.monotonic() - begun < 8
    assert daemon.virtual_servers() == SERVICES + 1
    assert daemon.cleanup() == 0
    assert daemon.virtual_servers() == 1
    assert foreign_is_there()


@pytest.mark.timeout(240)
def test_started_over_manifests_that_cannot_be_read(daemon: Daemon) -> None:
    """Nothing is deleted for what is missing, until all of it can be read.

    `apply` changes nothing, `diff` never says that it knows, and a process that is
    started over it serves what it can. When the file is whole, what it does not have
    goes at once.
    """
    assert daemon.apply() == 0
    whole = daemon.manifests.read_bytes()
    daemon.manifests.write_bytes(whole[: len(whole) // 2])
    assert daemon.apply() == 2
    assert daemon.diff() == 2
    assert daemon.virtual_servers() == SERVICES + 1
    process = daemon.start()
    wait_for(lambda: daemon.status() is not None)
    status = daemon.status()
    assert status is not None
    source = status.summary.source_state
    assert source is not None
    assert str(daemon.manifests) in source.doubts[0]
    assert source.held >= SERVICES
    assert daemon.virtual_servers() == SERVICES + 1
    write_manifests(daemon.manifests, services=SERVICES // 2, endpoints=3)
    wait_for(lambda: daemon.virtual_servers() == SERVICES // 2 + 1)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert foreign_is_there()
