"""`kube.tunnel_lease`: what a node tells the others of its ends of tunnels."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from ipvsctl.kube.connect.access import Access, Address
from ipvsctl.kube.resources import TUNNEL_NAMESPACE
from ipvsctl.kube.transport import Api
from ipvsctl.kube.tunnel_lease import SETTLE_S, TunnelAnnouncer
from ipvsctl.model.net import IPFamily, parse_address
from ipvsctl.model.tunnel import TunnelEnd
from tests.builders import raw_lease
from tests.fakes.apiserver import LEASES, NODES, FakeApiServer, Refuse, When
from tests.fakes.clock import FakeClock

NOW: Final = datetime(2026, 11, 27, 20, 53, 0, 1234, tzinfo=UTC)
IPV4: Final = TunnelEnd(address=parse_address("10.0.0.10"), port=6080)
IPV6: Final = TunnelEnd(address=parse_address("fd00:10::10"), port=6080)
BOTH: Final = {IPFamily.IPV6: IPV6, IPFamily.IPV4: IPV4}

SAID: Final = ("10.0.0.10,fd00:10::10", "6080")


class Told:
    """An announcer that runs, and the Lease that it keeps."""

    def __init__(
        self, announcer: TunnelAnnouncer, server: FakeApiServer, clock: FakeClock
    ) -> None:
        self.announcer = announcer
        self._server = server
        self._clock = clock

    def offer(self, ends: Mapping[IPFamily, TunnelEnd]) -> None:
        """These ends stand."""
        self.announcer.offer(ends)

    @property
    def lease(self) -> dict[str, Any] | None:
        """What the server keeps."""
        found = self._server.store.shelf(LEASES).get(TUNNEL_NAMESPACE, "node-0")
        return None if found is None else found.decode()

    @property
    def said(self) -> tuple[str, ...] | None:
        """Addresses, port, and whether the node sends."""
        if self.lease is None:
            return None
        annotations = self.lease["metadata"]["annotations"]
        names = ("addresses", "port", "sends")
        return tuple(annotations[f"ipvsctl.io/tunnel-{name}"] for name in names)

    @property
    def is_sending(self) -> bool:
        """Whether others know that the node sends."""
        return self.said is not None and self.said[2] == "true"

    async def until(self, is_so: Callable[[], bool]) -> float:
        """Let time pass until this is so; for how long it took."""
        began_s = self._clock.now_s
        for _ in range(4_000):
            if is_so():
                return self._clock.now_s - began_s
            await asyncio.sleep(0.001)
            self._clock.advance(0.25)
        raise AssertionError(f"not so: {self.said}, {self.announcer.reason}")

    async def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass."""
        end_s = self._clock.now_s + seconds
        await self.until(lambda: self._clock.now_s >= end_s)


@asynccontextmanager
async def telling(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> AsyncIterator[Told]:
    """An announcer of node-0 that runs."""
    server.put(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": TUNNEL_NAMESPACE},
        }
    )
    api = Api(Access(Address(kubeconfig=str(kubeconfig))), read_timeout_s=5)
    announcer = TunnelAnnouncer(
        api, "node-0", sleep=clock.sleep, chance=lambda low, _: low, now=lambda: NOW
    )
    running = asyncio.ensure_future(announcer.run())
    try:
        yield Told(announcer, server, clock)
    finally:
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()


def writes(server: FakeApiServer) -> list[str]:
    """The methods of requests about Leases that change something."""
    return [
        request.verb
        for request in server.requests
        if request.resource == "leases" and request.verb not in {"get", "list", "watch"}
    ]


