"""What others do to our tables of nftables is mended at once; what else they do is not.

The kernel tells of every change. The next audit of these daemons is an hour away.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from ipvsctl.model.config import FirewallKind
from tests.faults.cluster import HERE, THERE, endpoints
from tests.faults.node import Node
from tests.kernel.firewalls import require
from tests.lab.netns import inside
from tests.reliability.drift import served_node, wait

pytestmark = pytest.mark.kernel

FULL: Final = "kubeproxy_sync_full_proxy_rules_duration_seconds_count"
PARTIAL: Final = "kubeproxy_sync_partial_proxy_rules_duration_seconds_count"

LAST_RULE: Final = "nat-KUBE-POSTROUTING handle HANDLE"

CHANGES: Final = {
    "ruleset flushed": "flush ruleset",
    "table deleted": "delete table ip ipvsctl",
    "table put to sleep": "add table ip ipvsctl { flags dormant; }",
    "set flushed": "flush set ip ipvsctl cluster-ip",
    "entry deleted": "delete element ip ipvsctl cluster-ip { 10.96.0.10 . tcp . 80 }",
    "entry added": "add element ip ipvsctl cluster-ip { 10.1.1.1 . tcp . 80 }",
    "mark changed": (
        "delete element ip ipvsctl short-circuit { 198.51.100.7 . tcp . 80 }; "
        "add element ip ipvsctl short-circuit { 198.51.100.7 . tcp . 80 : 0x1 }"
    ),
    "entry that is no network": (
        "add element ip ipvsctl load-balancer-source-cidr"
        " { 10.96.0.10 . tcp . 80 . 10.0.0.1-10.0.0.9 }"
    ),
    "entry of another protocol": (
        "add element ip ipvsctl cluster-ip { 10.96.0.10 . icmp . 80 }"
    ),
    "entry with a comment": (
        'add element ip ipvsctl ipvs-ips { 10.1.1.1 comment "theirs" }'
    ),
    "set added": "add set ip ipvsctl theirs { type inet_service; }",
    "chain flushed": "flush chain ip ipvsctl nat-KUBE-SERVICES",
    "chain moved": (
        "flush chain ip6 ipvsctl filter-INPUT; "
        "delete chain ip6 ipvsctl filter-INPUT; "
        "add chain ip6 ipvsctl filter-INPUT"
        " { type filter hook input priority 7; policy drop; }"
    ),
    "chain added": "add chain ip ipvsctl theirs",
    "policy changed": "add chain ip ipvsctl filter-FORWARD { policy drop; }",
    "rule deleted": f"delete rule ip ipvsctl {LAST_RULE}",
    "rule replaced": f"replace rule ip ipvsctl {LAST_RULE} accept",
    "rule added": "insert rule ip ipvsctl filter-FORWARD drop",
}


class Counts(NamedTuple):
    """What a daemon has done."""

    audits: int
    syncs: int
    cpu_s: float


@contextmanager
def watched(scratch: Path) -> Iterator[Node]:
    """A node with a daemon that has nftables for its firewall."""
    require(FirewallKind.NFTABLES)
    with served_node(scratch, 5, "1h", firewall=FirewallKind.NFTABLES) as (node, _):
        yield node


def nft(node: Node, command: str) -> str:
    """What a command of nft prints on the node."""
    with inside(node.netns):
        return subprocess.run(
            ["nft", *command.split()], capture_output=True, text=True, check=True
        ).stdout


def tables(node: Node) -> list[str]:
    """Our tables, in lines; whatever their order is."""
    found = []
    for family in ("ip", "ip6"):
        try:
            found += nft(node, f"-s list table {family} ipvsctl").splitlines()
        except subprocess.CalledProcessError:
            return []
    return sorted(line.strip(" \t,") for line in found)


def counts(node: Node) -> Counts:
    """What the daemon says of itself."""
    with inside(node.netns), closing(HTTPConnection("127.0.0.1", 10249)) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()

    def value(name: str) -> float:
        # One that has counted nothing yet is not there.
        found = re.search(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    cpu_s = value("process_cpu_seconds_total")
    return Counts(int(value(FULL)), int(value(PARTIAL)), cpu_s)


LOT: Final = 3
"""Changes of one kind that are mended at once; more of them in a minute are not."""

NAMES: Final = tuple(CHANGES)
LOTS: Final = [NAMES[place : place + LOT] for place in range(0, len(NAMES), LOT)]


@pytest.mark.parametrize("names", LOTS, ids=", ".join)
def test_it_is_mended_at_once(tmp_path: Path, names: Sequence[str]) -> None:
    """Everything is as before, an hour before an audit would see to it.

    How long it took is printed (`-s`): a machine that is busy has no limit for it.
    """
    with watched(tmp_path) as node:
        print({name: mended_s(node, CHANGES[name]) for name in names})


def mended_s(node: Node, command: str) -> float:
    """How long it takes until all is as it was before a command of nft."""
    listed = nft(node, "-a list chain ip ipvsctl nat-KUBE-POSTROUTING")
    *_, handle = re.findall(r"# handle (\d+)", listed)
    before, audits = tables(node), counts(node).audits
    nft(node, command.replace("HANDLE", handle))
    begun = time.monotonic()
    while tables(node) != before:
        assert time.monotonic() - begun < 60, tables(node)
    taken_s = time.monotonic() - begun
    wait(lambda: counts(node).audits > audits)
    return taken_s


BUSY: Final = """\
add table ip busy
add table ip6 ipvsctl-too
add table inet ipvsctl
add set ip busy ports { type inet_service; }
add set inet ipvsctl ports { type inet_service; }
add chain ip6 ipvsctl-too input { type filter hook input priority 0; }
"""
ROUNDS: Final = 200
PACE_S: Final = 0.01
OWN: Final = 6


def test_what_others_do_in_their_own_tables(tmp_path: Path) -> None:
    """It causes no audit and little work, a hundred times in a second for seconds."""
    with watched(tmp_path) as node, inside(node.netns):
        before = counts(node)
        begun = time.monotonic()
        with subprocess.Popen(
            ["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdin is not None
            process.stdin.write(BUSY)
            for number in range(ROUNDS):
                process.stdin.write(
                    f"add element ip busy ports {{ {number + 1} }}\n"
                    f"add element inet ipvsctl ports {{ {number + 1} }}\n"
                    "add rule ip6 ipvsctl-too input counter\n"
                )
                process.stdin.flush()
                time.sleep(max(0.0, begun + number * PACE_S - time.monotonic()))
        took_s = time.monotonic() - begun
        after = counts(node)
        print(f"neighbour: {took_s:.1f} s, {after.cpu_s - before.cpu_s:.2f} s of CPU")
        assert f" {ROUNDS} " in nft(node, "list set ip busy ports")
        assert (after.audits, after.syncs) == (before.audits, before.syncs)
        # Ours is heard all the same.
        nft(node, "flush set ip ipvsctl cluster-ip")
        wait(lambda: counts(node).audits == before.audits + 1)


def test_what_we_do_ourselves(tmp_path: Path) -> None:
    """Changes of the cluster are imposed, and none of them is taken for another's."""
    with watched(tmp_path) as node:
        before = counts(node)
        for number in range(OWN):
            pods = (HERE, THERE)[: 1 + number % 2]
            raw = json.dumps(endpoints("web", *pods))
            # The first is the one of all.json, in the place of which it cannot be.
            raw = raw.replace('"web-1"', '"web-2"')
            new = tmp_path / "new"
            new.write_text(raw)
            new.rename(node.manifests / "web-2.json")
            syncs = before.syncs + number
            wait(lambda: counts(node).syncs > syncs)  # noqa: B023 - waited for here
        # What was heard of that would have been seen to before this.
        nft(node, "flush set ip ipvsctl cluster-ip")
        wait(lambda: counts(node).audits > before.audits)
        assert counts(node).audits == before.audits + 1
