"""The paths that are answered over HTTP, from the state of the loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from ipvsctl.cluster.config.effective import effective_config
from ipvsctl.cluster.store import Store
from ipvsctl.controller.gauges import Gauges
from ipvsctl.controller.loop import Loop
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.source_state import source_state
from ipvsctl.serve.admission import SCRAPE_RATE
from ipvsctl.serve.http import Route, http_server
from ipvsctl.serve.metric_table import HEALTHZ, LIVEZ, Metric
from ipvsctl.serve.metrics import CONTENT_TYPE, Metrics
from ipvsctl.serve.probes import Health, healthz, livez, readyz
from ipvsctl.sources.source import Source

_GROUP = "kubeproxy.config.k8s.io"
"""What kube-proxy calls its configuration in `/configz`."""


class HttpRoutes:
    """What is answered at the two addresses.

    Args:
        clock: wall clock, seconds since the epoch.
    """

    def __init__(
        self,
        *,
        loop: Loop,
        store: Store,
        source: Source,
        config: ProxyConfig,
        metrics: Metrics,
        gauges: Gauges,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._loop = loop
        self._store = store
        self._source = source
        self._config = config
        self._metrics = metrics
        self._gauges = gauges
        self._clock = clock
        self._scraping = asyncio.Lock()

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Answer during the block.

        Raises:
            ConfigError: an address cannot be bound, and must be.
        """
        serve = self._config.serve
        async with (
            http_server(
                serve.healthz,
                self.probes,
                field="healthzBindAddress",
                must_bind=serve.must_bind,
            ),
            http_server(
                serve.metrics,
                self.scrapes,
                field="metricsBindAddress",
                rate=SCRAPE_RATE,
                must_bind=serve.must_bind,
            ),
        ):
            yield

    @property
    def probes(self) -> Mapping[str, Route]:
        """What `healthzBindAddress` has, by path."""
        return {
            "/healthz": self._probe(healthz, HEALTHZ),
            "/livez": self._probe(livez, LIVEZ),
            "/readyz": self._probe(readyz),
        }

    @property
    def scrapes(self) -> Mapping[str, Route]:
        """What `metricsBindAddress` has, by path."""
        return {
            "/metrics": self._scrape,
            "/proxyMode": _text("ipvs"),
            "/healthz": _text("ok"),
            "/configz": self._configz,
        }

    def health(self) -> Health:
        """How the proxy is now."""
        watches = self._source.health()
        return Health(
            is_healthy=self._loop.is_healthy(),
            is_ready=self._loop.state.synced,
            is_node_leaving=self._store.is_node_leaving,
            imposed_at_s=self._loop.state.imposed_at_s,
            now_s=self._clock(),
            source=source_state(
                self._source.description,
                watches,
                doubts=self._store.vouched().doubts,
            ),
            watches=watches,
            is_holding=self._loop.is_holding,
            read_ages_s=self._loop.state.read_ages_s(),
            sync_period_s=self._config.sync_period_s,
        )

    def _probe(
        self, answer: Callable[[Health], web.Response], counted: Metric | None = None
    ) -> Route:
        async def route() -> web.Response:
            response = answer(self.health())
            if counted is not None:
                self._metrics.add(counted, str(response.status))
            return response

        return route

    async def _scrape(self) -> web.Response:
        # One at a time: many scrapers take no more from others than one does.
        async with self._scraping:
            for _ in self._gauges.refresh_in_steps(self._source.health()):
                await asyncio.sleep(0)
            body = await asyncio.to_thread(self._metrics.text)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _configz(self) -> web.Response:
        body = msgspec.json.encode({_GROUP: effective_config(self._config)})
        return web.Response(body=body, content_type="application/json")


def _text(body: str) -> Route:
    async def route() -> web.Response:
        return web.Response(text=body)

    return route
