"""Both firewalls beside each other: the same cluster, programmed from nothing.

Each is measured several times, in turns, and the best of each counts: what comes
between is another's.
"""

import time
from itertools import product
from multiprocessing import get_context
from typing import Final

from ipvsctl.cli import interpreter
from ipvsctl.cluster.events import Deleted, Event, Upserted
from ipvsctl.cluster.store import Store
from ipvsctl.controller.look import see
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.problem import Kind
from ipvsctl.plan.diff.kinds import ObjectKind
from ipvsctl.plan.union.node import sysctl_names
from tests.bench.cluster import NODE, change, fill, raw_objects, raw_service, raw_slice
from tests.bench.floor import node_netns
from tests.bench.sizes import Figures, Size
from tests.lab.netns import inside

_ROUNDS: Final = 3
_CHANGES: Final = 100
_FIREWALL: Final = frozenset({ObjectKind.SET, ObjectKind.ENTRY, ObjectKind.RULES})
_KINDS: Final = (FirewallKind.IPTABLES, FirewallKind.NFTABLES)


def measure(size: Size) -> Figures:
    """Cold sync, its part of the firewall, one change and an audit; seconds by name."""
    best: Figures = {}
    for _, kind in product(range(_ROUNDS), _KINDS):
        # What one leaves in memory would be the next one's.
        with get_context("fork").Pool(1) as process:
            figures = process.apply(_measure, (size, kind))
        for name, value in figures.items():
            key = f"{kind}, {name}"
            best[key] = min(value, best.get(key, value))
    for name in ("cold", "firewall", "change", "audit"):
        ours, theirs = (best[f"{kind}, {name}"] for kind in reversed(_KINDS))
        best[f"nftables / iptables, {name}"] = ours / theirs
    return best


def _measure(size: Size, kind: FirewallKind) -> Figures:
    with interpreter.held_back(), node_netns("bench") as netns, inside(netns):
        return _measure_here(size, kind)


def _measure_here(size: Size, kind: FirewallKind) -> Figures:
    kernel = LinuxKernel.open(
        vip_link=size.config.vip_link, sysctl_names=sysctl_names(), firewall=kind
    )
    store = Store(NODE)
    fill(store, raw_objects(size.services, size.endpoints))
    reconciler = Reconciler(kernel=kernel, config=size.config, store=store)
    reconciler.prepare(kernel.read_host())
    observed = kernel.observe()
    reconciler.absorb(observed)
    plan = see(reconciler, observed).plan()
    parts = [0.0, 0.0]
    for is_firewall in (True, False):
        ops = tuple(op for op in plan if (op.kind in _FIREWALL) is is_firewall)
        begun = time.perf_counter()
        report = kernel.apply(ops)
        parts[is_firewall] = time.perf_counter() - begun
        if report.failed:
            raise SystemExit(str(report.failed[0]))
    begun = time.perf_counter()
    left = reconciler.audit().plan
    audit = time.perf_counter() - begun
    if left:
        raise SystemExit(f"not as it should be: {left[0]}")
    figures = {"cold": sum(parts), "firewall": parts[True], "audit": audit}
    figures["change"] = _change(reconciler, size)
    kernel.close()
    return figures


def _change(reconciler: Reconciler, size: Size) -> float:
    """The median of Services that come, with endpoints, and go."""
    times = []
    for number in range(size.services, size.services + _CHANGES):
        come: list[Event] = [
            change(raw_slice(number, size.endpoints)),
            change(raw_service(number), Kind.SERVICE),
        ]
        gone: list[Event] = [
            Deleted(kind=event.kind, ref=event.ref)
            for event in come
            if isinstance(event, Upserted)
        ]
        for events in (come, gone):
            begun = time.perf_counter()
            for event in events:
                reconciler.take_event(event)
            done = reconciler.sync(reconciler.prepare())
            times.append(time.perf_counter() - begun)
            if not done.plan or done.report.failed:
                raise SystemExit(f"not changed: {done}")
    times.sort()
    return times[len(times) // 2]
