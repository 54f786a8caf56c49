"""Requests to the API server as metrics: a trace for the session that makes them."""

import asyncio
from types import SimpleNamespace

import aiohttp

from ipvsctl.serve.metric_table import REQUEST_DURATION, REQUESTS
from ipvsctl.serve.metrics import Metrics


def request_trace(metrics: Metrics) -> aiohttp.TraceConfig:
    """Counts the requests of a session: give it to one as one of its `trace_configs`.

    A request without an answer has code `<error>`, as in client-go. A watch counts when
    it begins, for as long as that took.
    """

    async def begun(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        _params: aiohttp.TraceRequestStartParams,
    ) -> None:
        context.begun_s = asyncio.get_running_loop().time()

    async def answered(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        params: aiohttp.TraceRequestEndParams,
    ) -> None:
        host = f"{params.url.host}:{params.url.port}"
        count(context, params.method, host, str(params.response.status))

    async def failed(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        params: aiohttp.TraceRequestExceptionParams,
    ) -> None:
        host = f"{params.url.host}:{params.url.port}"
        count(context, params.method, host, "<error>")

    def count(context: SimpleNamespace, method: str, host: str, code: str) -> None:
        duration_s = asyncio.get_running_loop().time() - context.begun_s
        metrics.add(REQUESTS, code, method, host)
        metrics.observe(REQUEST_DURATION, duration_s, labels=[(method, host)])

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(begun)
    trace.on_request_end.append(answered)
    trace.on_request_exception.append(failed)
    return trace
