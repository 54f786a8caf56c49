"""Pages of `docs/` that are made from the code: `nox -s docs` writes them.

What the settings mean is said once, in their docstrings; what a large cluster costs is
computed, and put between the words of its page.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ipvsctl.cluster.config.fields import FIELDS, Field, Treatment
from ipvsctl.cluster.config.flags import FLAGS, OWN_KEY
from ipvsctl.model.config import ProxyConfig
from ipvsctl.serve.metric_table import (
    KUBE_PROXY_METRICS,
    OWN_METRICS,
    TRAFFIC_METRICS,
    Metric,
)
from tests.bench.scale import page as scale

DOCS: Final = Path(__file__).parent.parent / "docs"

_ATTRIBUTE: Final = re.compile(r"^ {4}(\w+): ", re.MULTILINE)

_HEAD: Final = f"""\
# Configuration

This page is made from the code by `nox -s docs`.

`--config FILE` takes a `KubeProxyConfiguration` as kubeadm writes it, in YAML or JSON.
Every field of it that concerns IPVS mode is honoured. A field that cannot be is named
in one warning at start if it is set, and so is a field that nobody knows. A value that
cannot be used is an error that names the field, and nothing is changed.

A field that is left out, or null, has kube-proxy's default, or the table says why not.
In kube-proxy's own fields, 0, false and an empty text are what nobody set, because
kubeadm writes every field there is; those that it writes as null are the exception
(`conntrack.maxPerCore`, `min` and the two TCP timeouts, `iptables.masqueradeBit`).
Addresses and networks may have leading zeros, which are decimal.

Settings of ipvsctl's own are beside them, under the key `{OWN_KEY}`, where 0 and false
mean what they say:

```yaml
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
clusterCIDR: 10.244.0.0/16,fd00:10:244::/56
ipvs:
  scheduler: rr
  tcpTimeout: 2h
{OWN_KEY}:
  drainTimeout: 15m
```

These, `clusterCIDR` and `clientConnection.kubeconfig` can also be given as a flag or in
the environment. A flag wins over a variable, a variable over the file, the file over
the default. Durations are written as in Go: `30s`, `1m30s`, `250ms`.
"""


def configuration() -> str:
    """`docs/configuration.md`."""
    return "\n".join(
        [
            _HEAD,
            "## Settings of ipvsctl",
            "",
            *_table(
                ("field", "flag", "variable", "default", "meaning"), _own_settings()
            ),
            "",
            "## Fields of kube-proxy that are honoured",
            "",
            *_table(("field", "default", "meaning"), _honoured()),
            "",
            "## Fields of kube-proxy without effect",
            "",
            *_table(("field", "if it is set", "why"), _without_effect()),
            "",
        ]
    )


_METRICS_HEAD: Final = """\
# Metrics

This page is made from the code by `nox -s docs`.

`ipvsctl run` serves them at `/metrics` of `metricsBindAddress`, 127.0.0.1:10249 unless
the configuration says otherwise. What they say of the kernel is as of the last audit or
sync; a scrape asks the kernel nothing.

`ip_family` is `IPv4` or `IPv6`. `process_*` and `python_*` (memory, CPU, files, garbage
collector) are there too.
"""

_METRICS_KUBE_PROXY: Final = """\
## Those of kube-proxy

With its names, types, labels and buckets, so that its dashboards and alerts, and
ClusterLoader2, work as they are. The network programming duration is that of changes
that came after the first audit, one for each EndpointSlice; the time of the change is
in its annotation `endpoints.kubernetes.io/last-change-trigger-time`.
"""

_METRICS_TRAFFIC: Final = """\
## Traffic of Services

For the `ipvsctl.serviceMetrics` Services (20) that had most connections of late, each
with series of its own; all the others are summed in the series with namespace and
service `_other`. So the sum over all series is the traffic of the node, and there are
never more than 5 x (20 + 1) of them. A Service that comes among these begins at 0, and
what it had before stays in `_other`. Counted at each audit, and before a virtual server
is changed.
"""


def metrics() -> str:
    """`docs/metrics.md`."""
    return "\n".join(
        [
            _METRICS_HEAD,
            _METRICS_KUBE_PROXY,
            *_metric_table(KUBE_PROXY_METRICS),
            "",
            "## Those of ipvsctl",
            "",
            *_metric_table(OWN_METRICS),
            "",
            _METRICS_TRAFFIC,
            *_metric_table(TRAFFIC_METRICS),
            "",
        ]
    )


PAGES: Final = {
    "configuration.md": configuration,
    "metrics.md": metrics,
    "scale.md": scale.page,
}
"""What each page is made by."""


def _own_settings() -> Iterator[tuple[str, ...]]:
    fields = {field.path: field for field in FIELDS}
    for flag in FLAGS:
        field = fields[flag.path]
        yield (
            f"`{flag.path}`",
            f"`{flag.name} {flag.metavar}`",
            f"`{flag.variable}`",
            _default(field),
            _meaning(field),
        )


def _honoured() -> Iterator[tuple[str, ...]]:
    flags = {flag.path for flag in FLAGS}
    for field in FIELDS:
        if field.treatment is Treatment.HONOURED and field.path not in flags:
            yield f"`{field.path}`", _default(field), _meaning(field)


def _without_effect() -> Iterator[tuple[str, ...]]:
    for field in FIELDS:
        if field.treatment is not Treatment.HONOURED:
            yield f"`{field.path}`", field.treatment.value, field.note


def _metric_table(metrics: tuple[Metric, ...]) -> Iterator[str]:
    rows = (
        (
            f"`{metric.name}`",
            metric.type.value,
            ", ".join(f"`{label}`" for label in metric.labels),
            metric.help,
        )
        for metric in metrics
    )
    return _table(("name", "type", "labels", "meaning"), rows)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, ("---",) * len(head), *rows):
        cells = " | ".join(cell.replace("|", "\\|") for cell in row)
        yield f"| {cells} |"


def _owner(field: Field) -> tuple[msgspec.Struct, str]:
    """The defaults that have a field's attribute, and its name there."""
    part, _, name = field.attribute.rpartition(".")
    defaults = ProxyConfig()
    return (getattr(defaults, part) if part else defaults), name


def _meaning(field: Field) -> str:
    owner, name = _owner(field)
    return attribute_docs(type(owner))[name]


def attribute_docs(struct: type[msgspec.Struct]) -> Mapping[str, str]:
    """What a docstring says of each attribute, on one line."""
    text = inspect.getdoc(struct) or ""
    _, *parts = _ATTRIBUTE.split(text.partition("Attributes:\n")[2])
    return {
        name: " ".join(said.split())
        for name, said in zip(parts[::2], parts[1::2], strict=True)
    }


def _default(field: Field) -> str:
    owner, name = _owner(field)
    value = getattr(owner, name)
    if isinstance(value, bool):
        return str(value).lower()
    if name.endswith("_s"):
        return f"{value:g}s"
    text = "" if value is None or value == () else str(value)
    return f"`{text}`" if text else ""


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
