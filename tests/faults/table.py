"""The page with the faults and what `ipvsctl explain` says of each."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

PAGE: Final = Path(__file__).parent.parent.parent / "docs" / "faults.md"

_HEAD: Final = """\
# Faults, and what is said of them

Each of these faults was planted in a node of the lab, with a real kernel, real rules
and a daemon whose next audit was an hour away, and which was not to look for drift
(`driftWatch: false`). Then [`explain`](cli.md#explain) was asked, first while the
daemon ran and had not repaired the fault, then without a daemon.
The words are the headline of its answer: the first thing that is broken on the way from
the object to the wire. A test plants all of them again (`tests/kernel/test_faults.py`),
and sees that the headline names the cause, and that a node without faults is said to
work.

The page is made by `python -m tests.lab -- python -m tests.faults`.
"""

_TAIL: Final = """
## Seen in tests, not in the lab

The lab's first kernel has no nftables and every module, and its conntrack table is
everybody's. These are planted in a kernel in memory (`tests/cli/test_explain.py`):

- kube-proxy's nftables table is there: `other proxies: kube-proxy's nftables rules are
  there (table ip kube-proxy)`;
- the conntrack table is full: `conntrack: table full: 999 of 1,000 entries`;
- IPVS is not in the kernel: `kernel: find IPVS: not in this kernel (is module ip_vs
  there?)`.

And one with a real API server's stand-in (`tests/kernel/test_daemon_on_api.py`): the
server is away for half a minute, and `explain` exits with 2, `source: API server not
heard for 31 s`.
"""

_BEGIN: Final = re.compile(r"^.*?\(step \d+\) ")
_REMEDY: Final = re.compile(
    r" -> (?!\S+ masquerade)(?!\d)(?!KUBE-)| \(no daemon was asked\)"
)
_SOCKET: Final = re.compile(r"/\S+\.sock")
_AGO: Final = re.compile(r"\b\d+ s ago")


class Row(NamedTuple):
    """A fault: what was asked, and the headlines with a daemon and without."""

    name: str
    asked: str
    running: str
    stopped: str


def page(rows: Iterable[Row]) -> str:
    """The whole page."""
    lines = [
        "",
        "| fault | `explain` what | with a daemon | without |",
        "|---|---|---|---|",
    ]
    for row in rows:
        same = "the same" if row.stopped else "-"
        running, stopped = map(_words, (row.running, row.stopped))
        if stopped and stopped != running:
            same = f"`{stopped}`"
        lines.append(f"| {row.name} | `{row.asked}` | `{running}` | {same} |")
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


def _words(said: str) -> str:
    """The headline alone: without the target, the remedy and who was asked."""
    text = _BEGIN.sub("", said.replace("\n", " "))
    text = _SOCKET.sub("SOCKET", _REMEDY.split(text)[0])
    return _AGO.sub("N s ago", text).strip().replace("|", "\\|")
