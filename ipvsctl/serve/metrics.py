"""The metrics as Prometheus reads them: a registry made of the table.

Others tell the values; here nothing is counted.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import prometheus_client
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from ipvsctl.serve.metric_table import (
    KUBE_PROXY_METRICS,
    OWN_METRICS,
    TRAFFIC_METRICS,
    Metric,
    MetricType,
)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, ...]


class Metrics:
    """The values of all metrics of the table. From any thread."""

    def __init__(self) -> None:
        # A second series for each counter and histogram, which nobody asked for.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._counters: dict[Metric, Counter] = {}
        self._gauges: dict[Metric, Gauge] = {}
        self._histograms: dict[Metric, Histogram] = {}
        for metric in (*KUBE_PROXY_METRICS, *OWN_METRICS, *TRAFFIC_METRICS):
            self._register(metric)

    def add(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Count; by 0 to have the series there from the beginning."""
        counter = self._counters[metric]
        (counter.labels(*labels) if labels else counter).inc(by)

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        """Set one series of a gauge."""
        gauge = self._gauges[metric]
        (gauge.labels(*labels) if labels else gauge).set(to)

    def set_all(self, metric: Metric, values: Mapping[Labels, float]) -> None:
        """Have exactly these series of a gauge."""
        gauge = self._gauges[metric]
        gauge.clear()
        for labels, value in values.items():
            gauge.labels(*labels).set(value)

    def observe(
        self, metric: Metric, value: float, *, labels: Iterable[Labels]
    ) -> None:
        """Put a value into a histogram, once for each set of labels."""
        for values in labels:
            self._histograms[metric].labels(*values).observe(value)

    def remove(self, metric: Metric, *labels: str) -> None:
        """Have a series of a counter no more."""
        self._counters[metric].remove(*labels)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format, `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def _register(self, metric: Metric) -> None:
        match metric.type:
            case MetricType.COUNTER:
                self._counters[metric] = Counter(
                    metric.name, metric.help, metric.labels, registry=self._registry
                )
            case MetricType.GAUGE:
                self._gauges[metric] = Gauge(
                    metric.name, metric.help, metric.labels, registry=self._registry
                )
            case MetricType.HISTOGRAM:
                self._histograms[metric] = Histogram(
                    metric.name,
                    metric.help,
                    metric.labels,
                    registry=self._registry,
                    buckets=metric.buckets,
                )
