"""A small cluster on disk, a kernel in memory, and a way to run commands on them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ipvsctl.cli.app import app
from ipvsctl.cli.environment import Environment
from ipvsctl.model.net import parse_address
from ipvsctl.model.node_facts import NodeFacts
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.fakes.kernel import FakeKernel

Invoke = Callable[..., Result]


@pytest.fixture
def kernel() -> FakeKernel:
    """A kernel that holds nothing, on a node with one address."""
    return FakeKernel(host_addresses=[parse_address("10.0.0.10")])


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """`default/web`: one cluster IP, an endpoint on each of two nodes."""
    path = tmp_path / "cluster.json"
    write(
        path,
        raw_node("node-0"),
        raw_node("node-1", "10.0.0.11", zone="zone-b"),
        raw_service("web"),
        raw_slice(
            "web-a",
            raw_endpoint("172.16.0.1"),
            raw_endpoint("172.16.1.1", nodeName="node-1"),
        ),
    )
    return path


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    """Where nobody answers."""
    return tmp_path / "run" / "ipvsctl.sock"


@pytest.fixture
def facts() -> NodeFacts:
    """A node with all that is needed, and nobody else's."""
    return NodeFacts(
        release=(6, 1),
        modules={"ip_vs": True, "ip_vs_rr": True},
        bridges=(),
        processes=(),
        sockets=frozenset(),
        chains=frozenset(),
    )


@pytest.fixture
def invoke(kernel: FakeKernel, facts: NodeFacts, socket_path: Path) -> Invoke:
    """Run a command on the kernel in memory, as node-0, with no daemon about."""

    def call(*words: object) -> Result:
        return CliRunner().invoke(
            app,
            [str(word) for word in words],
            obj=Environment(
                open_kernel=lambda _config, *, to_change: kernel,  # noqa: ARG005  # the protocol's name
                read_node=lambda _config: facts,
            ),
            env={
                "IPVSCTL_NODE_NAME": "node-0",
                "IPVSCTL_SOCKET": str(socket_path),
                "IPVSCTL_MANIFESTS": None,
                "IPVSCTL_KUBECONFIG": None,
                "KUBERNETES_SERVICE_HOST": None,
            },
        )

    return call


def write(path: Path, *objects: dict[str, Any]) -> None:
    """Write objects as one manifest."""
    path.write_text(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    )
