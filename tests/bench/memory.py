"""How much memory one node takes."""

import asyncio
from pathlib import Path

from ipvsctl.cli import interpreter, run
from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from tests.bench.cluster import NODE, change, fill, raw_objects, raw_slice
from tests.bench.floor import node_netns
from tests.bench.sizes import Figures, Size
from tests.bench.speed import open_kernel
from tests.lab.netns import inside


def measure(size: Size) -> Figures:
    """RSS in bytes, of a process that is this node's proxy and nothing else."""
    figures: Figures = {"rss, empty": _status("VmRSS")}
    store = Store(NODE)
    with node_netns("memory") as netns, inside(netns), interpreter.held_back():
        kernel = open_kernel(size.config)
        reconciler = Reconciler(kernel=kernel, config=size.config, store=store)
        fill(store, raw_objects(*size))
        figures["rss, objects"] = _status("VmRSS")
        done = reconciler.audit()
        if done.report.failed:
            raise SystemExit(f"failed: {done.report.failed[:3]}")
        del done
        interpreter.settle()
        figures["rss, cold sync"] = _status("VmRSS")
        reconciler.audit()
        figures["rss, audit"] = _status("VmRSS")
        for number in range(size.large, size.services, max(1, size.services // 1000)):
            for spare in (True, False):
                raw = raw_slice(number, size.endpoints, spare=spare)
                reconciler.take_event(change(raw))
                reconciler.sync(reconciler.prepare())
        figures["rss, 2000 changes"] = _status("VmRSS")
        figures["rss, peak"] = _status("VmHWM")
        kernel.close()
    return figures


def _status(name: str) -> int:
    """A size from /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


# The daemon's own modules count too.
LOADED = (asyncio, run)
