"""Runs one command on a small node in memory, as a process of its own.

`python -m tests.screens.scene NAME`, in a terminal.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ipvsctl.cli.app import app
from ipvsctl.cli.daemon import PROTOCOL
from ipvsctl.cli.environment import Environment
from ipvsctl.model.history import Entry, History, What
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import parse_address
from ipvsctl.model.node_facts import NodeFacts
from ipvsctl.model.parts import Part
from ipvsctl.model.rates import Rates, RealServerRates, RealServers, VirtualServerRates
from ipvsctl.plan.diff.ops import DeleteRealServer, UnbindAddress
from ipvsctl.serve.control import Pieces, control_socket
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.cli.conftest import write
from tests.cli.test_conns import TABLE
from tests.cli.test_sync import WEB, real_server
from tests.fakes.kernel import FakeKernel

SCREENS: Final[Mapping[str, str]] = {
    "status": "status",
    "status-wide": "status -o wide",
    "status-one": "status web",
    "status-none": "status nobody",
    "check": "check",
    "explain": "explain web",
    "diff": "diff",
    "conns": "conns",
    "conns-by-endpoint": "conns --by endpoint",
    "top": "top --once",
    "top-one": "top web --once",
    "events": "events",
}
"""Name of a screen -> the command."""

ENTRIES: Final = (
    Entry(
        serial=1,
        at_s=0,
        what=What.REPAIR,
        services=("default/web",),
        text="change real server tcp 10.96.0.10:80 -> 172.16.0.1:8080 masquerade"
        " weight 1 (was masquerade weight 5)",
    ),
    Entry(serial=2, at_s=61, what=What.PROBLEM, services=("default/web",), text="x"),
)


class Busy:
    """Rates of one Service."""

    def is_estimating(self) -> bool:
        """They are there."""
        return True

    def virtual_servers(self) -> VirtualServerRates:
        """Many connections."""
        return {WEB: Rates(connections=1234, packets_in=56_000, bytes_out=7_890_000)}

    def real_servers(self, keys: Iterable[VirtualServerKey]) -> RealServers:
        """Of which one endpoint has most."""
        found = {
            real_server(address).key: RealServerRates(
                weight=1, active=count, rates=Rates(connections=count)
            )
            for address, count in (("172.16.0.1", 1000), ("172.16.1.1", 234))
        }
        return dict.fromkeys(keys, found)


FACTS: Final = NodeFacts(
    release=(6, 1),
    modules={"ip_vs": True, "ip_vs_rr": False},
    bridges=("cni0",),
    processes=("kube-proxy",),
    sockets=frozenset(),
    chains=frozenset({"KUBE-SVC-AAAAAAAAAAAAAAAA"}),
    flavours={"nft": 12, "legacy": 34},
)


def main(name: str) -> None:
    """Run the command of a screen."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        kernel = FakeKernel(host_addresses=[parse_address("10.0.0.10")])
        given = Environment(
            open_kernel=lambda _config, *, to_change: kernel,  # noqa: ARG005  # the protocol's name
            read_node=lambda _config: FACTS,
            read_connections=lambda: iter(TABLE),
            open_rates=Busy,
        )
        manifests = directory / "cluster.json"
        options = ["--manifests", str(manifests), "--node-name", "node-0"]
        _write(manifests)
        app(["apply", *options, "-o", "json"], obj=given, standalone_mode=False)
        kernel.apply(
            (
                DeleteRealServer(WEB, real_server("172.16.1.1").key),
                UnbindAddress(parse_address("10.96.0.30")),
            )
        )
        kernel.unread[Part.RULES_IPV6] = "ip6tables-save: exit status 1"
        # What `apply` has printed is none of it.
        print("-- screen --", flush=True)
        words = SCREENS[name].split()
        socket = directory / "s"
        if words[0] == "events":
            asyncio.run(_on_a_daemon(words, socket))
        else:
            app([*words, *options, "--socket", str(socket)], obj=given)


async def _on_a_daemon(words: list[str], socket: Path) -> None:
    async def version(_query: Mapping[str, str]) -> Pieces:
        return (msgspec.json.encode({"version": "1", "protocol": PROTOCOL}),)

    async def events(_query: Mapping[str, str]) -> Pieces:
        return (msgspec.json.encode(History(daemon="a", entries=ENTRIES)),)

    answers = {"/v1/version": version, "/v1/events": events}
    async with control_socket(socket, answers):
        await asyncio.to_thread(
            app, [*words, "--socket", str(socket)], standalone_mode=False
        )


def _write(manifests: Path) -> None:
    balancer: dict[str, Any] = {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "clusterIP": "10.96.0.30",
        "clusterIPs": ["10.96.0.30"],
    }
    write(
        manifests,
        raw_node("node-0"),
        raw_node("node-1", "10.0.0.11", zone="zone-b"),
        raw_service("web"),
        raw_slice(
            "web-a",
            raw_endpoint("172.16.0.1"),
            raw_endpoint("172.16.1.1", nodeName="node-1"),
        ),
        raw_service(
            "a-service-with-quite-a-long-name-as-operators-of-helm-charts-know",
            clusterIP="10.96.0.20",
            clusterIPs=["10.96.0.20"],
            externalIPs=["10.0.0.11"],
        ),
        raw_service("outer", **balancer),
    )


if __name__ == "__main__":
    time.tzset()
    main(sys.argv[1])
