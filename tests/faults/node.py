"""A node of the lab that faults are planted in, with a daemon."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from ipvsctl.cli.app import app
from tests.faults.cluster import manifests
from tests.faults.faults import Fault
from tests.lab.netns import Netns, inside
from tests.lab.topology import cluster

CONFIG = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
ipvs: {syncPeriod: PERIOD}
ipvsctl: {driftWatch: WATCH}
"""
FOREIGN = "ipvsadm -A -t 203.0.113.70:80 -s rr"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node with a daemon, which audits once and never again unless told so.

    Attributes:
        name: that the daemon is told.
    """

    netns: Netns
    manifests: Path
    sock: Path
    config: Path
    name: str = "node-0"

    def ipvsctl(self, *words: str) -> tuple[int, str]:
        """Run a command here; its status and what it printed."""
        with inside(self.netns):
            done = CliRunner().invoke(app, words)
        assert done.exception is None or isinstance(done.exception, SystemExit), (
            done.exception
        )
        return done.exit_code, done.output

    def explain(self, *words: str, has_daemon: bool) -> tuple[int, str]:
        """`ipvsctl explain`, as the daemon has it or without one."""
        if has_daemon:
            return self.ipvsctl("explain", *words, "--socket", str(self.sock))
        return self.ipvsctl("explain", *words, *self.objects)

    @property
    def objects(self) -> tuple[str, ...]:
        """The options about this node's cluster."""
        return (
            *("--manifests", str(self.manifests), "--node-name", self.name),
            *("--cluster-cidr", "172.16.0.0/12"),
        )

    def plant(self, fault: Fault) -> None:
        """Have a fault."""
        for line in fault.plant:
            self.run(line)
        if fault.knocks:
            _knock(self, fault.knocks)

    def run(self, line: str) -> None:
        """Run a command of the system here."""
        with inside(self.netns):
            subprocess.run(line.split(), check=True)

    def mend(self) -> None:
        """Undo what faults have done."""
        for table in ("filter", "nat", "mangle"):
            self.run(f"iptables -t {table} -F")
            self.run(f"iptables -t {table} -X")
        self.run("iptables -P FORWARD ACCEPT")
        assert self.ipvsctl("apply", *self.objects)[0] == 0


def start(
    node: Node, log: Path | None = None, code: Path | None = None
) -> subprocess.Popen[bytes]:
    """`ipvsctl run` on the node, from now on.

    Args:
        node: where.
        log: is appended to; None is nowhere.
        code: a directory that has the package; None is the one that tests run.
    """
    command = [
        *(sys.executable, "-m", "ipvsctl", "run", *node.objects),
        *("--socket", str(node.sock), "--config", str(node.config)),
    ]
    env = None if code is None else {**os.environ, "PYTHONPATH": str(code)}
    with inside(node.netns), (log or Path(os.devnull)).open("ab") as written:
        return subprocess.Popen(command, stderr=written, cwd=code, env=env)


def wait_for_audit(node: Node, process: subprocess.Popen[bytes]) -> None:
    """Return when a daemon has audited once."""
    end = time.monotonic() + 120
    said = ""
    # To ask before it listens has the kernel read, and keeps the daemon from its start.
    while not node.sock.exists() or "last audit" not in (said := _status(node)):
        assert process.poll() is None, said
        assert time.monotonic() < end, said
        time.sleep(0.2)


@contextmanager
def daemon(node: Node) -> Iterator[subprocess.Popen[bytes]]:
    """`ipvsctl run` on the node, which has audited once."""
    process = start(node)
    try:
        wait_for_audit(node, process)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait()


def _status(node: Node) -> str:
    with inside(node.netns):
        return CliRunner().invoke(app, ["status", "--socket", str(node.sock)]).output


@contextmanager
def faulty_node(
    scratch: Path, name: str = "node-0", *, sync_period: str = "1h"
) -> Iterator[tuple[Node, subprocess.Popen[bytes]]]:
    """A node that serves the cluster of the faults, with a daemon of that name."""
    with cluster() as built:
        made = Node(
            netns=built.nodes[0].netns,
            manifests=scratch / "cluster.yaml",
            sock=scratch / "ipvsctl.sock",
            config=scratch / "config.yaml",
            name=name,
        )
        made.manifests.write_text(manifests())
        text = CONFIG.replace("PERIOD", sync_period)
        # What is planted is to be there until somebody has looked at it.
        made.config.write_text(text.replace("WATCH", "false"))
        made.run(FOREIGN)
        with daemon(made) as process:
            yield made, process


def _knock(node: Node, address: str) -> None:
    """Have a connection that nobody answers; IPVS waits for a minute."""
    with inside(node.netns), socket.socket() as knocking:
        knocking.settimeout(3)
        with contextlib.suppress(OSError):
            knocking.connect((address, 80))


def headline(said: str) -> str:
    """The lines before the steps, in one."""
    lines = said.split("\n\n", 1)[0].splitlines()
    return " ".join(line.strip() for line in lines)
