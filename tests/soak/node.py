"""The node of the soak: a daemon that may die, and objects that change."""

import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from ipvsctl.model.net import IPv4Address
from tests.addresses import later
from tests.faults.cluster import HERE, HERE_TOO, OBJECTS, THERE, endpoints, service
from tests.faults.node import Node, start, wait_for_audit
from tests.lab.netns import inside
from tests.lab.topology import Cluster
from tests.reliability.drift import node_with_pods, wait, watching

SYNC_PERIOD: Final = "10s"

_SERVICES: Final = 300
_FIRST: Final = IPv4Address("10.98.0.1")

_BROKEN: Final = """#!/bin/sh
if [ -e {flag} ]; then {act}; fi
exec {real} "$@"
"""


class Held(NamedTuple):
    """What the daemon's process holds."""

    descriptors: int
    threads: int
    rss_mib: float


@dataclass(kw_only=True)
class Soaked:
    """The node, and who may do what to it.

    Attributes:
        flags: a directory: `fails` or `hangs` in it is what `iptables-save` does.
        log: of all daemons, one after the other.
    """

    node: Node
    world: Cluster
    flags: Path
    log: Path
    process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Have a daemon again; the one before is gone."""
        self.process = start(self.node, self.log)
        wait_for_audit(self.node, self.process)

    def kill(self, number: signal.Signals) -> None:
        """End the daemon."""
        self.process.send_signal(number)
        self.process.wait()

    def run(self, command: str) -> None:
        """What somebody does on the node."""
        with inside(self.node.netns):
            subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)  # noqa: S602

    def is_equal(self) -> bool:
        """The kernel holds what it should, says the daemon."""
        said = self.node.ipvsctl("diff", "--socket", str(self.node.sock))
        return said[0] == 0

    def held(self) -> Held:
        """What the daemon holds now."""
        proc = Path("/proc", str(self.process.pid))
        status = dict(
            line.split(":", 1) for line in (proc / "status").read_text().splitlines()
        )
        return Held(
            descriptors=sum(1 for _ in (proc / "fd").iterdir()),
            threads=int(status["Threads"]),
            rss_mib=int(status["VmRSS"].split()[0]) / 1024,
        )

    def settle(self, limit_s: float = 120) -> None:
        """Return when nothing is left to do.

        Raises:
            TimeoutError: something is, for too long.
        """
        wait(self.is_equal, limit_s)


@dataclass
class Churn:
    """Services that come, change and go.

    Attributes:
        changes: how many there have been.
    """

    manifests: Path
    choose: random.Random
    changes: int = 0

    def __post_init__(self) -> None:
        self._pods: dict[int, tuple[str, ...]] = {}
        for number in range(_SERVICES):
            self._pods[number] = (HERE, THERE)
        self.write()

    def change(self, count: int) -> None:
        """Change so many Services at once."""
        for _ in range(count):
            number = self.choose.randrange(_SERVICES)
            if number in self._pods and self.choose.random() < 0.2:
                del self._pods[number]
            else:
                some = (HERE, HERE_TOO, THERE)
                self._pods[number] = tuple(
                    p for p in some if self.choose.random() < 0.6
                )
        self.changes += count
        self.write()

    def write(self) -> None:
        """Have the file as it is to be, in one moment."""
        items = [
            item for number in sorted(self._pods) for item in self._objects(number)
        ]
        made = self.manifests / ".churn.new"
        made.write_text(
            json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        )
        made.rename(self.manifests / "churn.json")

    def _objects(self, number: int) -> tuple[dict[str, Any], ...]:
        name = f"churn-{number}"
        return (
            service(name, str(later(_FIRST, number))),
            endpoints(name, *self._pods[number]),
        )


@contextmanager
def soaked(scratch: Path, choose: random.Random) -> Iterator[tuple[Soaked, Churn]]:
    """A node with a daemon, and objects that may be changed."""
    flags = scratch / "flags"
    flags.mkdir()
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{_broken_tools(scratch, flags)}:{path}"
    try:
        with node_with_pods(scratch, OBJECTS, watching(SYNC_PERIOD)) as (node, built):
            churn, log = Churn(node.manifests, choose), scratch / "log"
            process = start(node, log)
            made = Soaked(node=node, world=built, flags=flags, log=log, process=process)
            try:
                wait_for_audit(node, process)
                yield made, churn
            finally:
                made.process.kill()
                made.process.wait()
    finally:
        os.environ["PATH"] = path


def _broken_tools(scratch: Path, flags: Path) -> Path:
    binaries = scratch / "bin"
    binaries.mkdir()
    for name in ("iptables-save", "ip6tables-save"):
        real = shutil.which(name)
        text = _BROKEN.format(flag=flags / "fails", act="exit 1", real=real)
        text = text.replace(
            "exec ", f"while [ -e {flags / 'hangs'} ]; do sleep 0.2; done\nexec "
        )
        (binaries / name).write_text(text)
        (binaries / name).chmod(0o755)
    return binaries
