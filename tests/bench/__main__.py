"""`python -m tests.bench`: how long large clusters take; run it in the lab.

Each cluster is programmed into a fresh network namespace by the same code as `ipvsctl
apply`, and what it sent is sent again, as it was, into another one: that is the floor,
the kernel's own cost. Ratios count; seconds are those of the lab's kernel.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from ipvsctl.cluster.manifest import Manifests, changes
from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.state import NodeState
from ipvsctl.plan.diff import DiffOptions, diff
from ipvsctl.plan.node import sysctl_names
from ipvsctl.plan.ops import ChangeRules, SetSysctl
from ipvsctl.sources.manifests import load_manifests
from tests import builders
from tests.bench.cluster import write_manifests
from tests.bench.floor import recording, replay
from tests.controller.cluster import has_slice
from tests.lab.netns import create, inside

CONFIG = ProxyConfig()

T = TypeVar("T")


def main() -> int:
    """Run every size asked for and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    # The first time, the kernel loads the modules of sets and rules.
    measure(10, 1)
    results = [measure(services, options.endpoints) for services in options.services]
    show(results)
    if options.json:
        machine = {"kernel": platform.release(), "python": platform.python_version()}
        text = json.dumps({"machine": machine, "results": results}, indent=2)
        options.json.write_text(text + "\n")
    return 0


def measure(services: int, endpoints: int) -> dict[str, Any]:
    """One cluster, from the file to the kernel and around again.

    Returns:
        Times in seconds by name, and the ratios that the goals are about.
    """
    figures: dict[str, Any] = {"services": services, "endpoints": endpoints}

    def timed(name: str, call: Callable[[], T]) -> T:
        begun = time.perf_counter()
        value = call()
        figures[name] = time.perf_counter() - begun
        return value

    store = Store("node-0")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "cluster.json")
        write_manifests(path, services=services, endpoints=endpoints)
        manifests = timed("parse", lambda: load_manifests([path]))
    for event in changes(Manifests(), manifests):
        store.apply(event)
    with create("bench") as netns, inside(netns), recording() as sent:
        kernel = LinuxKernel.open(vip_link=CONFIG.vip_link, sysctl_names=sysctl_names())
        reconciler = Reconciler(kernel=kernel, config=CONFIG, store=store)
        timed("compile", reconciler.prepare)
        observed = kernel.observe()
        plan = timed("diff", lambda: reconciler.plan(observed))
        netlink = tuple(o for o in plan if not isinstance(o, ChangeRules | SetSysctl))
        others = tuple(o for o in plan if isinstance(o, ChangeRules | SetSysctl))
        figures["ops"] = len(plan)
        sent.clear()
        report = timed("apply", lambda: kernel.apply(netlink))
        batches = list(sent)
        rules = timed("rules and sysctls", lambda: kernel.apply(others))
        if report.failed or rules.failed:
            raise SystemExit(f"failed: {report.failed[:3]} {rules.failed[:3]}")
        observed = timed("read all", kernel.observe)
        again = timed("diff equal", lambda: reconciler.plan(observed))
        if again:
            raise SystemExit(f"not equal after apply: {again[:3]}")
        _measure_change(figures, reconciler)
        cleanup = diff(observed, NodeState(), DiffOptions(vip_link=CONFIG.vip_link))
        timed("clean up", lambda: kernel.apply(cleanup))
        kernel.close()
    figures["messages"], figures["floor"] = replay(batches, CONFIG.vip_link)
    cold = sum(figures[name] for name in ("compile", "diff", "apply"))
    figures["cold sync / floor"] = cold / figures["floor"]
    figures["apply / floor"] = figures["apply"] / figures["floor"]
    return figures


def _measure_change(figures: dict[str, Any], reconciler: Reconciler) -> None:
    """One endpoint of one Service comes and goes, from the event to the kernel."""
    times = []
    for number in range(50):
        addresses = [f"10.200.0.{number + 1}"]
        piece = builders.endpoint_slice(
            "service-0-2", *addresses, service_name="service-0"
        )
        begun = time.perf_counter()
        reconciler.take_event(has_slice(piece))
        report = reconciler.sync(reconciler.prepare())
        times.append(time.perf_counter() - begun)
        if report.report.failed or not report.plan:
            raise SystemExit(f"a change went wrong: {report}")
    times.sort()
    figures["one change, median"] = times[len(times) // 2]
    figures["one change, worst"] = times[-1]


ROWS = (
    ("parse", "manifests (JSON) to values"),
    ("compile", "Services to programs"),
    ("diff", "programs against an empty kernel"),
    ("apply", "encode, send, check every ack"),
    ("floor", "the same messages, encoded beforehand"),
    ("rules and sysctls", "two iptables-restore runs"),
    ("read all", "the whole kernel state"),
    ("diff equal", "programs against an equal kernel"),
    ("one change, median", "event in, kernel changed"),
    ("one change, worst", ""),
    ("clean up", "everything out again"),
)


def show(results: list[dict[str, Any]]) -> None:
    """Print a table, one column a size."""
    table = Table(title="Times in seconds, in the lab's kernel", box=None)
    table.add_column("step")
    table.add_column("what", style="dim")
    for result in results:
        size = f"{result['services']:,} x {result['endpoints']}"
        table.add_column(size, justify="right")
    for name, what in ROWS:
        table.add_row(name, what, *(f"{result[name]:.4f}" for result in results))
    for name, what in (
        ("ops", ""),
        ("messages", "with one ack each"),
    ):
        table.add_row(name, what, *(f"{result[name]:,}" for result in results))
    for name, what in (
        ("apply / floor", "goal: at most 4"),
        ("cold sync / floor", "compile + diff + apply; goal: at most 4"),
    ):
        table.add_row(name, what, *(f"{result[name]:.2f}" for result in results))
    Console(width=110, file=sys.stdout).print(table)


if __name__ == "__main__":
    raise SystemExit(main())
