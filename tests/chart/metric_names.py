"""Which metrics there are, from their page, and which a query asks for."""

import re
from typing import Final

from tests.chart.values import ROOT

_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|", re.MULTILINE)
_NAME = re.compile(r"\b(?:ipvsctl|kubeproxy|rest_client|process|python|up)\w*(?=[{\[])")
_OTHERS: Final = frozenset(
    (
        *("up", "process_resident_memory_bytes", "process_cpu_seconds_total"),
        "process_start_time_seconds",
    )
)
"""Made by Prometheus and by its client library; the page names the groups."""


def known() -> frozenset[str]:
    """Names as they are stored, a histogram's with each of its endings."""
    page = ROOT.joinpath("docs", "metrics.md").read_text(encoding="utf-8")
    found = set(_OTHERS)
    for name, kind in _ROW.findall(page):
        endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        found |= {name + ending for ending in endings}
    return frozenset(found)


def asked(query: str) -> frozenset[str]:
    """Names in a query; each has a selector, so labels and words are none."""
    return frozenset(_NAME.findall(query))
