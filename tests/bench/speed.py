"""How long one cluster takes from objects to the kernel, and one change of it."""

import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from ipvsctl.cli import interpreter
from ipvsctl.cluster.store import Store
from ipvsctl.controller.look import see
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.problem import Kind
from ipvsctl.model.steps import finish
from ipvsctl.plan.diff.ops import ChangeRules, Plan, SetSysctl
from ipvsctl.plan.union.node import sysctl_names
from ipvsctl.wire.netlink.messages import NetlinkProtocol
from tests.bench import floor
from tests.bench.cluster import NODE, change, fill, raw_objects, raw_slice
from tests.bench.floor import Sent, messages, node_netns, recording, replay
from tests.bench.sizes import Figures, Size
from tests.lab.netns import inside

T = TypeVar("T")

Objects = list[tuple[Kind, bytes]]

CHANGES = 400


class _Stopwatch:
    """Notes how long calls take, in seconds by name."""

    def __init__(self) -> None:
        self.figures: Figures = {}

    def timed(self, name: str, call: Callable[[], T]) -> T:
        """What a call returns."""
        begun = time.perf_counter()
        value = call()
        self.figures[name] = time.perf_counter() - begun
        return value


def measure(size: Size) -> Figures:
    """Cold sync, restart and single changes, each with its floor; seconds by name."""
    watch = _Stopwatch()
    figures = watch.figures
    objects = list(raw_objects(*size))
    with interpreter.held_back():
        with node_netns("bench") as netns, inside(netns), recording() as sent:
            kernel = open_kernel(size.config)
            cold = _measure_cold(watch, kernel, objects, size, sent)
            interpreter.settle()
            _measure_restart(watch, kernel, objects, size)
            interpreter.settle()
            _measure_reading(watch, kernel, sent)
            kernel.close()
        with node_netns("floor") as netns, inside(netns):
            netns.add_dummy(size.config.vip_link)
            netns.link_up(size.config.vip_link)
            figures["apply floor"] = replay(cold)
            figures["messages"] = messages(cold)
    parts = ("compile", "read empty", "agree", "diff", "apply", "rules")
    figures["cold"] = sum(figures[part] for part in parts)
    # The rules' own cost is all iptables-restore, and so is that of reading none.
    figures["cold floor"] = (
        figures["apply floor"] + figures["rules"] + figures["read empty"]
    )
    return figures


def _measure_cold(
    watch: _Stopwatch,
    kernel: LinuxKernel,
    objects: Objects,
    size: Size,
    sent: list[Sent],
) -> list[Sent]:
    """Program an empty node, then change it; what was sent to program it."""
    store = Store(NODE)
    watch.timed("parse", lambda: fill(store, iter(objects)))
    reconciler = Reconciler(kernel=kernel, config=size.config, store=store)
    host = kernel.read_host()
    watch.timed("compile", lambda: reconciler.prepare(host))
    observed = watch.timed("read empty", kernel.observe)
    watch.timed("agree", lambda: reconciler.absorb(observed))
    plan = watch.timed("diff", lambda: see(reconciler, observed).plan())
    netlink = tuple(o for o in plan if not isinstance(o, ChangeRules | SetSysctl))
    others = tuple(o for o in plan if isinstance(o, ChangeRules | SetSysctl))
    watch.figures["ops"] = len(plan)
    sent.clear()
    report = watch.timed("apply", lambda: kernel.apply(netlink))
    cold = list(sent)
    rules = watch.timed("rules", lambda: kernel.apply(others))
    _require(not report.failed and not rules.failed, report, rules)
    left = reconciler.audit().plan
    _require(not left, left[:3])
    interpreter.settle()
    _measure_changes(watch.figures, reconciler, size, sent)
    return cold


def _measure_reading(watch: _Stopwatch, kernel: LinuxKernel, sent: list[Sent]) -> None:
    """Reading alone: as it is done, and the same requests with raw answers.

    And what every reader would do: one dump of virtual servers, and one of each one's
    real servers, raw.
    """
    sent.clear()
    observed = watch.timed("read all", kernel.observe)
    reading = list(sent)
    firewall = kernel._firewall
    watch.timed("read rules", lambda: finish(firewall.read_rules_in_steps()))
    raw_s = replay(reading)
    watch.figures["read floor"] = raw_s + watch.figures["read rules"]
    requests = kernel._ipvs._requests
    dumps = [requests.get_services()]
    dumps += map(requests.get_dests, observed.state.virtual_servers)
    watch.figures["dumps"] = replay(
        Sent(NetlinkProtocol.GENERIC, dump, 1) for dump in dumps
    )


def open_kernel(config: ProxyConfig) -> LinuxKernel:
    """The kernel of the caller's namespace."""
    return LinuxKernel.open(vip_link=config.vip_link, sysctl_names=sysctl_names())


def _measure_restart(
    watch: _Stopwatch, kernel: LinuxKernel, objects: Objects, size: Size
) -> None:
    """Another process comes, reads everything and finds nothing to do."""
    store = Store(NODE)
    watch.timed("restart, parse", lambda: fill(store, iter(objects)))

    def restart() -> Plan:
        again = Reconciler(kernel=kernel, config=size.config, store=store)
        return see(again, again.survey()).plan()

    plan = watch.timed("restart", restart)
    _require(not plan, plan[:3])


def _measure_changes(
    figures: Figures, reconciler: Reconciler, size: Size, sent: list[Sent]
) -> None:
    """An endpoint comes, and goes, of one Service after the other."""
    every = max(1, size.services // (CHANGES // 2))
    numbers = range(size.large, size.services, every)
    raws = [
        raw_slice(number, size.endpoints, spare=spare)
        for number in numbers
        for spare in (True, False)
    ]
    for raw in raws[:20]:
        _change(reconciler, raw)
    sent.clear()
    times = []
    for raw in raws:
        begun = time.perf_counter()
        _change(reconciler, raw)
        times.append(time.perf_counter() - begun)
    messages_sent = list(sent)
    times.sort()
    figures["change, median"] = times[len(times) // 2]
    figures["change, p99"] = times[len(times) * 99 // 100]
    figures["change, worst"] = times[-1]
    figures["change, floor"] = replay(messages_sent) / len(raws)
    figures["change, calls"] = _count_calls(lambda: _change(reconciler, raws[0]))
    _change(reconciler, raws[1])


def _change(reconciler: Reconciler, raw: bytes) -> None:
    reconciler.take_event(change(raw))
    done = reconciler.sync(reconciler.prepare())
    _require(bool(done.plan) and not done.report.failed, done)


def _count_calls(call: Callable[[], None]) -> int:
    """How many functions run, those written in C too, but for what is recorded here."""
    count = 0

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        if event in {"call", "c_call"}:
            count += frame.f_code.co_filename != floor.__file__

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


def _require(holds: bool, *seen: object) -> None:  # noqa: FBT001  # reads as a claim
    if not holds:
        raise SystemExit(f"the kernel is not as it should be: {seen}")
