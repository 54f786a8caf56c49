"""`python -m tests.soak`, in the lab: churn, faults and traffic for some minutes.

What must hold: after each fault and its mending the kernel is as desired; requests are
lost only to faults that lose packets by themselves; the daemon's descriptors, threads
and memory do not grow; `cleanup` leaves nothing. `--write` writes the figures into
docs/reliability.md.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.lab.netns import inside
from tests.reliability.drift import ANSWER_S, VIP, Traffic
from tests.reliability.page import put
from tests.soak.faults import FAULTS, Fault
from tests.soak.node import Churn, Held, Soaked, soaked

_CHURN_S = 3.0
_AT_ONCE = 5
_MORE_DESCRIPTORS, _MORE_THREADS = 8, 3
_MORE_MIB = 24.0
_NODE_PORT = 30080
_CHURN = "changes of Services"


class _Spell(NamedTuple):
    """Some time, and what was done to the node in it."""

    cause: str
    begun_s: float
    ended_s: float


class _Soak:
    """One run."""

    def __init__(self, soaked: Soaked, churn: Churn, choose: random.Random) -> None:
        self.soaked = soaked
        self.churn = churn
        self.choose = choose
        self.spells: list[_Spell] = []
        self.held: list[Held] = []
        self.broken: list[str] = []

    def run(self, minutes: float) -> None:
        """Change, break and look, for so long, and each fault once at least."""
        end = time.monotonic() + 60 * minutes
        self.soaked.settle()
        self.held.append(self.soaked.held())
        for fault in self._faults():
            if fault is None and time.monotonic() > end:
                return
            self._churn()
            if fault is not None:
                self._suffer(fault)
            self._look()

    def _faults(self) -> Iterator[Fault | None]:
        yield from FAULTS
        while True:
            yield None
            yield self.choose.choice(FAULTS)

    def _churn(self) -> None:
        begun = time.monotonic()
        while time.monotonic() < begun + _CHURN_S:
            self.churn.change(self.choose.randint(1, _AT_ONCE))
            time.sleep(0.5)
        self.soaked.settle()
        self.spells.append(_Spell(_CHURN, begun, time.monotonic()))

    def _suffer(self, fault: Fault) -> None:
        begun = time.monotonic()
        self.churn.change(1)
        fault.do(self.soaked)
        # What was seen may have been before the fault.
        time.sleep(1.5)
        self.soaked.settle()
        healed_s = time.monotonic() - begun
        self.spells.append(_Spell(fault.name, begun, time.monotonic()))
        print(f"{fault.name}: equal after {healed_s:.1f} s", flush=True)

    def _look(self) -> None:
        """What the daemon holds; a new process has none of what the old one had."""
        held, first = self.soaked.held(), self.held[0]
        self.held.append(held)
        for what, now, most in (
            ("descriptors", held.descriptors, first.descriptors + _MORE_DESCRIPTORS),
            ("threads", held.threads, first.threads + _MORE_THREADS),
            ("MiB", held.rss_mib, first.rss_mib + _MORE_MIB),
        ):
            if now > most:
                self.broken.append(f"{now:.0f} {what}, at first {most:.0f} at most")


def _lost(soak: _Soak, traffics: list[Traffic]) -> Counter[str]:
    """Requests that had no answer, by what was done then."""
    lost: Counter[str] = Counter()
    for traffic in traffics:
        for at_s, is_answered in traffic.results:
            if not is_answered:
                cause = _cause(soak.spells, at_s)
                lost[cause] += 1
                if cause == _CHURN:
                    begun_s = max(s.begun_s for s in soak.spells if s.begun_s <= at_s)
                    print(
                        f"lost {at_s - begun_s:.2f} s after the change: {traffic.asked}"
                    )
    return lost


def _cause(spells: list[_Spell], at_s: float) -> str:
    """What a request met that was sent then, and waited for a second.

    A fault that has begun meanwhile rather than changes before it.
    """
    met = [s for s in spells if s.begun_s - ANSWER_S <= at_s <= s.ended_s]
    faults = [s for s in met if s.cause != _CHURN]
    return (faults or met or [_Spell("nothing", 0, 0)])[0].cause


def _left(soaked: Soaked) -> list[str]:
    """What `cleanup` leaves, in lines of the system's own tools."""
    soaked.kill(signal.SIGTERM)
    soaked.node.ipvsctl("cleanup", "--config", str(soaked.node.config))
    found = []
    for command, ours in (
        ("ipvsadm -Sn", "-A"),
        ("ipset list -n", "KUBE-"),
        ("iptables-save", "KUBE-"),
        ("ip6tables-save", "KUBE-"),
        ("ip -o address show", "kube-ipvs0"),
    ):
        with inside(soaked.node.netns):
            text = subprocess.run(
                command.split(), capture_output=True, text=True, check=True
            ).stdout
        found += [line for line in text.splitlines() if ours in line]
    return found


def _table(soak: _Soak, lost: Counter[str]) -> list[str]:
    """What was done, how often, and what it cost."""
    times = Counter(spell.cause for spell in soak.spells)
    longest: dict[str, float] = {}
    for spell in soak.spells:
        taken_s = spell.ended_s - spell.begun_s
        longest[spell.cause] = max(longest.get(spell.cause, 0.0), taken_s)
    return [
        "| what was done | times | requests lost | kernel equal again after, at most |",
        "|---|---|---|---|",
        *(
            f"| {cause} | {count} | {lost[cause]} | {longest[cause]:.1f} s |"
            for cause, count in times.items()
        ),
    ]


def main() -> int:
    """Run; 1 when something did not hold."""
    parser = argparse.ArgumentParser(prog="nox -s soak --", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    choose = random.Random(given.seed)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        node, churn = stack.enter_context(soaked(scratch, choose))
        host = node.world.nodes[0].ipv4
        asked = ((VIP, 80), (host, _NODE_PORT))
        traffics = [Traffic(node.world.client.netns, each) for each in asked]
        soak = _Soak(node, churn, choose)
        begun = time.monotonic()
        with ExitStack() as asking:
            for traffic in traffics:
                asking.enter_context(traffic.running())
            soak.run(given.minutes)
        taken_s = time.monotonic() - begun
        soak.broken += [f"left by cleanup: {line}" for line in _left(node)]
        tracebacks = node.log.read_text().count("Traceback")
    lost = _lost(soak, traffics)
    free = {fault.name for fault in FAULTS if not fault.loses} | {_CHURN, "nothing"}
    soak.broken += [f"{lost[cause]} lost to {cause}" for cause in free if lost[cause]]
    if tracebacks:
        soak.broken.append(f"{tracebacks} tracebacks in the log")
    requests = sum(len(traffic.results) for traffic in traffics)
    first, last = soak.held[0], soak.held[-1]
    said = [
        (
            f"{taken_s / 60:.0f} minutes, seed {given.seed}:"
            f" {churn.changes:,} changes of Services,"
            f" {sum(1 for s in soak.spells if s.cause != _CHURN)} faults,"
            f" {requests:,} requests. The daemon held {first.descriptors} descriptors,"
            f" {first.threads} threads and {first.rss_mib:.0f} MiB at first, and"
            f" {last.descriptors}, {last.threads} and {last.rss_mib:.0f} in the end."
        ),
        "",
        *_table(soak, lost),
    ]
    print("\n".join(said))
    for line in soak.broken:
        print(f"BROKEN: {line}")
    if given.write and not soak.broken:
        put("soak", said)
    return bool(soak.broken)


if __name__ == "__main__":
    sys.exit(main())
