"""What a glance costs."""

import time
from contextlib import closing
from typing import Final

from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.plan.diff.surplus import surplus
from tests.bench.cluster import NODE, fill, raw_objects
from tests.bench.floor import node_netns
from tests.bench.speed import open_kernel
from tests.lab.netns import inside

_TIMES: Final = 200
_ENDPOINTS: Final = 5


def glance_s(services: int) -> float:
    """Seconds of CPU, of the kernel too, of one glance at a node that serves them."""
    config, store = ProxyConfig(), Store(NODE)
    fill(store, raw_objects(services, _ENDPOINTS))
    with node_netns("glance") as netns, inside(netns):
        kernel = open_kernel(config)
        with closing(kernel):
            reconciler = Reconciler(kernel=kernel, config=config, store=store)
            reconciler.audit()
            begun_s = time.process_time()
            for _ in range(_TIMES):
                surplus(kernel.glance(), reconciler.desired)
            return (time.process_time() - begun_s) / _TIMES
