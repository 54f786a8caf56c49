"""`python -m tests.bench.held`: one node's proxy and nothing else, to be weighed.

It is a process of its own, in a namespace that another one made: what makes namespaces,
and what else the bench is made of, would be weighed with it.
"""

import asyncio
import json
import sys
from pathlib import Path

from ipvsctl.cli import interpreter, run
from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.plan.union.node import sysctl_names
from tests.bench.cluster import NODE, change, fill, raw_objects, raw_slice
from tests.bench.sizes import Figures, Size


def weigh(size: Size) -> Figures:
    """RSS in bytes, by what has been done."""
    figures: Figures = {"rss, empty": _status("VmRSS")}
    store = Store(NODE)
    with interpreter.held_back():
        config = size.config
        kernel = LinuxKernel.open(vip_link=config.vip_link, sysctl_names=sysctl_names())
        reconciler = Reconciler(kernel=kernel, config=config, store=store)
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

if __name__ == "__main__":
    services, endpoints, large = map(int, sys.argv[1:])
    json.dump(weigh(Size(services, endpoints, large)), sys.stdout)
