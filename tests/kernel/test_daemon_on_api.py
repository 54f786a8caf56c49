"""The daemon as a process on an API server that comes late and forgets."""

import asyncio
import contextlib
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ipvsctl.cli.daemon import DaemonError, ask
from ipvsctl.cluster.objects.services import parse_service
from ipvsctl.kube.resources import TUNNEL_NAMESPACE
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.net import parse_address
from ipvsctl.model.problem import ObjectRef
from ipvsctl.model.sets import SetEntry
from ipvsctl.model.source_state import SourceState
from ipvsctl.model.status import NodeStatus
from tests import builders
from tests.builders import set_called
from tests.fakes.apiserver import LEASES, SERVICES, Door, FakeApiServer
from tests.fakes.apiserver.large import large_cluster
from tests.kernel.node import BINDINGS, ProxiedNode, has, proxied
from tests.lab.netns import Netns, connect, create, inside

pytestmark = pytest.mark.kernel

COUNT = 20


@asynccontextmanager
async def daemon(
    server: FakeApiServer, scratch: Path, *flags: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`ipvsctl run` on an API server, killed at the end if it is still there."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "ipvsctl", "run", "--node-name=node-0"),
        f"--kubeconfig={server.kubeconfig(scratch / 'kubeconfig')}",
        f"--socket={scratch / 'ipvsctl.sock'}",
        *flags,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


def table() -> str:
    """What the kernel has, addresses in hexadecimal."""
    return Path("/proc/thread-self/net/ip_vs").read_text()


def virtual_servers() -> int:
    """How many of them are of an address."""
    return sum(line.startswith(("TCP", "UDP")) for line in table().splitlines())


async def status(scratch: Path) -> NodeStatus | None:
    """What the daemon says; None before its first audit."""
    with contextlib.suppress(DaemonError):
        answer = await asyncio.to_thread(ask, scratch / "ipvsctl.sock", "/v1/status")
        if answer is not None:
            return msgspec.json.decode(answer, type=NodeStatus)
    return None


async def source(scratch: Path) -> SourceState:
    """What it says of its source, once it has audited."""
    return await until_source(scratch, lambda _state: True)


async def until_source(
    scratch: Path, holds: Callable[[SourceState], bool]
) -> SourceState:
    """Wait until something holds of what it says."""
    async with asyncio.timeout(150):
        while True:
            found = await status(scratch)
            if found is not None and found.summary.source_state is not None:
                state = found.summary.source_state
                if holds(state):
                    return state
            # Another process hears of it, or of nothing.
            await asyncio.sleep(0.1)


async def run(*words: str) -> tuple[int | None, str]:
    """Run a command; its exit status and what it says, on stderr too."""
    done = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ipvsctl", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await done.communicate()
    return done.returncode, said.decode()


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds; the server answers meanwhile."""
    async with asyncio.timeout(180):
        # Another process changes the kernel, and tells nobody.
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("netns")
async def test_it_serves_what_the_server_says_whenever_it_does(tmp_path: Path) -> None:
    """Nothing is programmed before the server answers, and nothing is lost with it.

    What was deleted while it was away, and forgotten since, goes as well. SIGTERM ends
    the daemon before anything it could wait for is over, in ten seconds, and leaves the
    kernel as it is.
    """
    cluster = large_cluster(services=COUNT, slices=COUNT, endpoints=2)
    async with FakeApiServer(door=Door.REFUSED) as server:
        server.load(cluster, revision=1000)
        async with daemon(server, tmp_path) as process:
            await until((tmp_path / "ipvsctl.sock").exists)
            assert virtual_servers() == 0
            await server.set_door(Door.OPEN)
            await until(lambda: virtual_servers() == COUNT)
            await server.set_door(Door.REFUSED)
            server.delete("Service", "service-3")
            server.delete("EndpointSlice", "service-3-00000")
            server.compact()
            assert virtual_servers() == COUNT
            await server.set_door(Door.OPEN)
            await until(lambda: virtual_servers() == COUNT - 1)
            await until(lambda: server.watching(SERVICES))
            begun = time.monotonic()
            process.terminate()
            assert await process.wait() == 0
            assert time.monotonic() - begun < 8
        assert virtual_servers() == COUNT - 1


def large(server: FakeApiServer) -> None:
    """Put a cluster there, with the Service that an API server makes itself."""
    server.load(large_cluster(services=COUNT, slices=COUNT, endpoints=2), revision=1000)
    server.put(builders.raw_service("kubernetes", clusterIP="10.96.255.1"))


def empty(server: FakeApiServer) -> None:
    """Delete what people have made."""
    for number in range(COUNT):
        server.delete("Service", f"service-{number}")
        server.delete("EndpointSlice", f"service-{number}-00000")


@pytest.mark.usefixtures("netns")
async def test_a_server_that_lists_nothing_empties_no_node(tmp_path: Path) -> None:
    """Neither while the daemon runs, nor when it starts over a kernel full of ours.

    It says so meanwhile, and believes another list, a minute later.
    """
    async with FakeApiServer() as server:
        large(server)
        async with daemon(server, tmp_path) as process:
            await until(lambda: virtual_servers() == COUNT + 1)
            process.terminate()
            await process.wait()
        empty(server)
        server.compact()
        async with daemon(server, tmp_path):
            said = await source(tmp_path)
            assert len(said.doubts) == 2
            assert said.held >= COUNT
            assert virtual_servers() == COUNT + 1
            code, text = await run("diff", f"--socket={tmp_path / 'ipvsctl.sock'}")
            assert code == 2
            assert "the list of Services is empty" in text
            await until(lambda: virtual_servers() == 1)
            await until_source(tmp_path, lambda state: not state.doubts)


@pytest.mark.usefixtures("netns")
async def test_every_service_deleted_by_hand(tmp_path: Path) -> None:
    """What a watch tells is believed at once, to the last one."""
    async with FakeApiServer() as server:
        large(server)
        async with daemon(server, tmp_path):
            await until(lambda: virtual_servers() == COUNT + 1)
            await until(lambda: server.watching(SERVICES))
            empty(server)
            await until(lambda: virtual_servers() == 1)
            assert not (await source(tmp_path)).doubts


@pytest.mark.usefixtures("netns")
@pytest.mark.parametrize("door", [Door.REFUSED, Door.SILENT])
async def test_nothing_is_equal_while_the_server_is_away(
    tmp_path: Path, door: Door
) -> None:
    """After half a minute without a word status says so, and diff exits with 2."""
    flag = f"--socket={tmp_path / 'ipvsctl.sock'}"
    async with FakeApiServer() as server:
        large(server)
        async with daemon(server, tmp_path):
            await until(lambda: virtual_servers() == COUNT + 1)
            assert (await source(tmp_path)).is_sure
            await until(lambda: server.watching(SERVICES))
            code, text = await run("status", flag)
            assert "kernel equal\n" in text
            assert (await run("diff", flag))[0] == 0
            await server.set_door(door)
            await until_source(tmp_path, lambda state: not state.is_fresh)
            code, text = await run("status", flag)
            assert code == 0
            assert re.search(r"API server not heard for \d\d s", text)
            assert "kernel equal\n" not in text
            assert (await run("diff", flag))[0] == 2
            code, text = await run("explain", "service-3", flag)
            assert code == 2, text
            assert re.search(r"source: API server not heard for \d\d s", text)
            await server.set_door(Door.OPEN)
            await until_source(tmp_path, lambda state: state.is_sure)
            assert virtual_servers() == COUNT + 1


API = parse_address("10.0.0.1")
API_PORT = 6443
THIEF = ObjectRef("default", "thief")
THIEFS = parse_address("10.96.0.66")


@pytest.fixture
def control_plane(netns: Netns) -> Iterator[Netns]:
    """The namespace of an API server, at the other end of the node's only link."""
    with create("control-plane") as made:
        connect(netns, "eth0", made, "eth0")
        netns.add_address("eth0", ip_interface("10.0.0.10/24"))
        made.add_address("eth0", ip_interface(f"{API}/24"))
        yield made


@pytest.fixture(params=[1, API_PORT], ids=["rejected", "led to a pod"])
def port(request: pytest.FixtureRequest) -> int:
    """The port of a Service that has the API server's address as a VIP."""
    return int(request.param)


@pytest.fixture(params=BINDINGS)
def node(
    request: pytest.FixtureRequest, netns: Netns, control_plane: Netns, port: int
) -> Iterator[ProxiedNode]:
    """What a proxy left that did not know that it is the API server's."""
    del control_plane
    config = ProxyConfig(vip_binding=request.param)
    with proxied(netns, config=config) as made:
        made.take(
            parse_service(builders.to_json(thief(port))),
            has(builders.endpoint_slice("thief-1", service_name="thief")),
        )
        made.audit()
        assert is_taken(made)
        yield made


def thief(port: int) -> dict[str, Any]:
    """That Service; inside clients have a virtual server of their own."""
    return builders.raw_service(
        THIEF.name,
        clusterIP=str(THIEFS),
        externalIPs=[str(API)],
        externalTrafficPolicy="Local",
        ports=[{"name": "http", "port": port}],
    )


def is_taken(node: ProxiedNode) -> bool:
    """Whether packets to the API server's address stay on the node."""
    state = node.observe().state
    return (
        API in state.addresses
        or API in state.routes
        or SetEntry(address=API) in state.entries[set_called("KUBE-IPVS-IPS")]
        or any(key.address == API or key.fwmark for key in state.virtual_servers)
    )


def is_answered() -> bool:
    """Whether something takes a connection to the API server's address."""
    try:
        socket.create_connection((str(API), API_PORT), 1).close()
    except OSError:
        return False
    return True


async def test_a_node_that_a_vip_cut_off_recovers(
    node: ProxiedNode, control_plane: Netns, tmp_path: Path, port: int
) -> None:
    """The API server's address is bound and filtered, or answered by a pod's.

    The daemon gets there by itself, and serves what it is told; the VIP stays refused
    although its Service is there.
    """
    with inside(control_plane):
        # Only its socket is opened; no other task has a turn meanwhile.
        server = await FakeApiServer(address=str(API), port=API_PORT).__aenter__()
    try:
        assert not is_answered()
        for raw in (
            builders.raw_node("node-0", "10.0.0.10"),
            builders.raw_service("web"),
            thief(port),
            builders.raw_slice("thief-1", service=THIEF.name),
        ):
            server.put(raw)
        flag = f"--vip-binding={node.config.vip_binding.value}"
        async with daemon(server, tmp_path, flag):
            # The cluster IPs of both; no fwmark, as nothing is Local any more.
            await until(lambda: virtual_servers() == 2 and "0A60000A" in table())
            assert is_answered()
        assert not await asyncio.to_thread(is_taken, node)
    finally:
        await server.__aexit__(None, None, None)


async def do(*commands: str) -> None:
    """What somebody else does."""
    for command in commands:
        done = await asyncio.create_subprocess_exec(*command.split())
        assert await done.wait() == 0, command


@pytest.mark.usefixtures("netns")
async def test_it_takes_part_in_tunnels_and_says_so(tmp_path: Path) -> None:
    """Its Lease says where it takes packets, then that it sends; others have theirs.

    When somebody else's link is in the way of its own, it takes its word back.
    """
    await do(
        "ip link add eth0 type dummy",
        "ip link set eth0 up",
        "ip addr add 10.0.0.10/24 dev eth0",
    )
    async with FakeApiServer() as server:
        server.put(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": TUNNEL_NAMESPACE},
            }
        )
        for number in range(2):
            server.put(builders.raw_node(f"node-{number}", f"10.0.0.1{number}"))
        server.put(builders.raw_service("kubernetes", clusterIP="10.96.255.1"))
        server.put(builders.raw_service("web", externalIPs=["203.0.113.1"]))
        there = builders.raw_endpoint("172.16.1.1", nodeName="node-1")
        server.put(builders.raw_slice("web-1", there))

        def said() -> str | None:
            lease = server.store.shelf(LEASES).get(TUNNEL_NAMESPACE, "node-0")
            found = {} if lease is None else lease.decode()["metadata"]["annotations"]
            return " ".join(found.values()) or None

        flags = ("--tunnel-port=6080", "--external-forwarding=tunnel")
        async with daemon(server, tmp_path, *flags, "--cluster-cidr=172.16.0.0/12"):
            await until(lambda: said() == "10.0.0.10 6080 false")
            await until(lambda: said() == "10.0.0.10 6080 true")
            assert "Tunnel" not in table()
            server.put(builders.raw_lease("node-1", "10.0.0.11"))
            await until(lambda: "0A00000B:0050      Tunnel" in table())
            await do(
                "ip link add theirs type ipip external",
                "ip link set theirs up",
                "ip link del ipvsctl-tunl4",
            )
            await until(lambda: said() is None)
            await until(lambda: "Tunnel" not in table())
            await do("ip link del theirs")
            await until(lambda: said() == "10.0.0.10 6080 true")
            await until(lambda: "0A00000B:0050      Tunnel" in table())
