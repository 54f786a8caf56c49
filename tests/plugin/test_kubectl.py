"""`kubectl ipvs` by a real kubectl, on an API server in memory.

The commands in the pods are ipvsctl's own, on a kernel in memory for each node.
"""

import asyncio
import json
import os
import pty
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ipvsctl.cli.app import app
from ipvsctl.cli.environment import Environment
from ipvsctl.model.errors import NotFound
from ipvsctl.model.net import parse_address
from ipvsctl.plan.diff.ops import UnbindAddress
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.cli.conftest import write
from tests.fakes.apiserver import PODS, Executed, Execution, FakeApiServer
from tests.fakes.kernel import FakeKernel
from tests.plugin.archive import NAME, make_program

pytestmark = pytest.mark.chart

LABELS = {"app.kubernetes.io/name": "ipvsctl"}


def pod(name: str, node: str, **more: Any) -> dict[str, Any]:  # JSON
    """A pod of the DaemonSet, with one that makes its configuration beside it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ipvsctl", "labels": LABELS},
        "spec": {
            "nodeName": node,
            "initContainers": [{"name": "load-modules", "image": "x"}],
            "containers": [{"name": name, "image": "x"} for name in ("one", "ipvsctl")],
        },
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
        **more,
    }


class Nodes:
    """Runs ipvsctl in pods."""

    def __init__(self, manifests: Path) -> None:
        self.manifests = manifests
        self.asked: list[Execution] = []
        self._turn = threading.Lock()
        self.kernels = {
            name: FakeKernel(host_addresses=[parse_address(f"10.0.0.{10 + n}")])
            for n, name in enumerate(("node-0", "node-1"))
        }

    def __call__(self, asked: Execution) -> Executed:
        """As in the container; a node without a kernel has no IPVS."""
        self.asked.append(asked)
        program, *words = asked.command
        if (program, asked.container) != ("ipvsctl", "ipvsctl"):
            return Executed(stderr=b"no such file", status=127)
        node = asked.pod.replace("ipvsctl-", "node-")

        def open_kernel(_config: object, *, to_change: bool) -> FakeKernel:
            del to_change
            if node not in self.kernels:
                raise NotFound(errno=2, op="find IPVS")
            return self.kernels[node]

        # It takes the place of this process' own output.
        with self._turn:
            said = CliRunner().invoke(
                app,
                words,
                obj=Environment(open_kernel=open_kernel),
                env={
                    "IPVSCTL_NODE_NAME": node,
                    "IPVSCTL_SOCKET": "/nowhere",
                    "IPVSCTL_MANIFESTS": str(self.manifests),
                },
            )
        return Executed(
            stdout=said.stdout.encode(),
            stderr=said.stderr.encode(),
            status=said.exit_code,
        )


@pytest.fixture(autouse=True)
def _tool() -> None:
    if shutil.which("kubectl") is None:
        pytest.fail("kubectl is missing: `nox -s chart` brings it", pytrace=False)


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    """Two that are served, one of which has lost an address since."""
    manifests = tmp_path / "cluster.json"
    write(
        manifests,
        raw_node("node-0"),
        raw_node("node-1", "10.0.0.11"),
        raw_service("web"),
        raw_slice("web-a", raw_endpoint("172.16.0.1")),
    )
    made = Nodes(manifests)
    for number, kernel in enumerate(made.kernels.values()):
        CliRunner().invoke(
            app,
            ["apply", "--node-name", f"node-{number}", "--manifests", str(manifests)],
            obj=Environment(
                open_kernel=lambda _config, *, to_change, of=kernel: of,  # noqa: ARG005  # the protocol's name
            ),
        )
    made.kernels["node-1"].apply((UnbindAddress(parse_address("10.96.0.10")),))
    return made


@pytest.fixture
async def server(nodes: Nodes) -> AsyncIterator[FakeApiServer]:
    """With a pod of ours on each node, and one that comes and one that leaves."""
    async with FakeApiServer() as made:
        for name in ("ipvsctl", "shop"):
            made.store.put(
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": name},
                }
            )
        made.store.put(pod("ipvsctl-0", "node-0"))
        made.store.put(pod("ipvsctl-1", "node-1"))
        leaving = pod("ipvsctl-old", "node-1")
        leaving["metadata"]["deletionTimestamp"] = "2026-11-26T00:00:00Z"
        made.store.put(leaving)
        client = pod("cart", "node-1")
        client["metadata"] |= {"namespace": "shop", "labels": {}}
        client["status"]["podIP"] = "172.16.1.7"
        made.store.put(client)
        made.have_executed(nodes)
        yield made


class Plugin:
    """`kubectl ipvs`, and what it says."""

    def __init__(self, home: Path, server: FakeApiServer) -> None:
        make_program(home / NAME)
        self._env = {
            **os.environ,
            "PATH": f"{home}:{os.environ['PATH']}",
            "KUBECONFIG": str(server.kubeconfig(home / "config")),
            "HOME": str(home),
        }

    async def __call__(self, words: str) -> subprocess.CompletedProcess[str]:
        """Run it."""
        return await asyncio.to_thread(
            subprocess.run,
            ["kubectl", "ipvs", *words.split()],
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def in_terminal(self, words: str) -> str:
        """Run it where somebody types."""
        mine, its = pty.openpty()
        process = subprocess.Popen(
            ["kubectl", "ipvs", *words.split()],
            env=self._env,
            stdin=its,
            stdout=its,
            stderr=its,
        )
        os.close(its)
        try:
            return b"".join(_until_closed(mine)).decode()
        finally:
            os.close(mine)
            process.wait(timeout=60)


def _until_closed(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(terminal, 65536)
        except OSError:
            return


@pytest.fixture
def plugin(tmp_path: Path, server: FakeApiServer) -> Plugin:
    """In a home of its own, as the one file that krew installs."""
    home = tmp_path / "home"
    home.mkdir()
    return Plugin(home, server)


async def test_on_a_node(plugin: Plugin, nodes: Nodes) -> None:
    """By its name; the exit status is ipvsctl's, and nothing is added to its words."""
    said = await plugin("diff --node node-1")
    assert (said.returncode, said.stderr) == (1, "")
    assert said.stdout.splitlines()[:2] == [
        "default/web",
        "  + address 10.96.0.10",
    ]
    (asked,) = nodes.asked
    assert (asked.pod, asked.command) == ("ipvsctl-1", ("ipvsctl", "diff"))
    assert not asked.is_tty
    said = await plugin("diff --node=node-0 web")
    assert said.returncode == 0


