"""Requests to the API server, counted as client-go counts them."""

from contextlib import suppress

import aiohttp
from aiohttp import web

from ipvsctl.serve.http import http_server
from ipvsctl.serve.metrics import Metrics
from ipvsctl.serve.request_metrics import request_trace
from tests.serve.test_health_checks import free_port, url
from tests.serve.test_http import at
from tests.serve.test_metrics import samples


async def test_requests_are_counted() -> None:
    """By code, method and host; one without an answer too; with their duration."""

    async def gone() -> web.Response:
        return web.Response(status=410)

    metrics = Metrics()
    port = free_port()
    host = f"127.0.0.1:{port}"
    async with aiohttp.ClientSession(trace_configs=[request_trace(metrics)]) as client:
        async with http_server(at(port), {"/": gone}, field="f", must_bind=True):
            for _ in range(2):
                async with client.get(url(port)) as answer:
                    assert answer.status == 410
            async with client.post(url(port)) as answer:
                assert answer.status == 405
        with suppress(aiohttp.ClientConnectionError):
            await client.get(url(port))
    found = samples(metrics)
    name = "rest_client_requests_total"
    assert found[name, ("410", host, "GET")] == 2
    assert found[name, ("405", host, "POST")] == 1
    assert found[name, ("<error>", host, "GET")] == 1
    assert found["rest_client_request_duration_seconds_count", (host, "GET")] == 3
