"""A real Prometheus scrapes the daemon, and answers what dashboards ask.

Queries of kubernetes-mixin (dashboards/proxy.libsonnet) and ClusterLoader2
(pkg/measurement/common/slos/network_programming.go), with their labels.
"""

import asyncio
import math
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web

from ipvsctl.cli.run import Daemon, serve
from ipvsctl.cluster.store import Store
from ipvsctl.kernel.interface import Reading
from ipvsctl.model.config import Listener, ProxyConfig, ServeConfig
from ipvsctl.model.ipvs import TrafficStats
from ipvsctl.model.net import parse_address
from ipvsctl.model.state import NodeState
from ipvsctl.model.steps import finish
from ipvsctl.serve.http import http_server
from ipvsctl.serve.metric_table import (
    KUBE_PROXY_METRICS,
    OWN_METRICS,
    TRAFFIC_METRICS,
)
from ipvsctl.serve.request_metrics import request_trace
from tests.builders import endpoint_slice
from tests.controller.cluster import FIRST, ListSource, has_slice
from tests.fakes.kernel import FakeKernel
from tests.lab.prometheus import Prometheus, check_metrics, prometheus
from tests.serve.test_health_checks import free_port, url

pytestmark = pytest.mark.lab

LOOPBACK = parse_address("127.0.0.1")
LIMIT_S = 240
_SELF = 'cluster="test", job="kube-proxy"'
_HERE = f'{_SELF}, instance=~".+"'

MIXIN = (
    f"sum(up{{{_SELF}}})",
    f"sum(rate(kubeproxy_sync_proxy_rules_duration_seconds_count{{{_HERE}}}[5m]))",
    (
        "histogram_quantile(0.99,rate("
        f"kubeproxy_sync_proxy_rules_duration_seconds_bucket{{{_HERE}}}[5m]))"
    ),
    f"sum(rate(kubeproxy_network_programming_duration_seconds_count{{{_HERE}}}[5m]))",
    (
        "histogram_quantile(0.99, sum(rate("
        f"kubeproxy_network_programming_duration_seconds_bucket{{{_HERE}}}[5m]))"
        " by (instance, le))"
    ),
    f'sum(rate(rest_client_requests_total{{{_HERE},code=~"2.."}}[5m]))',
    f'sum(rate(rest_client_requests_total{{{_HERE},code=~"4.."}}[5m]))',
    (
        "histogram_quantile(0.99, sum(rate(rest_client_request_duration_seconds_bucket"
        f'{{{_HERE}, verb="GET"}}[5m])) by (verb, url, le))'
    ),
    f"process_resident_memory_bytes{{{_HERE}}}",
    f"rate(process_cpu_seconds_total{{{_HERE}}}[5m])",
)
CLUSTER_LOADER = (
    "quantile_over_time(0.99,"
    " kubeproxy:kubeproxy_network_programming_duration:histogram_quantile{}[5m])"
)
CLUSTER_LOADER_RULES = [
    {
        "name": "kube-proxy.rules",
        "rules": [
            {
                "record": (
                    "kubeproxy:kubeproxy_network_programming_duration"
                    ":histogram_quantile"
                ),
                "expr": (
                    f"histogram_quantile({quantile}, sum(rate("
                    "kubeproxy_network_programming_duration_seconds_bucket[5m]"
                    ")) by (le))"
                ),
                "labels": {"quantile": quantile},
            }
            for quantile in ("0.99", "0.90", "0.50")
        ],
    }
]
OWN = (
    "sum by (namespace, service) (rate(ipvsctl_service_connections_total[5m])) > 0",
    "sum(rate(ipvsctl_service_outgoing_bytes_total[5m])) > 0",
    "ipvsctl_virtual_servers == 1",
    "sum by (kind) (increase(ipvsctl_drift_found_total[5m])) == 0",
    "ipvsctl_ready * on (instance) group_left (version) ipvsctl_build_info",
    "time() - max(kubeproxy_sync_proxy_rules_last_timestamp_seconds) < 60",
)


_SUFFIX = re.compile("_(bucket|count|sum)$")
NAMES = {
    metric.name for metric in (*KUBE_PROXY_METRICS, *OWN_METRICS, *TRAFFIC_METRICS)
}
CHARTS = Path(__file__).parents[2] / "charts"


def shipped_queries() -> Iterator[str]:
    """What the dashboards and alerts of our charts ask, with any value of variables."""
    for path in sorted(CHARTS.rglob("files/*")):
        if path.suffix in {".json", ".yaml"}:
            for expression in _expressions(yaml.safe_load(path.read_text())):
                asked = expression.replace("$__rate_interval", "5m")
                asked = asked.replace("$__range", "5m").replace("$__interval", "1m")
                yield re.sub(r"\$\{?\w+\}?", ".+", asked)


