"""Faults planted in a real kernel: `explain` names each, with and without a daemon."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ipvsctl.cli.app import app
from tests.faults.cluster import manifests
from tests.faults.faults import KERNEL_FAULTS, OBJECT_FAULTS, WEB, Fault
from tests.lab.netns import Netns, inside
from tests.lab.topology import cluster

pytestmark = pytest.mark.kernel

CONFIG = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
ipvs: {syncPeriod: 1h}
"""
FOREIGN = "ipvsadm -A -t 203.0.113.70:80 -s rr"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node with a daemon that audits once and never again."""

    netns: Netns
    manifests: Path
    sock: Path
    config: Path

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
            *("--manifests", str(self.manifests), "--node-name", "node-0"),
            *("--cluster-cidr", "172.16.0.0/12"),
        )

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


@contextmanager
def daemon(node: Node) -> Iterator[subprocess.Popen[bytes]]:
    """`ipvsctl run` on the node."""
    with inside(node.netns):
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ipvsctl", "run", *node.objects),
                *("--socket", str(node.sock), "--config", str(node.config)),
            ],
            stderr=subprocess.DEVNULL,
        )
    try:
        end = time.monotonic() + 120
        while "last audit" not in (said := _status(node)):
            assert process.poll() is None
            assert time.monotonic() < end, said
            time.sleep(0.2)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait()


def _status(node: Node) -> str:
    with inside(node.netns):
        return CliRunner().invoke(app, ["status", "--socket", str(node.sock)]).output


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that serves the cluster of the faults, with a daemon."""
    scratch = tmp_path_factory.mktemp("faults")
    with cluster() as built:
        made = Node(
            netns=built.nodes[0].netns,
            manifests=scratch / "cluster.yaml",
            sock=scratch / "ipvsctl.sock",
            config=scratch / "config.yaml",
        )
        made.manifests.write_text(manifests())
        made.config.write_text(CONFIG)
        made.run(FOREIGN)
        with daemon(made):
            _knock_at_the_dead(made)
            yield made


def _knock_at_the_dead(node: Node) -> None:
    """Have a connection that nobody answers, for as long as IPVS waits."""
    with inside(node.netns), socket.socket() as knocking:
        knocking.settimeout(3)
        with contextlib.suppress(OSError):
            knocking.connect(("10.96.0.31", 80))


@pytest.mark.parametrize("has_daemon", [True, False], ids=["daemon", "without"])
def test_a_node_without_faults(node: Node, *, has_daemon: bool) -> None:
    """It is said to work, and none of the faults is seen."""
    status, said = node.explain(WEB, has_daemon=has_daemon)
    assert status == 0, said
    for fault in KERNEL_FAULTS:
        if fault.asked == (WEB,):
            assert not re.search(fault.told, headline(said)), fault.name


@pytest.mark.parametrize("has_daemon", [True, False], ids=["daemon", "without"])
@pytest.mark.parametrize("fault", OBJECT_FAULTS, ids=lambda fault: fault.name)
def test_faults_of_objects(node: Node, fault: Fault, *, has_daemon: bool) -> None:
    """They are in the headline."""
    status, said = node.explain(*fault.asked, has_daemon=has_daemon)
    assert status == 1, said
    assert re.search(fault.told, headline(said)), said


@pytest.mark.parametrize("fault", KERNEL_FAULTS, ids=lambda fault: fault.name)
def test_faults_of_the_kernel(node: Node, fault: Fault) -> None:
    """They are in the headline, as long as nothing has repaired them."""
    assert node.explain(*fault.asked, has_daemon=False)[0] == 0, "before it"
    for line in fault.plant:
        node.run(line)
    try:
        for has_daemon in (True, False):
            status, said = node.explain(*fault.asked, has_daemon=has_daemon)
            assert status == 1, said
            assert re.search(fault.told, headline(said)), said
    finally:
        node.mend()


def headline(said: str) -> str:
    """The lines before the steps, in one."""
    lines = said.split("\n\n", 1)[0].splitlines()
    return " ".join(line.strip() for line in lines)
