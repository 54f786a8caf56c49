"""What somebody else does to the kernel while clients ask."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ipvsctl.model.config import FirewallKind
from ipvsctl.model.net import IPAddress, IPv4Address, parse_address
from tests.addresses import later
from tests.builders import Raw
from tests.faults.cluster import HERE, HERE_TOO, OBJECTS, THERE, endpoints, service
from tests.faults.node import CONFIG, Node, daemon
from tests.kernel.firewalls import firewall_of_run
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster, cluster
from tests.lab.traffic import Servers, ask

VIP: Final = parse_address("10.96.0.10")
NEW: Final = parse_address("10.0.0.77")
_NODE_PORT: Final = 30080

ANSWER_S: Final = 1.0
_PAUSE_S: Final = 0.03

_SURE_S: Final = 1.0
"""Without a request lost, all is served again."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Something that is done.

    Attributes:
        commands: run in the node's namespace; {link} is its own link.
        undo: what makes it possible to do it again, if the daemon does not.
        asked: by a client outside.
        is_heard: the kernel tells of it, or its numbers do.
    """

    name: str
    commands: tuple[str, ...]
    undo: tuple[str, ...] = ()
    asked: tuple[IPAddress, int] = (VIP, 80)
    is_heard: bool = True


_FLUSH: Final = {
    FirewallKind.IPTABLES: "ipset flush KUBE-CLUSTER-IP",
    FirewallKind.NFTABLES: "nft flush set ip ipvsctl cluster-ip",
}

DRIFTS: Final = (
    Drift(name="`ipvsadm -C`", commands=("ipvsadm -C",)),
    Drift(name="one virtual server deleted", commands=(f"ipvsadm -D -t {VIP}:80",)),
    Drift(name="`kube-ipvs0` deleted", commands=("ip link delete kube-ipvs0",)),
    Drift(name="`kube-ipvs0` set down", commands=("ip link set kube-ipvs0 down",)),
    # The routes that they have beside them go with the last one.
    Drift(name="addresses flushed", commands=("ip address flush dev kube-ipvs0",)),
    Drift(name="a set flushed", commands=(_FLUSH[firewall_of_run()],)),
    Drift(
        name="node address added",
        commands=(f"ip address add {NEW}/24 dev eth0",),
        undo=(f"ip address delete {NEW}/24 dev eth0",),
        asked=(NEW, _NODE_PORT),
    ),
)


@dataclass(kw_only=True)
class Outcome:
    """What became of clients.

    Attributes:
        lost: requests without an answer since the fault.
        healed_s: from the fault to the first of those that all had one.
    """

    lost: int
    healed_s: float


@dataclass
class Traffic:
    """A client that asks all the time, each time on a new connection."""

    netns: Netns
    asked: tuple[IPAddress, int]
    results: list[tuple[float, bool]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until it is stopped."""
        while not self._stop.wait(_PAUSE_S):
            begun = time.monotonic()
            try:
                ask(self.netns, *self.asked, timeout_s=ANSWER_S)
            except OSError:
                self.results.append((begun, False))
            else:
                self.results.append((begun, True))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ask during the block."""
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def served_since(self) -> float | None:
        """When the requests began that all had an answer; None if the last had none."""
        since = None
        for begun, is_answered in reversed(tuple(self.results)):
            if not is_answered:
                break
            since = begun
        return since


@contextmanager
def node_with_pods(
    scratch: Path, objects: Iterable[Raw], config: str
) -> Iterator[tuple[Node, Cluster]]:
    """A node whose pods answer, and that nobody serves yet."""
    with cluster() as built, Servers() as servers:
        for pod in built.pods.values():
            servers.add(pod.netns, pod.ipv4, 8080)
        made = Node(
            netns=built.nodes[0].netns,
            manifests=scratch / "objects",
            sock=scratch / "ipvsctl.sock",
            config=scratch / "config.yaml",
        )
        made.manifests.mkdir()
        listed = {"apiVersion": "v1", "kind": "List", "items": [*objects]}
        (made.manifests / "all.json").write_text(json.dumps(listed))
        made.config.write_text(config)
        yield made, built


def watching(sync_period: str) -> str:
    """The configuration of a daemon that sees drift when it happens."""
    return CONFIG.replace("PERIOD", sync_period).replace("WATCH", "true")


@contextmanager
def served_node(
    scratch: Path,
    services: int,
    sync_period: str,
    firewall: FirewallKind | None = None,
) -> Iterator[tuple[Node, Cluster]]:
    """A node that serves `services` more than those of the faults, with pods.

    Args:
        scratch: for its files.
        services: how many more.
        sync_period: between two audits.
        firewall: that its daemon is to have; None is that of the run.
    """
    objects, config = _objects(services), watching(sync_period)
    if firewall is not None:
        config = config.replace("ipvsctl: {", f"ipvsctl: {{firewall: {firewall}, ")
    with node_with_pods(scratch, objects, config) as made, daemon(made[0]):
        yield made


def _objects(services: int) -> Iterator[dict[str, Any]]:
    yield from OBJECTS
    first = IPv4Address("10.97.0.1")
    for number in range(services):
        name = f"more-{number}"
        yield service(name, str(later(first, number)))
        yield endpoints(name, HERE, HERE_TOO, THERE)


def suffer(node: Node, world: Cluster, drift: Drift, limit_s: float = 60) -> Outcome:
    """Have something done, and see what becomes of clients.

    Raises:
        TimeoutError: it is not mended in time.
    """
    traffic = Traffic(world.client.netns, drift.asked)
    with traffic.running():
        is_new = drift.asked[0] == NEW
        wait(lambda: is_new or bool(traffic.served_since()), limit_s)
        begun = time.monotonic()
        with inside(node.netns):
            for command in drift.commands:
                subprocess.run(command.split(), check=True)
        # What is under way has been asked before.
        done = time.monotonic()

        def is_served() -> bool:
            since = traffic.served_since()
            return since is not None and time.monotonic() - max(since, done) > _SURE_S

        wait(is_served, limit_s)
        since = traffic.served_since() or 0
    # Asking the daemon takes the one CPU that clients need as well.
    wait(lambda: _is_equal(node), limit_s)
    with inside(node.netns):
        for command in drift.undo:
            subprocess.run(command.split(), check=True)
    lost = sum(
        1 for at, is_answered in traffic.results if at > begun and not is_answered
    )
    return Outcome(lost=lost, healed_s=max(since - begun, 0.0) if lost else 0.0)


def _is_equal(node: Node) -> bool:
    """The daemon has mended all of it."""
    return node.ipvsctl("diff", "--socket", str(node.sock))[0] == 0


def wait(holds: Callable[[], bool], limit_s: float = 120) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it does not.
    """
    end = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.1)
