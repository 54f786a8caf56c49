"""The daemon as a process on an API server that comes late and forgets."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes.apiserver import SERVICES, Door, FakeApiServer
from tests.fakes.apiserver.large import large_cluster

pytestmark = pytest.mark.kernel

COUNT = 20


@asynccontextmanager
async def daemon(
    server: FakeApiServer, scratch: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`ipvsctl run` on an API server, killed at the end if it is still there."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "ipvsctl", "run", "--node-name=node-0"),
        f"--kubeconfig={server.kubeconfig(scratch / 'kubeconfig')}",
        f"--socket={scratch / 'ipvsctl.sock'}",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


def virtual_servers() -> int:
    """How many the kernel has."""
    table = Path("/proc/thread-self/net/ip_vs").read_text()
    return sum(line.startswith(("TCP", "UDP")) for line in table.splitlines())


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
