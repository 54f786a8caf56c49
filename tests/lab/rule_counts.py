"""How many rules the packets of a namespace are compared with, as the kernel counts.

A rule counts the packets that match it. So a rule that does nothing is put before each
one: it counts the packets that are compared with that. ICMP is passed over: neighbours
look for each other with that of IPv6, whenever they like.
"""

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from tests.lab.netns import Netns, inside

Read = Callable[[], int]
"""The number of comparisons up to now."""

_NOTE: Final = "compared"
_ICMP: Final = {"iptables": "icmp", "ip6tables": "ipv6-icmp"}


def count_iptables(netns: Netns, tool: str = "iptables") -> Read:
    """Count the rules of everybody's that packets of a family meet from now on.

    Args:
        netns: whose rules; they stay as they are but for what counts.
        tool: `iptables` or `ip6tables`.
    """
    counting = _with_counters(_run(netns, [f"{tool}-save"]).splitlines(), _ICMP[tool])
    _run(netns, [f"{tool}-restore"], counting)

    def read() -> int:
        lines = _run(netns, [f"{tool}-save", "-c"]).splitlines()
        return sum(_packets(line) for line in lines if line.endswith(f" {_NOTE}"))

    return read


def _with_counters(lines: Iterable[str], icmp: str) -> Iterator[str]:
    for line in lines:
        if line.startswith("-A "):
            chain = line.split()[1]
            yield f"-A {chain} ! -p {icmp} -m comment --comment {_NOTE}"
        yield line


def _packets(line: str) -> int:
    """Of `[packets:bytes] -A ...`."""
    return int(line.partition(":")[0].removeprefix("["))


def count_nftables(netns: Netns, table: str) -> Read:
    """Count the rules of a table that packets meet from now on.

    Args:
        netns: where the table is.
        table: its family and name, as nft says them: `ip ipvsctl`.
    """
    counting = [
        f"insert rule {table} {rule['chain']} handle {rule['handle']}"
        f' meta l4proto != {{ icmp, ipv6-icmp }} counter comment "{_NOTE}"'
        for rule in _rules(netns, table)
    ]
    _run(netns, ["nft", "-f", "-"], counting)

    def read() -> int:
        return sum(
            rule["expr"][-1]["counter"]["packets"]
            for rule in _rules(netns, table)
            if rule.get("comment") == _NOTE
        )

    return read


def _rules(netns: Netns, table: str) -> list[dict[str, Any]]:
    # Terse: without the entries of sets.
    text = _run(netns, ["nft", "-j", "-t", "-a", "list", "table", *table.split()])
    return [part["rule"] for part in json.loads(text)["nftables"] if "rule" in part]


def _run(netns: Netns, command: list[str], lines: Iterable[str] = ()) -> str:
    text = "".join(f"{line}\n" for line in lines)
    with inside(netns):
        return subprocess.run(
            command, input=text, text=True, check=True, stdout=subprocess.PIPE
        ).stdout
