"""The registry: what Prometheus is told is what was counted, and nothing else."""

from prometheus_client.parser import text_string_to_metric_families

from ipvsctl.serve import metric_table as table
from ipvsctl.serve.metrics import Metrics

ALL = (*table.KUBE_PROXY_METRICS, *table.OWN_METRICS, *table.TRAFFIC_METRICS)


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample, by name and label values, sorted by label name."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def test_every_metric_is_there_with_its_type() -> None:
    """Also the one gauge of kube-proxy that is called a total."""
    families = {
        family.name: family.type
        for family in text_string_to_metric_families(Metrics().text().decode())
    }
    for metric in ALL:
        name = metric.name
        if metric.type is table.MetricType.COUNTER:
            name = name.removesuffix("_total")
        assert families[name] == metric.type
    assert len({metric.name for metric in ALL}) == len(ALL)
    assert {"process_resident_memory_bytes", "python_info"} <= families.keys()


def test_no_series_of_creation_times() -> None:
    """They would be as many again."""
    metrics = Metrics()
    metrics.add(table.HEALTHZ, "200")
    assert "_created" not in metrics.text().decode()


def test_buckets_are_kube_proxys() -> None:
    """Else quantiles of a fleet that has both would be wrong."""
    buckets = table.PROGRAMMING_DURATION.buckets
    assert buckets[:4] == (0.25, 0.5, 1, 2)
    assert (buckets[60], buckets[61], buckets[62]) == (59, 60, 65)
    assert buckets[-8:] == (115, 120, 150, 180, 210, 240, 270, 300)
    assert len(buckets) == 2 + 59 + 12 + 7
    assert table.SYNC_DURATION.buckets[0] == 0.001
    assert table.SYNC_DURATION.buckets[-1] == 16.384


def test_counters_gauges_histograms() -> None:
    """What is put in comes out; a gauge has exactly the series it was given."""
    metrics = Metrics()
    metrics.add(table.HEALTHZ, "503", by=2)
    metrics.add(table.CONNECTIONS, "default", "web", by=0)
    metrics.set(table.READY, to=1)
    metrics.set_all(table.PROBLEMS, {("Service",): 3, ("Node",): 1})
    metrics.set_all(table.PROBLEMS, {("Service",): 2})
    metrics.observe(table.SYNC_DURATION, 0.003, labels=[("IPv4",), ("IPv6",)])
    found = samples(metrics)
    assert found["kubeproxy_proxy_healthz_total", ("503",)] == 2
    assert found["ipvsctl_service_connections_total", ("default", "web")] == 0
    assert found["ipvsctl_ready", ()] == 1
    assert found["ipvsctl_problems", ("Service",)] == 2
    assert ("ipvsctl_problems", ("Node",)) not in found
    name = "kubeproxy_sync_proxy_rules_duration_seconds"
    assert found[f"{name}_count", ("IPv6",)] == 1
    assert found[f"{name}_bucket", ("IPv4", "0.002")] == 0
    assert found[f"{name}_bucket", ("IPv4", "0.004")] == 1
    metrics.remove(table.CONNECTIONS, "default", "web")
    gone = ("ipvsctl_service_connections_total", ("default", "web"))
    assert gone not in samples(metrics)
