"""`python -m tests.bench`: how long large clusters take; run it in the lab.

Each figure is measured in a process of its own, in a fresh network namespace, beside
its floor: the same messages, encoded beforehand and sent again as they were, which is
the kernel's own cost. Ratios count; seconds are those of the lab's kernel.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.firewalls_page import firewall_lines
from tests.bench.limits import FIGURES as LIMITED
from tests.bench.limits import PREFIX, limit_lines
from tests.bench.machine import describe
from tests.bench.packets_page import packet_lines, packet_table
from tests.bench.page import PAGE as PERFORMANCE
from tests.bench.page import told_of, write
from tests.bench.peers.contenders import find
from tests.bench.peers.page import MACHINE, peer_lines, peer_rows
from tests.bench.peers.page import TITLES as PEER_TITLES
from tests.bench.picture import write_picture
from tests.bench.relay_page import relay_lines
from tests.bench.report import TITLES, Line, Results, lines, markdown
from tests.bench.sizes import Figures
from tests.reliability.page import flood_lines, put

SIZED = ("speed", "memory")
ONCE = {
    "churn": 10_000,
    "fast churn": 10_000,
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
PEERS = "peers"
"""Takes as long as all others together where there is a kube-proxy."""
PEER_SERVICES = (200, 1_000)
SERVICES = (1_000, 5_000, 10_000)
"""Those that any lab has room for."""


def main() -> int:
    """Measure what is asked for and print it; 1 when a goal is missed."""
    options = _parser().parse_args()
    results, machine, told = _merged(options.merge)
    is_whole = True
    every = FIGURES if options.peers is None else (PEERS,)
    for name in options.figures or [f for f in every if f not in results]:
        for services in _sizes(name, options.services):
            print(f"measuring {name}, {services:,} Services", file=sys.stderr)
            try:
                results.setdefault(name, {})[services] = _measure(
                    name, services, options
                )
            except subprocess.CalledProcessError as error:
                print(f"not measured: {error}", file=sys.stderr)
                is_whole = False
        if name == PEERS:
            told = {**find(_peers(options)).told, MACHINE: told_of(machine)}
    ordered = {name: dict(sorted(results[name].items())) for name in sorted(results)}
    show(ordered)
    if options.json:
        kept = {"machine": machine, "results": ordered, PEERS: told}
        options.json.write_text(json.dumps(kept, indent=2) + "\n")
    _write(options, ordered, machine)
    if options.write_peers:
        put(PEERS, peer_lines(ordered[PEERS], told), PERFORMANCE)
    if options.write or options.write_peers:
        write_picture()
    found = _every(ordered)
    return int(not is_whole or any(line.holds is False for line in found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--services", type=int, nargs="+")
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument(
        "--figures",
        nargs="+",
        choices=(*FIGURES, *SECOND_KERNEL, PEERS),
        help=f"all that are not merged, but {', '.join(SECOND_KERNEL)} and {PEERS}",
    )
    parser.add_argument(
        "--peers",
        nargs="?",
        const="",
        metavar="DIR",
        help=f"of the figures only {PEERS}: ipvsctl beside the kube-proxy in DIR",
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
    parser.add_argument(
        "--write-peers",
        action="store_true",
        help=f"write the {PEERS} beside each other into docs/performance.md",
    )
    return parser


def _merged(
    paths: Sequence[Path],
) -> tuple[dict[str, dict[int, Figures]], dict[str, str], dict[str, str]]:
    """Figures that were measured before; on what, this time; and of which peers."""
    results: dict[str, dict[int, Figures]] = {}
    machine = describe()
    told: dict[str, str] = {}
    for path in paths:
        known = json.loads(path.read_text())
        told |= known.get(PEERS, {})
        if known["machine"]["lab"] != "none":
            machine = known["machine"]
        else:
            # A guest does not know on what it runs.
            machine["CPU"] = known["machine"]["CPU"]
        for name, by_size in known["results"].items():
            sizes = {int(services): found for services, found in by_size.items()}
            results.setdefault(name, {}).update(sizes)
    return results, machine, told


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


def _sizes(name: str, asked: Sequence[int] | None) -> Sequence[int]:
    if name in SECOND_KERNEL:
        return [SECOND_KERNEL[name]]
    if name == PEERS:
        return asked or PEER_SERVICES
    return asked or SERVICES if name in SIZED else [ONCE[name]]


def _peers(options: argparse.Namespace) -> Path | None:
    return Path(options.peers).resolve() if options.peers else None


def _measure(name: str, services: int, options: argparse.Namespace) -> Figures:
    sizes = (str(services), str(options.endpoints))
    if name == PEERS:
        directory = _peers(options)
        words = ["tests.bench.peers", *sizes, *([str(directory)] if directory else [])]
    else:
        words = ["tests.bench.one", name, *sizes, str(options.seconds)]
    done = subprocess.run(
        [sys.executable, "-m", *words], check=True, stdout=subprocess.PIPE
    )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def _every(results: Results) -> list[Line]:
    """The lines of all tables that have the same titles."""
    return [
        *lines(results),
        *limit_lines(results),
        *relay_lines(results.get("relay", {})),
        *firewall_lines(results.get(FIREWALLS, {})),
        *packet_lines(results.get(PACKETS, {})),
    ]


def show(results: Results) -> None:
    """Print the table."""
    table = Table(title="In the lab's kernel", box=None)
    for title in TITLES:
        table.add_column(title, justify="left" if title == "figure" else "right")
    for line in _every(results):
        table.add_row(*line.fields, style="red" if line.holds is False else None)
    Console(width=140, file=sys.stdout).print(table)
    if PEERS in results:
        beside = Table(*PEER_TITLES, title="Beside each other", box=None)
        for row in peer_rows(results[PEERS]):
            beside.add_row(*row)
        Console(width=140, file=sys.stdout).print(beside)


if __name__ == "__main__":
    raise SystemExit(main())
