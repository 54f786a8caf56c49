"""Health-check node ports as a load balancer outside of the cluster sees them."""

import asyncio
import errno
import http.client
import json
import subprocess
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ipvsctl.cli.run import Daemon, serve
from ipvsctl.cluster.events import Event
from ipvsctl.cluster.store import Store
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.net import IPAddress, IPFamily, Protocol, parse_address
from ipvsctl.model.objects import Service, ServicePort, ServiceType, TrafficPolicy
from ipvsctl.model.problem import ObjectRef
from ipvsctl.plan.union.node import sysctl_names
from ipvsctl.serve.admission import SOURCE_RATE
from tests.controller.cluster import ListSource
from tests.kernel.node import CONFIG, has, has_nodes, slices
from tests.lab.netns import Netns, inside
from tests.lab.topology import Cluster, Host

pytestmark = pytest.mark.kernel

PORT = 32000
VIPS = {
    IPFamily.IPV4: parse_address("198.51.100.10"),
    IPFamily.IPV6: parse_address("2001:db8:198::10"),
}
WEB = Service(
    ref=ObjectRef("default", "web"),
    type=ServiceType.LOAD_BALANCER,
    cluster_ips=(parse_address("10.96.0.10"), parse_address("fd00:10:96::10")),
    ingress_vips=tuple(VIPS.values()),
    external_traffic_policy=TrafficPolicy.LOCAL,
    health_check_node_port=PORT,
    ports=(ServicePort(name="http", protocol=Protocol.TCP, port=80, node_port=30080),),
)


def pods(*found: Host) -> list[Event]:
    """The endpoints of WEB."""
    return slices(WEB, found, {"http": 8080})


def probe(
    netns: Netns, address: IPAddress, port: int = PORT, timeout_s: float = 60
) -> tuple[int, int]:
    """What a load balancer learns: the status, and how many endpoints there are.

    Raises:
        OSError: nobody answers.
    """
    with inside(netns):
        connection = http.client.HTTPConnection(str(address), port, timeout=timeout_s)
        connection.connect()
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = json.loads(answer.read())
    finally:
        connection.close()
    assert body["service"] == {"namespace": "default", "name": "web"}
    assert answer.getheader("X-Load-Balancing-Endpoint-Weight") == str(
        body["localEndpoints"]
    )
    return answer.status, body["localEndpoints"]


def with_daemon(
    node: Host,
    source: ListSource,
    socket: Path,
    steps: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """Run the daemon on a node, and steps beside it in its namespace."""

    async def both(kernel: LinuxKernel) -> None:
        daemon = Daemon(
            kernel=kernel, store=Store(node.name), config=CONFIG, source=source
        )
        running = asyncio.ensure_future(steps())
        await serve(daemon, socket, lambda: asyncio.wait({running}))
        await running

    with (
        inside(node.netns),
        closing(
            LinuxKernel.open(vip_link=CONFIG.vip_link, sysctl_names=sysctl_names())
        ) as kernel,
    ):
        asyncio.run(both(kernel))


async def until(expected: tuple[int, int], netns: Netns, address: IPAddress) -> None:
    """Ask until that is the answer, no oftener than one client may."""
    async with asyncio.timeout(180):
        while True:
            await asyncio.sleep(2 / SOURCE_RATE.per_s)
            try:
                answer = await asyncio.to_thread(probe, netns, address, PORT, 1)
            except OSError:
                continue
            if answer == expected:
                return


def firewall(node: Host) -> None:
    """Let nothing in that no rule lets in."""
    with inside(node.netns):
        for tool in ("iptables", "ip6tables"):
            subprocess.run([tool, "-P", "INPUT", "DROP"], check=True)
        # Neighbours must be found.
        accept = ["-A", "INPUT", "-p", "icmpv6", "-j", "ACCEPT"]
        subprocess.run(["ip6tables", *accept], check=True)


def test_a_load_balancer_is_told_whom_to_send_traffic(
    cluster: Cluster, tmp_path: Path
) -> None:
    """At the node's addresses and at VIPs, in both families, behind a firewall too."""
    node, client = cluster.nodes[0], cluster.client
    local = [cluster.pods["pod-0-0"], cluster.pods["pod-0-1"]]
    remote = cluster.pods["pod-1-0"]
    source = ListSource((*has_nodes(cluster.nodes), has(WEB), *pods(*local, remote)))
    addresses = [
        at for family in IPFamily for at in (node.address(family), VIPS[family])
    ]

    async def steps() -> None:
        await until((200, 2), client.netns, node.ipv4)
        await asyncio.to_thread(firewall, node)
        for expected, endpoints in (
            ((200, 1), [local[0], remote]),
            ((503, 0), [remote]),
            ((200, 2), local),
        ):
            source.tell(*pods(*endpoints))
            await until(expected, client.netns, node.ipv4)
            for address in addresses:
                assert await asyncio.to_thread(probe, client.netns, address) == expected
        for address in addresses:
            with pytest.raises(OSError) as caught:  # noqa: PT011  # by its number
                await asyncio.to_thread(probe, client.netns, address, PORT + 1, 1)
            assert isinstance(caught.value, TimeoutError) or caught.value.errno in {
                errno.ECONNREFUSED,
                errno.EHOSTUNREACH,
                errno.ENETUNREACH,
            }

    with_daemon(node, source, tmp_path / "ipvsctl.sock", steps)
    with pytest.raises(ConnectionRefusedError):
        probe(client.netns, node.ipv4)
