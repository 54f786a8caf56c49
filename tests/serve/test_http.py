"""HTTP for probes and scrapes, over real connections on loopback."""

import asyncio
import errno
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from ipvsctl.model.config import Listener
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.net import parse_address
from ipvsctl.serve.admission import LOCAL_RATE
from ipvsctl.serve.connections import HttpServer
from ipvsctl.serve.http import Route, http_server
from tests.fakes.clock import FakeClock
from tests.serve.test_health_checks import LOOPBACK, free_port, listener, url


async def hello() -> web.Response:
    """An answer."""
    return web.Response(text="hello")


async def never() -> web.Response:
    """An answer that does not come."""
    await asyncio.Event().wait()
    raise AssertionError


ROUTES: Mapping[str, Route] = {"/hello": hello, "/never": never}


def at(port: int, address: str = "127.0.0.1") -> Listener:
    """Where to listen."""
    return Listener(parse_address(address), port)


@pytest.fixture
def port() -> int:
    """A port that nobody has."""
    return free_port()


async def raw(port: int, request: bytes) -> bytes:
    """All that is answered to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_answers(port: int) -> None:
    """GET and HEAD of a path; other methods and paths are told so."""
    async with (
        http_server(at(port), ROUTES, field="f", must_bind=True),
        aiohttp.ClientSession() as client,
    ):
        async with client.get(url(port, path="/hello?a=b")) as answer:
            assert (answer.status, await answer.text()) == (200, "hello")
            assert answer.headers["Server"] == "ipvsctl"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        async with client.head(url(port, path="/hello")) as answer:
            assert (answer.status, await answer.text()) == (200, "")
            assert answer.headers["Content-Length"] == "5"
        async with client.get(url(port, path="/hello/")) as answer:
            assert answer.status == 404
        async with client.post(url(port, path="/hello"), data=b"x" * 10) as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "GET, HEAD"


async def test_an_unspecified_address_is_both_families(port: int) -> None:
    """So a dual-stack node is probed at either."""
    async with (
        http_server(at(port, "0.0.0.0"), ROUTES, field="f", must_bind=True),
        aiohttp.ClientSession() as client,
    ):
        for address in LOOPBACK:
            async with client.get(url(port, address, "/hello")) as answer:
                assert answer.status == 200


async def test_port_0_is_nowhere() -> None:
    """kube-proxy is told so to serve nothing."""
    async with http_server(at(0), ROUTES, field="f", must_bind=True):
        pass


async def test_an_address_that_must_be_bound() -> None:
    """The error names setting, address and reason."""
    with closing(listener(LOOPBACK[0])) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            async with http_server(
                at(port), ROUTES, field="healthzBindAddress", must_bind=True
            ):
                pass
    assert str(caught.value) == (
        f"healthzBindAddress: '127.0.0.1:{port}': cannot listen: Address already in use"
    )


async def test_an_address_in_use_is_tried_again() -> None:
    """With growing pauses, each said in a warning, until it is free."""
    clock = FakeClock()
    taken = listener(LOOPBACK[0])
    port = taken.getsockname()[1]
    with closing(taken), capture_logs() as logs:
        async with http_server(
            at(port), ROUTES, field="f", must_bind=False, sleep=clock.sleep
        ):
            for _ in range(3):
                await until(lambda: bool(clock.sleeping))
                clock.advance(clock.sleeping[0])
                await asyncio.sleep(0)
            await until(lambda: bool(clock.sleeping))
            taken.close()
            clock.advance(clock.sleeping[0])
            async with asyncio.timeout(60), aiohttp.ClientSession() as client:
                while True:
                    with suppress(aiohttp.ClientConnectionError):
                        async with client.get(url(port, path="/hello")) as answer:
                            assert answer.status == 200
                        break
    words = [log["event"] for log in logs]
    assert words == ["cannot listen"] * 4 + ["listening"]
    assert os.strerror(errno.EADDRINUSE) in logs[0]["reason"]


async def until(holds: Callable[[], bool]) -> None:
    """Let tasks run until something holds."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  # it is told of nothing it could wait for
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"",
        b"GET /hello HTTP/1.1\r\nHost: a\r\n",
        b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\nabc",
        b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_a_slow_client_is_ended(port: int, request_bytes: bytes) -> None:
    """Whatever it has not said or read yet."""
    async with http_server(at(port), ROUTES, field="f", must_bind=True, limit_s=0.05):
        async with asyncio.timeout(60):
            with suppress(ConnectionResetError):
                await raw(port, request_bytes)


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET\r\n\r\n"])
async def test_garbage(port: int, garbage: bytes) -> None:
    """Is a bad request, and the next client is served."""
    async with (
        http_server(at(port), ROUTES, field="f", must_bind=True),
        aiohttp.ClientSession() as client,
    ):
        assert b" 400 " in await raw(port, garbage)
        async with client.get(url(port, path="/hello")) as answer:
            assert answer.status == 200


