"""What is done in the lab, and which commands are shown meanwhile."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ipvsctl.model.net import parse_address
from tests.commands.page import Scene
from tests.demo import EXAMPLES
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster, cluster
from tests.lab.traffic import Connection, Servers, ask, connect

_VIP: Final = parse_address("10.96.0.10")
_COUNTED: Final = re.compile(r" [1-9]\d*B ")
"""Bytes of a virtual server, in a row of `status`."""
_IPVSCTL: Final = (sys.executable, "-m", "ipvsctl")
_GONE: Final = """\
  - addresses: [172.16.0.11]
    nodeName: node-0
    zone: zone-a
"""


class Stage:
    """A node where commands are run as an operator would.

    Attributes:
        scenes: what was shown so far.
    """

    def __init__(self, netns: Netns, directory: Path) -> None:
        self.scenes: list[Scene] = []
        self._netns = netns
        self._directory = directory

    def show(self, told: str, words: str, *, lines: int = 0) -> str:
        """Run a command and keep what it prints: all, or the first lines."""
        done = self.run(words)
        said = self._without_place(done.stdout + done.stderr)
        kept = said.splitlines()
        if lines and len(kept) > lines:
            said = "\n".join([*kept[:lines], "..."])
        page = words.split(maxsplit=1)[0]
        self.scenes.append(Scene(page, told, words, said, done.returncode))
        return said

    def run(self, words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ipvsctl."""
        with inside(self._netns):
            return subprocess.run(
                [*_IPVSCTL, *words.split()],
                capture_output=True,
                text=True,
                check=False,
                cwd=self._directory,
                env=self._environment(),
            )

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """`ipvsctl run`; its first lines are shown."""
        words = "run --manifests examples --log-format console"
        log = self._directory / "log"
        with inside(self._netns), log.open("w") as errors:
            process = subprocess.Popen(
                [*_IPVSCTL, *words.split()],
                stderr=errors,
                cwd=self._directory,
                env=self._environment(),
            )
        try:
            wait(lambda: "last audit" in self.run("status").stdout)
            said = self._without_place(log.read_text())
            told = "A node begins, over manifests"
            self.scenes.append(Scene("run", told, words, said, 0))
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)

    def _without_place(self, said: str) -> str:
        return said.replace(str(self._directory), "/etc/ipvsctl").rstrip()

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "COLUMNS": "96",
            "TZ": "UTC",
            "IPVSCTL_NODE_NAME": "node-0",
            "IPVSCTL_SOCKET": "ipvsctl.sock",
            "IPVSCTL_CLUSTER_CIDR": "172.16.0.0/12,fd00:172::/32",
            # What is broken is to stay so until it was shown.
            "IPVSCTL_DRIFT_WATCH": "false",
        }


def play(directory: Path) -> list[Scene]:
    """Run everything once; the scenes in their order."""
    examples = directory / "examples"
    shutil.copytree(EXAMPLES, examples)
    with cluster(pods=(2, 1)) as world, Servers() as servers:
        for pod in world.pods.values():
            servers.add(pod.netns, pod.ipv4, 8080)
        stage = Stage(world.nodes[0].netns, directory)
        stage.show("The version", "version")
        stage.show(
            "A node as it is before anything of ipvsctl runs there",
            "check --manifests examples",
        )
        stage.show(
            "What a node should hold, from objects alone",
            "render --manifests examples -o ipvsadm",
            lines=12,
        )
        stage.show(
            "What would be done, before it is",
            "apply --manifests examples --dry-run",
            lines=16,
        )
        stage.show("Doing it", "apply --manifests examples")
        _run_daemon(stage, world, examples)
        stage.show("Removing it", "cleanup", lines=12)
    return stage.scenes


def _run_daemon(stage: Stage, world: Cluster, examples: Path) -> None:
    with stage.daemon():
        client = world.client.netns
        ask(client, _VIP, 80)
        # The kernel adds up what it has counted every two seconds; from Linux 6.2 on
        # its first sum takes longer (net/netfilter/ipvs/ip_vs_est.c).
        wait(lambda: _COUNTED.search(stage.run("status web -o wide").stdout))
        stage.show("The whole node", "status", lines=40)
        stage.show("One Service, with all there is to say", "status web -o wide")
        told = "A Service that works, for a client inside the cluster"
        stage.show(told, "explain kube-dns:dns --from pod")
        stage.show("Nothing to do", "diff")
        _break(stage, world.nodes[0].netns)
        _drain(stage, client, examples)
        stage.show("What the daemon did so far", "events")
        stage.show("The busiest Services", "top --once")
        stage.show("The endpoints of one", "top web --once")


def _break(stage: Stage, node: Netns) -> None:
    """Somebody takes an address away."""
    with inside(node):
        subprocess.run(
            f"ip address delete {_VIP}/32 dev kube-ipvs0".split(), check=True
        )
    told = "Somebody has deleted an address from kube-ipvs0"
    stage.show(told, "explain web:http", lines=30)
    stage.show(told, "diff web")
    stage.show("What is not as it should be", "status --problems")
    wait(lambda: stage.run("diff").returncode == 0)


def _drain(stage: Stage, client: Netns, examples: Path) -> None:
    """A pod leaves while a client is connected to it."""
    held = _connected_to(client, "pod-0-1")
    with held:
        manifest = examples / "web.yaml"
        text = manifest.read_text()
        if _GONE not in text:
            raise ValueError("the example has no such endpoint")
        manifest.write_text(text.replace(_GONE, ""))
        wait(lambda: "draining" in stage.run("status web").stdout)
        stage.show(
            "A pod leaves while a client is connected to it", "status --draining"
        )
        stage.show("Who still talks to it", "conns --draining")
        stage.show("How many connections each endpoint has", "conns --by endpoint")


def _connected_to(client: Netns, server: str) -> Connection:
    while True:
        connection = connect(client, _VIP, 80)
        if connection.ask().server == server:
            return connection
        with connection:
            pass


def wait(holds: Callable[[], object], limit_s: float = 120) -> None:
    """Wait until it holds.

    Raises:
        TimeoutError: it does not.
    """
    end_s = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end_s:
            raise TimeoutError
        time.sleep(0.2)
