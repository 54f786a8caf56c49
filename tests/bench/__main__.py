"""`python -m tests.bench`: how long large clusters take; run it in the lab.

Each figure is measured in a process of its own, in a fresh network namespace, beside
its floor: the same messages, encoded beforehand and sent again as they were, which is
the kernel's own cost. Ratios count; seconds are those of the lab's kernel.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.firewalls_page import firewall_lines
from tests.bench.limits import FIGURES as LIMITED
from tests.bench.limits import PREFIX, limit_lines
from tests.bench.machine import describe
from tests.bench.packets_page import packet_lines, packet_table
from tests.bench.page import PAGE as PERFORMANCE
from tests.bench.page import write
from tests.bench.relay_page import relay_lines
from tests.bench.report import TITLES, Results, lines, markdown
from tests.bench.sizes import Figures
from tests.reliability.page import flood_lines, put

SIZED = ("speed", "memory")
ONCE = {
    "churn": 10_000,
    "hostile": 1_000,
    "floods": 1_000,
    "looplag": 10_000,
    "api": 10_000,
    "long list": 4_000,
    "list": 10_000,
    "start": 0,
    "relay": 0,
    **{PREFIX + name: 10_000 for name in LIMITED},
}
FIGURES = (*SIZED, *ONCE)
FIREWALLS, PACKETS = "firewalls", "packets"
"""Of the lab's second kernel: the first one has no nftables."""
SECOND_KERNEL = {FIREWALLS: 10_000, PACKETS: 1_000}
SERVICES = (1_000, 5_000, 10_000)
"""Those that any lab has room for."""


def main() -> int:
    """Measure what is asked for and print it; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=list(SERVICES))
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument(
        "--figures",
        nargs="+",
        choices=(*FIGURES, *SECOND_KERNEL),
        help=f"all that are not merged, but {' and '.join(SECOND_KERNEL)}",
    )
    parser.add_argument("--seconds", type=float, default=60, help="of churn")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument(
        "--merge",
        type=Path,
        action="append",
        default=[],
        help="take in figures that --json wrote before; new ones win",
    )
    parser.add_argument(
        "--write", action="store_true", help="write the table of docs/performance.md"
    )
    parser.add_argument(
        "--write-floods",
        action="store_true",
        help="write what floods do to others into docs/reliability.md",
    )
    parser.add_argument(
        "--write-firewalls",
        action="store_true",
        help=f"write the {FIREWALLS} beside each other into docs/performance.md",
    )
    parser.add_argument(
        "--write-relay",
        action="store_true",
        help="write what is relayed on localhost into docs/performance.md",
    )
    parser.add_argument(
        "--write-packets",
        action="store_true",
        help="write what packets cost into docs/performance.md",
    )
    options = parser.parse_args()
    results: dict[str, dict[int, Figures]] = {}
    is_whole = True
    machine = describe()
    for path in options.merge:
        known = json.loads(path.read_text())
        if known["machine"]["lab"] != "none":
            machine = known["machine"]
        else:
            # A guest does not know on what it runs.
            machine["CPU"] = known["machine"]["CPU"]
        for name, by_size in known["results"].items():
            sizes = {int(services): found for services, found in by_size.items()}
            results.setdefault(name, {}).update(sizes)
    for name in options.figures or [f for f in FIGURES if f not in results]:
        for services in _sizes(name, options.services):
            print(f"measuring {name}, {services:,} Services", file=sys.stderr)
            words = (name, services, options.endpoints, options.seconds)
            try:
                results.setdefault(name, {})[services] = _measure(*words)
            except subprocess.CalledProcessError as error:
                print(f"not measured: {error}", file=sys.stderr)
                is_whole = False
    ordered = {name: dict(sorted(results[name].items())) for name in sorted(results)}
    show(ordered)
    if options.json:
        text = json.dumps({"machine": machine, "results": ordered}, indent=2)
        options.json.write_text(text + "\n")
    _write(options, ordered, machine)
    found = [
        *lines(ordered),
        *limit_lines(ordered),
        *relay_lines(ordered.get("relay", {})),
        *firewall_lines(ordered.get(FIREWALLS, {})),
        *packet_lines(ordered.get(PACKETS, {})),
    ]
    return int(not is_whole or any(line.holds is False for line in found))


def _write(
    options: argparse.Namespace, ordered: Results, machine: Mapping[str, str]
) -> None:
    if options.write:
        write([*lines(ordered), *limit_lines(ordered)], machine)
    if options.write_firewalls:
        found = markdown(firewall_lines(ordered[FIREWALLS])).splitlines()
        put(FIREWALLS, found, PERFORMANCE)
    if options.write_packets:
        (figures,) = ordered[PACKETS].values()
        put(PACKETS, packet_table(figures), PERFORMANCE)
    if options.write_relay:
        found = markdown([*relay_lines(ordered["relay"])]).splitlines()
        put("relay", found, PERFORMANCE)
    if options.write_floods:
        put(
            "floods",
            flood_lines(
                *(ordered[name][ONCE[name]] for name in ("floods", "long list"))
            ),
        )


def _sizes(name: str, asked: list[int]) -> list[int]:
    if name in SECOND_KERNEL:
        return [SECOND_KERNEL[name]]
    return asked if name in SIZED else [ONCE[name]]


def _measure(name: str, services: int, endpoints: int, seconds: float) -> Figures:
    words = (name, str(services), str(endpoints), str(seconds))
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.one", *words],
        check=True,
        stdout=subprocess.PIPE,
    )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def show(results: Results) -> None:
    """Print the table."""
    table = Table(title="In the lab's kernel", box=None)
    for title in TITLES:
        table.add_column(title, justify="left" if title == "figure" else "right")
    for line in (
        *lines(results),
        *limit_lines(results),
        *relay_lines(results.get("relay", {})),
        *firewall_lines(results.get(FIREWALLS, {})),
        *packet_lines(results.get(PACKETS, {})),
    ):
        table.add_row(*line.fields, style="red" if line.holds is False else None)
    Console(width=140, file=sys.stdout).print(table)


if __name__ == "__main__":
    raise SystemExit(main())