async def test_a_crowd_keeps_nobody_out(port: int) -> None:
    """Of too many connections the oldest makes room."""
    async with http_server(at(port), ROUTES, field="f", must_bind=True):
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(150)]
        try:
            async with (
                asyncio.timeout(60),
                aiohttp.ClientSession() as client,
                client.get(url(port, path="/hello")) as answer,
            ):
                assert answer.status == 200
            ended = [asyncio.create_task(reader.read()) for reader, _ in crowd[:20]]
            done, _ = await asyncio.wait(ended, timeout=60)
            assert len(done) == len(ended)
            await asyncio.gather(*ended, return_exceptions=True)
        finally:
            for _, writer in crowd:
                writer.close()


async def test_ending_does_not_wait_for_clients(port: int) -> None:
    """Neither for one that says nothing nor for one whose answer does not come."""
    loop = asyncio.get_running_loop()
    async with http_server(at(port), ROUTES, field="f", must_bind=True):
        waiting = [
            asyncio.create_task(raw(port, said))
            for said in (b"", b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
        ]
        async with (
            aiohttp.ClientSession() as client,
            client.get(url(port, path="/hello")) as answer,
        ):
            assert answer.status == 200
        ended_at = loop.time()
    assert loop.time() - ended_at < 1.5
    await asyncio.gather(*waiting, return_exceptions=True)


SECRET = "s3cret-of-a-client"
BAD_REQUESTS = [
    b"\x16\x03\x01\x02\x00" + SECRET.encode() + b"\r\n\r\n",
    b"G\xe9T /" + SECRET.encode() + b" HTTP/1.1\r\n\r\n",
    b"GET /" + SECRET.encode() + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + SECRET.encode() + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: " + SECRET.encode() + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + SECRET.encode() + b"\r\n",
    b"GET http://[" + SECRET.encode() + b" HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SECRET.encode(),
    b"GET /" + b"a" * 100_000 + SECRET.encode() + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 500 + SECRET.encode() + b"\r\n\r\n",
    b"POST /hello HTTP/1.1\r\nContent-Length: 5\r\n\r\n" + SECRET.encode(),
    b"GET /hello HTTP/1.1\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x00"
    + SECRET.encode(),
    SECRET.encode() * 1000,
]


@pytest.mark.parametrize("request_bytes", BAD_REQUESTS, ids=range(len(BAD_REQUESTS)))
async def test_what_clients_say_is_not_said_again(
    port: int, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A log is no place for the words of whoever reaches the node, nor an answer."""
    with caplog.at_level(logging.DEBUG), capture_logs() as logs:
        async with (
            http_server(at(port), ROUTES, field="f", must_bind=True, limit_s=1),
            aiohttp.ClientSession() as client,
        ):
            with suppress(ConnectionError):
                assert SECRET.encode() not in await raw(port, request_bytes)
            async with client.get(url(port, path="/hello")) as answer:
                assert answer.status == 200
    assert SECRET not in f"{logs} {caplog.text}"
    assert not [record for record in caplog.records if record.exc_info]


async def test_bad_requests_are_one_line(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """However many there are: the first of a minute says so, the others are counted."""
    with caplog.at_level(logging.INFO), capture_logs() as logs:
        async with http_server(at(port), ROUTES, field="f", must_bind=True):
            for _ in range(50):
                assert b" 400 " in await raw(port, b"GET\r\n\r\n")
    assert logs == [
        {
            "event": "clients do wrong",
            "field": "f",
            "bad_requests": 1,
            "log_level": "warning",
        }
    ]
    assert not caplog.records


async def test_a_failure_of_our_own(port: int) -> None:
    """Is told by its kind and place, not by its words; the client gets a bare 500."""

    async def fail() -> web.Response:
        raise ValueError(SECRET)

    with capture_logs() as logs:
        async with (
            http_server(at(port), {"/": fail}, field="f", must_bind=True),
            aiohttp.ClientSession() as client,
            client.get(url(port)) as answer,
        ):
            assert (answer.status, await answer.text()) == (
                500,
                "internal server error\n",
            )
    (line,) = logs
    assert (line["event"], line["error"]) == ("request failed", "ValueError")
    assert line["where"].split()[-1].startswith("fail:")
    assert SECRET not in str(logs)


async def test_clients_beyond_the_rate_are_refused(port: int) -> None:
    """By a reset when they are accepted, once the burst of one client is spent."""
    clock = FakeClock()
    with closing(listener(LOOPBACK[0], port)) as opened, capture_logs() as logs:
        server = HttpServer(_always, field="f", clock=clock)
        server.open(opened)
        outcomes = Counter([await _ask(port) for _ in range(int(LOCAL_RATE.burst) + 9)])
        assert outcomes == {True: LOCAL_RATE.burst, False: 9}
        clock.advance(1)
        assert await _ask(port)
        await server.close(0.1)
    assert [log["event"] for log in logs] == ["clients do wrong"]


async def _always(_request: web.BaseRequest) -> web.Response:
    response = web.Response(text="hello")
    response.force_close()
    return response


async def _ask(port: int) -> bool:
    try:
        return b" 200 " in await raw(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    except ConnectionError:
        return False
