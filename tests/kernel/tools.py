"""The node's kernel as operators see it: with ipvsadm, ipset, iptables and ip."""

import re
import subprocess
from dataclasses import dataclass

from tests.lab.netns import Netns, inside

_CHOSEN = re.compile(r" (hashsize|initval) \S+")
_MARK = "=== next ==="
_TOOLS = (
    "ipvsadm-save -n",
    "ipset save",
    "iptables-save",
    "ip6tables-save",
    "ip -o addr show",
)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the tools print.

    Attributes:
        ipvsadm: lines of `ipvsadm-save -n`, sorted.
        creates: `create` lines of `ipset save`, sorted; without what the kernel
            chooses itself.
        entries: `add` lines, sorted.
        rules: lines of `iptables-save` and `ip6tables-save`, by the name of the tool
            without `-save`; counters as zero.
        addresses: on kube-ipvs0 without link-local ones, `inet A/32`, sorted.
    """

    ipvsadm: list[str]
    creates: list[str]
    entries: list[str]
    rules: dict[str, list[str]]
    addresses: list[str]

    @property
    def used_sets(self) -> set[str]:
        """Names of the sets that have an entry."""
        return {line.split()[1] for line in self.entries}


def look(netns: Netns) -> Seen:
    """Run every tool in the namespace, from one shell."""
    script = f"; echo '{_MARK}'; ".join(_TOOLS)
    with inside(netns):
        done = subprocess.run(
            ["sh", "-ec", script], capture_output=True, text=True, check=True
        )
    ipvsadm, sets, iptables, ip6tables, addresses = (
        part.strip("\n").splitlines() for part in done.stdout.split(f"{_MARK}\n")
    )
    return Seen(
        ipvsadm=sorted(ipvsadm),
        creates=sorted(
            _CHOSEN.sub("", line) for line in sets if line.startswith("create")
        ),
        entries=sorted(line for line in sets if line.startswith("add")),
        rules={"iptables": _plain(iptables), "ip6tables": _plain(ip6tables)},
        addresses=sorted(
            f"{words[2]} {words[3]}"
            for words in map(str.split, addresses)
            if words[1] == "kube-ipvs0" and not words[3].startswith("fe80")
        ),
    )


def _plain(lines: list[str]) -> list[str]:
    """Lines without what differs from run to run: the time, and counters."""
    return [
        f"{line.partition('[')[0]}[0:0]" if line.startswith(":") else line
        for line in lines
        if not line.startswith("#")
    ]
