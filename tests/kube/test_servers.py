"""`kube.servers`: where the API server is, by URL and by name."""

import asyncio
import json
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ipvsctl.cluster.events import ApiServersFound, Event
from ipvsctl.kube.connect.access import Access, Address
from ipvsctl.kube.servers import PERIOD_S, Servers, resolve
from ipvsctl.kube.transport import Api
from ipvsctl.model.host import ApiServer
from ipvsctl.model.net import IPAddress, parse_address
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import FakeClock
from tests.kube.cluster import watched


class Names:
    """A name service."""

    def __init__(self, **names: Iterable[str]) -> None:
        self.names: dict[str, Iterable[str]] = dict(names)
        self.asked = 0

    async def resolve(self, host: str, port: int) -> tuple[IPAddress, ...]:
        """See `kube.servers.Resolve`."""
        del port
        self.asked += 1
        if host not in self.names:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return tuple(map(parse_address, self.names[host]))


class Told:
    """Who is told."""

    def __init__(self) -> None:
        self.servers: list[set[str]] = []

    async def put(self, event: Event) -> None:
        """Take an event."""
        assert isinstance(event, ApiServersFound)
        self.servers.append({f"{s.address} {s.port}" for s in event.servers})


def kubeconfig(path: Path, server: str, **cluster: str) -> Path:
    """A kubeconfig with this server."""
    named: Mapping[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path.write_text(json.dumps(named))
    return path


def api_of(path: Path) -> Api:
    """The API server of a kubeconfig."""
    return Api(Access(Address(kubeconfig=str(path))))


@pytest.mark.parametrize(
    ("server", "cluster", "expected"),
    [
        ("https://192.0.2.6:6443", {}, {"192.0.2.6 6443"}),
        ("https://192.0.2.6", {}, {"192.0.2.6 443"}),
        ("http://[2001:db8::6]:8080", {}, {"2001:db8::6 8080"}),
        ("https://api.example.com:6443", {}, {"192.0.2.6 6443", "2001:db8::6 6443"}),
        ("https://API.Example.COM:6443", {}, {"192.0.2.6 6443", "2001:db8::6 6443"}),
        # Nobody's VIP anyway.
        ("https://127.0.0.1:6443", {}, set()),
        # All connections go to the proxy, which finds the server by itself.
        (
            "https://192.0.2.6:6443",
            {"proxy-url": "http://proxy.example.com:3128"},
            {"192.0.2.6 6443", "192.0.2.9 3128"},
        ),
    ],
)
async def test_where_urls_lead(
    tmp_path: Path, server: str, cluster: dict[str, str], expected: set[str]
) -> None:
    """Addresses with ports, of names too, and those of a proxy before the server."""
    names = Names()
    names.names = {
        "api.example.com": ("192.0.2.6", "2001:db8::6"),
        "proxy.example.com": ("192.0.2.9",),
    }
    told, clock = Told(), FakeClock()
    path = kubeconfig(tmp_path / "kubeconfig", server, **cluster)
    servers = Servers(api_of(path), told.put, resolve=names.resolve, sleep=clock.sleep)
    running = asyncio.ensure_future(servers.run())
    async with asyncio.timeout(60):
        await servers.settled.wait()
    running.cancel()
    await asyncio.wait({running})
    assert told.servers == [expected]


async def test_names_are_looked_up_again(tmp_path: Path) -> None:
    """What changed is told; what cannot be found stays as it was."""
    names = Names(api=("192.0.2.6",))
    told, clock = Told(), FakeClock()
    path = kubeconfig(tmp_path / "kubeconfig", "https://api")
    servers = Servers(api_of(path), told.put, resolve=names.resolve, sleep=clock.sleep)
    running = asyncio.ensure_future(servers.run())

    async def looked(times: int) -> None:
        async with asyncio.timeout(60):
            while names.asked < times:
                await asyncio.sleep(0.001)
                clock.advance(PERIOD_S / 10)

    await looked(3)
    assert told.servers == [{"192.0.2.6 443"}]
    names.names = {}
    await looked(6)
    names.names = {"api": ("192.0.2.7",)}
    await looked(8)
    running.cancel()
    await asyncio.wait({running})
    assert told.servers == [{"192.0.2.6 443"}, {"192.0.2.7 443"}]


async def test_looking_up_a_name() -> None:
    """As the system does it; what is no name is an error like any other."""
    assert parse_address("127.0.0.1") in await resolve("localhost", 443)
    with pytest.raises(OSError, match="is no host name"):
        await resolve("a" * 80, 443)


async def test_the_source_tells_before_it_is_complete(
    server: FakeApiServer, clock: FakeClock, tmp_path: Path
) -> None:
    """A proxy in front stands for an address that is not loopback."""
    path = server.kubeconfig(tmp_path / "kubeconfig")
    async with watched(path, clock) as made:
        await made.synced()
        assert made.store.api_servers.used == frozenset()
        (found,) = (e for e in made.events if isinstance(e, ApiServersFound))
        assert made.events.index(found) < len(made.events) - 1
        assert found.servers == frozenset[ApiServer]()
