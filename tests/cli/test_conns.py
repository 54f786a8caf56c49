"""`ipvsctl conns`: whose connections there are."""

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from ipvsctl.cli.app import app
from ipvsctl.cli.environment import Environment
from ipvsctl.model.count_by import By
from ipvsctl.model.errors import NotFound
from ipvsctl.model.ipvs import RealServerKey, RealServerStats, VirtualServerKey
from ipvsctl.model.neighbours import Connection
from ipvsctl.model.net import IPFamily, IPv4Address, Protocol, parse_address
from ipvsctl.model.status import NodeStatus, Summary
from ipvsctl.plan.diff.ops import UpdateRealServer
from ipvsctl.plan.report import connections
from ipvsctl.plan.report.connections import Names, count
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.cli.conftest import Invoke, write
from tests.cli.test_sync import WEB, real_server
from tests.fakes.kernel import FakeKernel


def connection(
    client: str, endpoint: str, state: str = "ESTABLISHED", vip: str = "10.96.0.10"
) -> Connection:
    """From a client by a VIP's port 80 to an endpoint's port 8080."""
    return Connection(
        client=RealServerKey(parse_address(client), 40000),
        virtual_server=VirtualServerKey(
            family=IPFamily.IPV4,
            protocol=Protocol.TCP,
            address=parse_address(vip),
            port=80,
        ),
        real_server=RealServerKey(parse_address(endpoint), 8080),
        state=state,
        expires_s=899,
    )


TABLE = (
    connection("172.16.0.7", "172.16.0.1"),
    connection("172.16.0.7", "172.16.1.1"),
    connection("172.16.0.8", "172.16.1.1", "TIME_WAIT"),
    connection("172.16.0.8", "10.0.0.20", vip="10.103.97.12"),
)


@pytest.fixture
def conns(kernel: FakeKernel, manifests: Path, invoke: Invoke) -> Invoke:
    """The command on a node that has these, and an endpoint that drains."""
    invoke("apply", "--manifests", manifests)
    write(
        manifests,
        raw_node("node-0"),
        raw_service("web"),
        raw_slice("web-a", raw_endpoint("172.16.0.1")),
    )
    draining = real_server("172.16.1.1", weight=0)
    kernel.apply((UpdateRealServer(WEB, draining),))
    kernel.set_connections(WEB, draining.key, RealServerStats(active=1, inactive=1))

    def call(*words: object) -> Result:
        return CliRunner().invoke(
            app,
            [
                *("conns", *map(str, words), "--manifests", str(manifests)),
                *("--socket", "/nowhere", "--node-name", "node-0"),
            ],
            obj=Environment(
                open_kernel=lambda _config, *, to_change: kernel,  # noqa: ARG005  # the protocol's name
                read_connections=lambda: iter(TABLE),
            ),
        )

    return call


def test_a_row_a_connection(conns: Invoke) -> None:
    """By the names of Services; a foreign one has none."""
    said = conns()
    assert said.exit_code == 0, said.output
    assert said.stdout == (
        "CLIENT                  ASKED                   ENDPOINT"
        "                STATE         SERVICE\n"
        "172.16.0.7:40000        10.96.0.10:80           172.16.0.1:8080"
        "         ESTABLISHED   default/web:http\n"
        "172.16.0.7:40000        10.96.0.10:80           172.16.1.1:8080"
        "         ESTABLISHED   default/web:http (draining)\n"
        "172.16.0.8:40000        10.96.0.10:80           172.16.1.1:8080"
        "         TIME_WAIT     default/web:http (draining)\n"
        "172.16.0.8:40000        10.103.97.12:80         10.0.0.20:8080"
        "          ESTABLISHED\n"
    )


@pytest.mark.parametrize(
    ("words", "clients"),
    [
        (("--draining",), ["172.16.0.7", "172.16.0.8"]),
        (("web",), ["172.16.0.7", "172.16.0.7", "172.16.0.8"]),
        (("default/web:http", "--draining"), ["172.16.0.7", "172.16.0.8"]),
        (("web", "-n", "other"), []),
        (("web:https",), []),
        (("10.103.97.12",), ["172.16.0.8"]),
        (("10.96.0.10:81",), []),
        (("172.16.0.8",), ["172.16.0.8", "172.16.0.8"]),
        (("172.16.1.1:8080",), ["172.16.0.7", "172.16.0.8"]),
    ],
)
def test_what_is_chosen(
    conns: Invoke, words: tuple[str, ...], clients: list[str]
) -> None:
    """A Service, a VIP, a client, an endpoint; one JSON object a line."""
    lines = conns(*words, "-o", "json").stdout.splitlines()
    found = [json.loads(line)["connection"]["client"]["address"] for line in lines]
    assert found == clients


def test_counted_by_endpoint_and_by_client(conns: Invoke) -> None:
    """The most first."""
    assert conns("--by", "endpoint").stdout == (
        "ENDPOINT         SERVICE           CONNS  STATES\n"
        "172.16.1.1:8080  default/web:http      2"
        "  draining, 1 ESTABLISHED, 1 TIME_WAIT\n"
        "10.0.0.20:8080                         1  1 ESTABLISHED\n"
        "172.16.0.1:8080  default/web:http      1  1 ESTABLISHED\n"
    )
    found = yaml.safe_load(conns("--by", "client", "-o", "yaml").stdout)
    assert [(one["name"], one["states"]) for one in found] == [
        ("172.16.0.7", {"ESTABLISHED": 2}),
        ("172.16.0.8", {"TIME_WAIT": 1, "ESTABLISHED": 1}),
    ]


def test_yaml_is_one_list(conns: Invoke) -> None:
    """Although it is printed item by item."""
    assert len(yaml.safe_load(conns("-o", "yaml").stdout)) == len(TABLE)


def test_without_ipvs(manifests: Path, kernel: FakeKernel) -> None:
    """A clear error."""

    def read() -> Iterator[Connection]:
        raise NotFound(errno=2, op="list connections", reason="no IPVS")

    said = CliRunner().invoke(
        app,
        ["conns", "--manifests", str(manifests), "--socket", "/nowhere"],
        obj=Environment(
            open_kernel=lambda _config, *, to_change: kernel,  # noqa: ARG005  # the protocol's name
            read_connections=read,
        ),
    )
    assert said.exit_code == 2
    assert "list connections: no IPVS" in said.stderr


def test_many_clients_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after the first so many is counted as one."""
    monkeypatch.setattr(connections, "MOST_GROUPS", 1000)
    names = Names(NodeStatus(summary=SUMMARY))
    rows = (
        names.of(connection(str(IPv4Address(0x0A000000 + number)), "172.16.0.1"))
        for number in range(20_000)
    )
    tracemalloc.start()
    try:
        counts = count(rows, By.CLIENT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(counts) == 1001
    assert (counts[-1].name, counts[-1].count) == ("", 19_000)
    assert peak < 5_000_000


SUMMARY = Summary(version="0", node="node-0", scheduler="rr", compatibility="none")
