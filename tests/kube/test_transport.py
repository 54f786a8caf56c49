"""`kube.transport`: what becomes of a request."""

import socket
from pathlib import Path

import aiohttp
import pytest

from ipvsctl.kube.connect.access import Access, Address
from ipvsctl.kube.transport import KEEPALIVE, Api
from ipvsctl.model.errors import ApiError
from ipvsctl.model.source_state import STALE_S
from tests.fakes.apiserver import (
    Cut,
    Door,
    FakeApiServer,
    Hang,
    Refuse,
    When,
)
from tests.fakes.apiserver.faults import Fault

PATH = "/api/v1/services"


async def failure(kubeconfig: Path, read_timeout_s: float = 60) -> ApiError:
    """The error of a list."""
    access = Access(Address(kubeconfig=str(kubeconfig)))
    api = Api(access, read_timeout_s=read_timeout_s)
    with pytest.raises(ApiError) as caught:
        async with api.request("GET", PATH) as answer:
            await answer.read()
    return caught.value


@pytest.mark.parametrize(
    ("fault", "status", "word", "reason"),
    [
        (Hang(), 0, "timeout", "no word within 0.3 s"),
        (Hang(after_bytes=5), 0, "timeout", "no word within 0.3 s"),
        (Cut(after_bytes=20), 0, "connection_lost", ""),
        (Refuse(code=500), 500, "server_error", ""),
        (Refuse(code=429, retry_after_s=3), 429, "too_many_requests", ""),
    ],
)
async def test_faults(
    server: FakeApiServer,
    kubeconfig: Path,
    fault: Fault,
    status: int,
    word: str,
    reason: str,
) -> None:
    """Each has its status, a word to count it by, and the URL it is about."""
    server.script(When(fault=fault))
    # What answers has all the time of a busy machine.
    error = await failure(kubeconfig, 0.3 if isinstance(fault, Hang) else 60)
    assert (error.status, error.word) == (status, word)
    assert error.url == server.url + PATH
    assert reason in error.reason
    assert error.retry_after_s == (3 if status == 429 else 0)


async def test_refused_connection(server: FakeApiServer, kubeconfig: Path) -> None:
    """A server that is not there is said to be so."""
    await server.set_door(Door.REFUSED)
    error = await failure(kubeconfig)
    assert (error.status, error.word) == (0, "connection_lost")
    assert server.url.rpartition(":")[2] in error.reason


async def test_a_dead_peer_is_noticed(server: FakeApiServer, kubeconfig: Path) -> None:
    """The kernel asks for signs of the other end, and gives up before it is stale."""
    access = Access(Address(kubeconfig=str(kubeconfig)))
    query = [("watch", "true"), ("resourceVersion", "1")]
    async with Api(access).request("GET", PATH, query) as answer:
        assert isinstance(answer, aiohttp.ClientResponse)
        assert answer.connection is not None
        assert answer.connection.transport is not None
        connected = answer.connection.transport.get_extra_info("socket")
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, interval, count = (
            connected.getsockopt(socket.IPPROTO_TCP, option) for option, _ in KEEPALIVE
        )
        assert idle + interval * count < STALE_S
    assert server.requests