async def test_from_where_a_pod_is(plugin: Plugin, nodes: Nodes) -> None:
    """On its node, and from its address; unless somebody says from where."""
    said = await plugin("explain web --pod shop/cart")
    assert said.returncode == 1
    assert "address 10.96.0.10" in said.stdout
    await plugin("explain web --pod shop/cart --from host")
    assert [(a.pod, a.command[3:]) for a in nodes.asked] == [
        ("ipvsctl-1", ("--from", "172.16.1.7")),
        ("ipvsctl-1", ("--from", "host")),
    ]


async def test_any_node(plugin: Plugin) -> None:
    """The first; and that is said."""
    said = await plugin("version")
    assert said.stdout.startswith("ipvsctl ")
    assert said.stderr == "kubectl ipvs: this is node node-0; see --node\n"


async def test_status_of_all(
    plugin: Plugin, nodes: Nodes, server: FakeApiServer
) -> None:
    """A line for each, also for who does not answer; then what is not well."""
    server.store.put(pod("ipvsctl-2", "node-2"))
    server.store.put(
        {**pod("ipvsctl-3", "node-3"), "status": {"phase": "Pending"}},
    )
    said = await plugin("status --all-nodes")
    lines = said.stdout.splitlines()
    assert [" ".join(line.split()) for line in lines[:3]] == [
        "NODE VERSION SERVICES VIRTUAL EMPTY DRAINING FOREIGN PROBLEMS KERNEL SOURCE",
        "node-0 0.1.0 1 1 0 0 0 0 equal heard 0 s ago",
        "node-1 0.1.0 1 1 0 0 0 0 2 to do heard 0 s ago",
    ]
    at = lines[0].index("SOURCE")
    assert [line[at:] for line in lines[1:5]] == [
        "heard 0 s ago",
        "heard 0 s ago",
        "find IPVS: ENOENT (not there)",
        "its ipvsctl does not run",
    ]
    assert lines[5:] == [
        "",
        "NODE    SERVICE      STATE",
        "node-1  default/web  tcp 10.96.0.10:80: no route, not bound",
    ]
    assert said.returncode == 2
    assert "ipvsctl-old" not in {asked.pod for asked in nodes.asked}


async def test_diff_of_all(plugin: Plugin) -> None:
    """One table; who has no difference is counted."""
    said = await plugin("diff --all-nodes")
    assert said.stdout.splitlines() == [
        "NODE    SERVICE      DIFFERENCE",
        "node-1  default/web  + address 10.96.0.10",
        "node-1  default/web  + route 10.96.0.10 from 10.0.0.11",
        "1 node equal",
    ]
    assert said.returncode == 1


async def test_anything_of_all(plugin: Plugin) -> None:
    """Each line with its node, or data by node."""
    said = await plugin("version --all-nodes")
    assert [line.split()[0] for line in said.stdout.splitlines()] == [
        "node-0",
        "node-1",
    ]
    said = await plugin("diff --all-nodes -o json")
    found = json.loads(said.stdout)
    assert {node: len(plan["changes"]) for node, plan in found.items()} == {
        "node-0": 0,
        "node-1": 2,
    }


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("status --node node-9", "does not run on node node-9; it runs on node-0"),
        ("status --daemon-namespace shop", "no pod with app.kubernetes.io/name"),
        ("status --selector app=x", "no pod with app=x in any namespace"),
        ("explain web --pod shop/nobody", 'pods "nobody" not found'),
        ("explain web --pod nobody", 'pods "nobody" not found'),
        ("status --context nowhere", 'context "nowhere" does not exist'),
    ],
)
async def test_what_is_not_there(plugin: Plugin, words: str, reason: str) -> None:
    """An error that names it, in a line."""
    said = await plugin(words)
    assert (said.returncode, said.stdout) == (2, "")
    assert reason in said.stderr
    assert said.stderr.startswith("kubectl ipvs: ")


async def test_who_may_not_list_pods_everywhere(
    plugin: Plugin, server: FakeApiServer
) -> None:
    """Is told what is forbidden."""
    server.access.denied.add(("list", PODS.plural))
    said = await plugin("status --all-nodes")
    assert said.returncode == 2
    assert "is forbidden" in said.stderr


async def test_a_terminal(plugin: Plugin, nodes: Nodes) -> None:
    """Goes through to the command, which draws as it would here."""
    found = await asyncio.to_thread(plugin.in_terminal, "status --node node-0")
    assert "default/web" in found
    assert [asked.is_tty for asked in nodes.asked] == [True]
