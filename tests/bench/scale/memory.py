"""`python -m tests.bench.scale.memory`: what a node's state takes, by its parts.

Three clusters, each in a process of its own, give three equations for the three
unknowns; no kernel is needed, because its state is not kept.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.net import parse_address
from tests import builders
from tests.addresses import later
from tests.controller.cluster import has, has_slice
from tests.fakes.kernel import FakeKernel

_MODULE: Final = "tests.bench.scale.memory"

CLUSTERS: Final = ((5000, 10), (10000, 10), (10000, 20))


def main() -> int:
    """Measure every cluster, or the one that the arguments name."""
    if len(sys.argv) == 3:
        hold(int(sys.argv[1]), int(sys.argv[2]))
        print(_resident_bytes())
        return 0
    small, middle, large = (
        int(
            subprocess.run(
                [sys.executable, "-m", _MODULE, str(services), str(endpoints)],
                capture_output=True,
                check=True,
            ).stdout
        )
        for services, endpoints in CLUSTERS
    )
    endpoint = (large - middle) / 100_000
    service = (middle - small) / 5_000 - 10 * endpoint
    base = small - 5_000 * service - 50_000 * endpoint
    print(f"base: {base / 1e6:.0f} MB")
    print(f"a Service: {service:.0f} bytes")
    print(f"an endpoint: {endpoint:.0f} bytes")
    return 0


def hold(services: int, endpoints: int) -> None:
    """Hear of a cluster and compile it; it stays in memory."""
    reconciler = Reconciler(
        kernel=FakeKernel(), config=ProxyConfig(), store=Store("node-0")
    )
    first_vip, first_pod = parse_address("10.96.0.1"), parse_address("10.128.0.1")
    for number in range(services):
        name = f"service-{number}"
        vips = (later(first_vip, number),)
        pods = (str(later(first_pod, number * endpoints + n)) for n in range(endpoints))
        reconciler.take_event(has(builders.service(name, cluster_ips=vips)))
        reconciler.take_event(
            has_slice(builders.endpoint_slice(f"{name}-1", *pods, service_name=name))
        )
    reconciler.prepare()
    _HELD.append(reconciler)


_HELD: Final[list[Reconciler]] = []


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not say")


if __name__ == "__main__":
    raise SystemExit(main())
