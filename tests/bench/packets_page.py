"""What packets cost, as a table of docs/performance.md and as lines with goals."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Final, NamedTuple

from tests.bench.packet_worlds import (
    EXTRA_RULES,
    IPVS_ALONE,
    KUBE_PROXY,
    NO_PROXY,
    POD_TO_POD,
    RULES,
    TRACKED,
    WAYS,
)
from tests.bench.packets import SIZES, name_of
from tests.bench.report import Line
from tests.bench.sizes import Figures

_TITLES: Final = (
    "way",
    "proxy",
    "Services",
    "new connection",
    "beside none",
    "p99",
    "a byte there and back",
    "GB/s",
    "rules: first packet",
    "later one",
    "answer",
)
_FIREWALLS: Final = ("iptables", "nftables")
_PROXIES: Final = (
    (NO_PROXY, 0),
    (TRACKED, 0),
    (IPVS_ALONE, 1),
    *product((KUBE_PROXY, *_FIREWALLS), SIZES),
)
_NAMES: Final = {
    NO_PROXY: "none",
    "iptables": "ipvsctl, iptables",
    "nftables": "ipvsctl, nftables",
}
_BESIDE: Final = "beside none"
_PACKETS: Final = ("first", "later", "answer")


class _Row(NamedTuple):
    """One way with one proxy."""

    way: str
    proxy: str
    services: int

    def figure(self, found: Mapping[str, float], what: str) -> float:
        return found[f"{name_of(self.proxy, self.services, self.way)}, {what}"]

    def is_in(self, found: Mapping[str, float]) -> bool:
        return f"{name_of(self.proxy, self.services, self.way)}, answer" in found


def packet_table(found: Figures) -> list[str]:
    """The lines of the table, and what one rule costs below it."""
    rows = [_Row(way, *proxy) for way, proxy in product(WAYS, _PROXIES)]
    cells = [_TITLES, ("---",) * len(_TITLES)]
    cells += [_cells(row, found) for row in rows if row.is_in(found)]
    told = ", ".join(
        f"{_rule_ns(kind, found):.0f} ns with {kind}"
        for kind in _FIREWALLS
        if _rules_row(kind).is_in(found)
    )
    return [
        *(f"| {' | '.join(line)} |" for line in cells),
        "",
        f"One rule that asks a set and does not match: {told}.",
    ]


def packet_lines(by_size: Mapping[int, Figures]) -> Iterator[Line]:
    """Lines in which ours are measured and kube-proxy is the floor."""
    few, many = SIZES
    for found in by_size.values():
        for way, kind in product(WAYS, _FIREWALLS):
            ours, theirs = _Row(way, kind, many), _Row(way, KUBE_PROXY, many)
            if not ours.is_in(found):
                continue
            ratio = ours.figure(found, _BESIDE) / theirs.figure(found, _BESIDE)
            yield Line(
                f"new connection, {way}: {kind} beside kube-proxy",
                f"{many:,}",
                _us(ours.figure(found, "connect")),
                _us(theirs.figure(found, "connect")),
                f"{ratio:.2f}",
            )
            counted = _counts(ours, found)
            yield Line(
                "- rules of a first packet, a later one and an answer",
                f"{many:,}",
                counted,
                _counts(theirs, found),
                goal=f"as at {few}",
                holds=counted == _counts(_Row(way, kind, few), found),
            )


def _cells(row: _Row, found: Figures) -> tuple[str, ...]:
    return (
        row.way,
        _NAMES.get(row.proxy, row.proxy),
        f"{row.services:,}" if row.services else "",
        _us(row.figure(found, "connect")),
        f"{row.figure(found, _BESIDE):.2f}",
        _us(row.figure(found, "connect, p99")),
        _us(row.figure(found, "answer")),
        f"{row.figure(found, 'bytes/s') / 1e9:.2f}",
        *(f"{row.figure(found, f'rules, {kind}'):.0f}" for kind in _PACKETS),
    )


def _counts(row: _Row, found: Figures) -> str:
    return ", ".join(f"{row.figure(found, f'rules, {kind}'):.0f}" for kind in _PACKETS)


def _rules_row(kind: str) -> _Row:
    return _Row(POD_TO_POD, f"{RULES} of {kind}", 0)


def _rule_ns(kind: str, found: Figures) -> float:
    """What one rule adds to one packet; a question and its answer are two."""
    plain = _Row(POD_TO_POD, TRACKED, 0).figure(found, "answer")
    more_s = _rules_row(kind).figure(found, "answer") - plain
    return more_s / (2 * EXTRA_RULES) * 1e9


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us"