def _expressions(document: object) -> Iterator[str]:
    if isinstance(document, list):
        for item in document:
            yield from _expressions(item)
    elif isinstance(document, dict):
        for name, value in document.items():
            if name == "expr" and isinstance(value, str):
                yield value
            else:
                yield from _expressions(value)


class BusyKernel(FakeKernel):
    """Each look at it finds more traffic."""

    def read_in_steps(self, likely: NodeState, *, has_rules: bool = True) -> Reading:
        """See `Kernel`."""
        for key in finish(
            super().read_in_steps(likely, has_rules=has_rules)
        ).state.virtual_servers:
            more = TrafficStats(connections=self.reads, bytes_out=self.reads * 100)
            self.set_traffic(key, more)
        return (yield from super().read_in_steps(likely, has_rules=has_rules))


class Node:
    """A daemon under way, in a cluster where something always happens."""

    def __init__(self) -> None:
        self.port = free_port()
        nowhere = Listener(LOOPBACK, 0)
        at = Listener(LOOPBACK, self.port)
        config = ProxyConfig(
            sync_period_s=1,
            min_sync_period_s=0,
            serve=ServeConfig(healthz=nowhere, metrics=at, must_bind=True),
        )
        self.source = ListSource(FIRST)
        self.daemon = Daemon(
            kernel=BusyKernel(),
            store=Store("node-0"),
            config=config,
            source=self.source,
        )

    async def live(self) -> None:
        """Change endpoints, and ask an API server, several times a second."""
        trace = request_trace(self.daemon.metrics)
        api = free_port()

        async def found() -> web.Response:
            return web.Response()

        async with (
            http_server(
                Listener(LOOPBACK, api), {"/": found}, field="f", must_bind=True
            ),
            aiohttp.ClientSession(trace_configs=[trace]) as client,
        ):
            for number in count():
                changed = datetime.now(UTC) - timedelta(seconds=0.3)
                piece = endpoint_slice(
                    "web-1",
                    f"172.16.0.{number % 2 + 1}",
                    trigger_time=changed.isoformat().replace("+00:00", "Z"),
                )
                self.source.tell(has_slice(piece))
                for path in ("/", "/none"):
                    async with client.get(url(api, path=path)):
                        pass
                await asyncio.sleep(0.2)


@asynccontextmanager
async def lively(scratch: Path) -> AsyncIterator[Node]:
    """A node, and its life, during the block."""
    node = Node()
    stop = asyncio.Event()
    running = asyncio.create_task(
        serve(node.daemon, scratch / "ipvsctl.sock", stop.wait)
    )
    living = asyncio.create_task(node.live())
    try:
        yield node
    finally:
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living
        stop.set()
        await running


async def answer(server: Prometheus, expression: str) -> list[float]:
    """The values of a query as soon as it has some, all of them numbers."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            samples = await server.query(expression)
            values = [float(sample["value"][1]) for sample in samples]
            if values and not any(map(math.isnan, values)):
                return values
            await asyncio.sleep(0.5)


async def test_a_prometheus_answers_what_dashboards_ask(tmp_path: Path) -> None:
    """Every query has an answer, and ClusterLoader2's has its three samples."""
    port = free_port()
    async with (
        lively(tmp_path) as node,
        prometheus(
            tmp_path, port=port, target=node.port, rules=CLUSTER_LOADER_RULES
        ) as server,
    ):
        answers = {}
        for expression in (*MIXIN, *OWN, CLUSTER_LOADER):
            try:
                answers[expression] = await answer(server, expression)
            except TimeoutError:
                pytest.fail(f"no answer: {expression}")
        for expression in shipped_queries():
            # An alert has no answer while all is well, but must be understood.
            await server.query(expression)
            named = set(
                re.findall(r"\b(?:ipvsctl|kubeproxy|rest_client)_\w+", expression)
            )
            assert {_SUFFIX.sub("", name) for name in named} <= NAMES, expression
        assert answers[MIXIN[0]] == [1]
        assert all(0 < value <= 10 for value in answers[CLUSTER_LOADER])
        assert len(answers[CLUSTER_LOADER]) == 3


async def test_promtool_has_nothing_to_say(tmp_path: Path) -> None:
    """But for the gauge of kube-proxy that is called a total."""
    async with lively(tmp_path) as node, aiohttp.ClientSession() as client:
        async with asyncio.timeout(LIMIT_S):
            text = b""
            while b'namespace="default",service="web"' not in text:
                try:
                    async with client.get(url(node.port, path="/metrics")) as scraped:
                        text = await scraped.read()
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.1)
        said = await check_metrics(text)
    assert said == [
        (
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total"
            ' non-counter metrics should not have "_total" suffix'
        )
    ]
