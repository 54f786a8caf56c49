"""A server, and someone who asks it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from tests.fakes.apiserver import FakeApiServer


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    """A server that is up."""
    async with FakeApiServer() as server:
        yield server


@pytest.fixture
async def client(server: FakeApiServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A session of the user who may everything; `client.get("/api/v1/services")`."""
    async with connect(server) as session:
        yield session


def connect(
    server: FakeApiServer, *, token: str | None = None
) -> aiohttp.ClientSession:
    """A session.

    Args:
        server: which to ask.
        token: to show; default: a good one; empty: none.
    """
    shown = server.token if token is None else token
    headers = {"Authorization": f"Bearer {shown}"} if shown else {}
    connector = aiohttp.TCPConnector(ssl=server.client_context())
    return aiohttp.ClientSession(server.url, headers=headers, connector=connector)


async def until(holds: Callable[[], object]) -> None:
    """Let the server work until something is so.

    Raises:
        TimeoutError: it is not so after half a minute.
    """
    async with asyncio.timeout(30):
        # What is waited for has no event of its own: a socket was read or closed.
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0)
