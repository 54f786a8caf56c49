"""One request to the API server, and its errors."""

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import aiohttp
import msgspec

from ipvsctl.kube.api_messages import status_of
from ipvsctl.kube.connect.access import Access
from ipvsctl.model.errors import ApiError

Query = Sequence[tuple[str, str]]

READ_TIMEOUT_S: Final = 90.0
"""Seconds of silence after which a connection is given up. A watch is told a bookmark
every minute (apiserver storage/cacher/cacher.go), so one that is silent for longer is
half open; a watch that is silent for a better reason goes on where it was."""

CONNECT_TIMEOUT_S: Final = 10.0
"""Seconds for TCP and TLS together."""

KEEPALIVE: Final = (
    (socket.TCP_KEEPIDLE, 10),
    (socket.TCP_KEEPINTVL, 5),
    (socket.TCP_KEEPCNT, 3),
)
"""Options of a connection and their values: it is given up after 25 s without a sign
of the other end's kernel, less than `model.source_state.STALE_S`."""

_BODY_MAX_BYTES: Final = 65_536
_JSON: Final = "application/json"


class Answer(Protocol):
    """A response that is being read."""

    @property
    def content(self) -> aiohttp.StreamReader:
        """The body, in chunks as they come."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer; names in any case."""
        ...

    async def read(self) -> bytes:
        """The whole body."""
        ...


class Api:
    """Asks one API server; every request has a client of its own, see `connect`."""

    def __init__(
        self, access: Access, *, read_timeout_s: float = READ_TIMEOUT_S
    ) -> None:
        self._access = access
        self._read_timeout_s = read_timeout_s
        self._trace: aiohttp.TraceConfig | None = None

    def trace(self, trace: aiohttp.TraceConfig) -> None:
        """Tell `trace` of every request from now on."""
        trace.freeze()
        self._trace = trace

    @property
    def description(self) -> str:
        """Which server it asks, for logs."""
        return f"API server of {self._access.address}"

    async def urls(self) -> tuple[str, ...]:
        """Where it sends requests: the server's URL, and that of a proxy before it.

        Raises:
            ConfigError: the credentials cannot be used.
        """
        return await self._access.urls()

    async def check(self) -> None:
        """Read the credentials once; asks no server.

        Raises:
            ConfigError: they cannot be used.
        """
        client = await self._access.client()
        await client.close()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        query: Query = (),
        body: Mapping[str, object] | None = None,
        accept: str = _JSON,
    ) -> AsyncIterator[Answer]:
        """Send a request; the answer's body is read inside of the context.

        Raises:
            ApiError: no answer, one that is not 2xx, or (inside of the context) one
                that breaks off.
            ConfigError: the credentials cannot be used.
        """
        client = await self._access.client()
        if self._trace is not None:
            client.trace(self._trace)
        url = client.url(path)
        patience = aiohttp.ClientTimeout(
            total=None, connect=CONNECT_TIMEOUT_S, sock_read=self._read_timeout_s
        )
        try:
            response = await client.send(
                method, path, query, body=body, accept=accept, patience=patience
            )
            try:
                _notice_death(response)
                if not 200 <= response.status < 300:
                    if response.status == 401:
                        self._access.distrust()
                    raise await _refusal(response, url)
                yield response
            finally:
                # First the client: it waits until the connection is gone, which a
                # response that is closed before it would keep from it.
                await client.close()
                response.close()
        except TimeoutError as error:
            reason = str(error) or "timed out"
            if isinstance(error, aiohttp.SocketTimeoutError):
                reason = f"no word within {self._read_timeout_s:g} s"
            raise ApiError(status=0, url=url, reason=reason, word="timeout") from error
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise ApiError(
                status=0, url=url, reason=reason, word="connection_lost"
            ) from error
        finally:
            await client.close()


def _notice_death(response: aiohttp.ClientResponse) -> None:
    """Have the kernel ask whether the other end is there while nothing comes.

    A watch whose server lost its power, or its address to another member, would be
    silent for `READ_TIMEOUT_S`, and the state it told last would count as fresh.
    """
    connection = response.connection
    if connection is None or connection.transport is None:
        # All of the body has been read.
        return
    connected = connection.transport.get_extra_info("socket")
    if connected is None or connected.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        connected.setsockopt(socket.IPPROTO_TCP, option, value)


async def _refusal(response: aiohttp.ClientResponse, url: str) -> ApiError:
    body = await response.content.read(_BODY_MAX_BYTES)
    try:
        status = status_of(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        status = None
    message = (status and status.message) or response.reason or "refused"
    return ApiError(
        status=response.status,
        url=url,
        reason=message,
        retry_after_s=_seconds(response.headers.get("Retry-After", "")),
    )


def _seconds(text: str) -> float:
    """Seconds to wait; a date instead would need a clock that agrees, so it is 0."""
    return float(text) if text.isascii() and text.isdigit() else 0.0