async def test_first_it_takes_then_it_sends(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """Others have time to get to know the node before it sends them anything."""
    async with telling(server, kubeconfig, clock) as told:
        told.offer(BOTH)
        await told.until(
            lambda: told.said == ("10.0.0.10,fd00:10::10", "6080", "false")
        )
        took_s = await told.until(lambda: told.is_sending)
        assert took_s >= SETTLE_S - 0.5
        lease = told.lease
    assert lease is not None
    assert lease["spec"] == {
        "holderIdentity": "node-0",
        "acquireTime": "2026-11-27T20:53:00.001234Z",
    }
    (owner,) = lease["metadata"]["ownerReferences"]
    node = server.store.shelf(NODES).get("", "node-0")
    assert node is not None
    assert owner == {
        "apiVersion": "v1",
        "kind": "Node",
        "name": "node-0",
        "uid": node.decode()["metadata"]["uid"],
    }
    assert writes(server) == ["create", "update"]


async def test_a_process_that_finds_it_said_says_nothing(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """A restart changes nothing for others."""
    server.put(raw_lease("node-0", "10.0.0.10,fd00:10::10"))
    async with telling(server, kubeconfig, clock) as told:
        told.offer(BOTH)
        await told.pass_time(SETTLE_S * 2)
        assert told.said == ("10.0.0.10,fd00:10::10", "6080", "true")
    assert writes(server) == []


@pytest.mark.parametrize("sends", ["false", "true"])
async def test_other_ends_are_said_anew(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock, sends: str
) -> None:
    """And it sends only when others have heard of them."""
    server.put(raw_lease("node-0", "10.0.0.10", port="7000", sends=sends))
    async with telling(server, kubeconfig, clock) as told:
        told.offer({IPFamily.IPV4: IPV4})
        await told.until(lambda: told.said == ("10.0.0.10", "6080", "false"))
        await told.until(lambda: told.said == ("10.0.0.10", "6080", "true"))


async def test_ends_that_fall_are_taken_back_at_once(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """Even while it waits to send; and they are said again when they stand again."""
    async with telling(server, kubeconfig, clock) as told:
        told.offer(BOTH)
        await told.until(lambda: told.said is not None)
        told.offer({})
        assert await told.until(lambda: told.said is None) < SETTLE_S / 2
        told.offer(BOTH)
        await told.until(lambda: told.is_sending)
        told.offer({IPFamily.IPV4: IPV4})
        await told.until(lambda: told.said == ("10.0.0.10", "6080", "false"))


async def test_nothing_is_said_before_anything_is_known(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """What stands may have been said by the process before."""
    server.put(raw_lease("node-0", "10.0.0.10"))
    async with telling(server, kubeconfig, clock) as told:
        await told.pass_time(400)
        assert told.said == ("10.0.0.10", "6080", "true")
        told.offer({})
        await told.until(lambda: told.said is None)


async def test_what_somebody_deletes_is_said_again(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """Within minutes."""
    async with telling(server, kubeconfig, clock) as told:
        told.offer(BOTH)
        await told.until(lambda: told.is_sending)
        server.store.delete("Lease", "node-0", TUNNEL_NAMESPACE)
        await told.until(lambda: told.said is not None)


async def test_who_may_not_says_why(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """And goes on when somebody has granted it."""
    server.access.denied |= {("create", "leases")}
    async with telling(server, kubeconfig, clock) as told:
        told.offer(BOTH)
        await told.until(lambda: "forbidden" in told.announcer.reason)
        server.access.denied.clear()
        await told.until(lambda: told.is_sending)
        await told.until(lambda: told.announcer.reason == "")


@pytest.mark.parametrize("verb", ["get", "create", "update", "delete"])
async def test_a_server_that_stumbles(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock, verb: str
) -> None:
    """Each request is made again; in the end others know what is true."""
    server.script(When(fault=Refuse(code=503), verb=verb, resource="leases", times=2))
    async with telling(server, kubeconfig, clock) as told:
        told.offer(BOTH)
        await told.until(lambda: told.is_sending)
        told.offer({})
        await told.until(lambda: told.said is None)


async def test_a_node_that_is_unknown_owns_nothing(
    server: FakeApiServer, kubeconfig: Path, clock: FakeClock
) -> None:
    """The Lease is written all the same."""
    server.delete("Node", "node-0")
    async with telling(server, kubeconfig, clock) as told:
        told.offer(BOTH)
        await told.until(lambda: told.lease is not None)
        assert told.lease is not None
        assert "ownerReferences" not in told.lease["metadata"]
