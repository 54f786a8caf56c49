"""From the release before to this one and back, under traffic, each killed at once.

`releases/` has the wheel of each release before this one, built from its commit.
"""

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.faults.cluster import OBJECTS
from tests.faults.node import Node, start
from tests.lab.topology import Cluster
from tests.lab.traffic import connect
from tests.reliability.drift import VIP, Traffic, node_with_pods, wait

pytestmark = pytest.mark.kernel

HERE_NOW: Final = Path(__file__).parents[2]
RELEASES: Final = sorted(Path(__file__).with_name("releases").glob("*.whl"))
NODE_PORT: Final = 30080
CONFIG: Final = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[Node, Cluster]]:
    """A node with pods, and nobody who serves them yet."""
    with node_with_pods(tmp_path, OBJECTS, CONFIG) as made:
        yield made


@contextmanager
def daemon(node: Node, code: Path) -> Iterator[None]:
    """A daemon of some release, that has audited once and is killed at the end."""
    log = node.config.with_name("log")
    log.write_text("")
    process = start(node, log, code)
    try:

        def has_audited() -> bool:
            assert process.poll() is None, log.read_text()
            return '"audit"' in log.read_text()

        wait(has_audited)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("wheel", RELEASES, ids=lambda wheel: wheel.name.split("-")[1])
def test_there_and_back(
    wheel: Path, tmp_path: Path, node: tuple[Node, Cluster]
) -> None:
    """Nobody notices: not a request, not a connection that is open all the time."""
    old = tmp_path / "old"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(old)
    made, world = node
    asked = ((VIP, 80), (world.nodes[0].ipv4, NODE_PORT))
    traffics = [Traffic(world.client.netns, each) for each in asked]
    with ExitStack() as stack:
        with daemon(made, old):
            held = stack.enter_context(connect(world.client.netns, VIP, 80))
            first = held.ask()
            for traffic in traffics:
                stack.enter_context(traffic.running())
        with daemon(made, HERE_NOW):
            wait(lambda: made.ipvsctl("diff", "--socket", str(made.sock))[0] == 0)
            assert held.ask().server == first.server
        with daemon(made, old):
            assert held.ask().server == first.server
        with daemon(made, HERE_NOW):
            wait(lambda: made.ipvsctl("diff", "--socket", str(made.sock))[0] == 0)
            assert held.ask().server == first.server
    results = [answered for traffic in traffics for _, answered in traffic.results]
    assert len(results) > 20
    assert all(results)


def test_there_is_a_release() -> None:
    """Or nothing would be tested."""
    assert RELEASES
