"""The table of both firewalls beside each other."""

from collections.abc import Iterator, Mapping
from typing import Final

from tests.bench.report import Line, in_ms
from tests.bench.sizes import Figures

_GOALS: Final = {"cold": 1.0, "change": 1.3}
"""How much longer nftables may take."""
_NAMES: Final = {
    "cold": "cold sync",
    "firewall": "- its sets, entries and rules",
    "change": "a Service comes or goes, median",
    "audit": "audit, nothing to do",
}


def firewall_lines(by_size: Mapping[int, Figures]) -> Iterator[Line]:
    """Lines in which nftables is measured and iptables is the floor."""
    for services, found in by_size.items():
        for name, words in _NAMES.items():
            goal = _GOALS.get(name)
            ratio = found[f"nftables / iptables, {name}"]
            yield Line(
                f"{words}: nftables beside iptables",
                f"{services:,}",
                in_ms(found[f"nftables, {name}"]),
                in_ms(found[f"iptables, {name}"]),
                f"{ratio:.2f}",
                "" if goal is None else f"<= {goal} x iptables",
                None if goal is None else ratio <= goal,
            )
