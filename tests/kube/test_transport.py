"""`kube.transport`: what becomes of a request."""

from pathlib import Path

import pytest

from ipvsctl.kube.access import Access, Address
from ipvsctl.kube.transport import Api
from ipvsctl.model.errors import ApiError
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


async def failure(kubeconfig: Path) -> ApiError:
    """The error of a list."""
    access = Access(Address(kubeconfig=str(kubeconfig)))
    with pytest.raises(ApiError) as caught:
        async with Api(access, read_timeout_s=0.3).request("GET", PATH) as answer:
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
    error = await failure(kubeconfig)
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
