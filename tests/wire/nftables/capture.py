"""Write golden files: what nft sends for the samples, and how this kernel answers.

Run in the lab, on a kernel with nftables:
`python -m tests.lab --kernel=6.12 -- python -m tests.wire.nftables.capture`. A file has
one message, or one datagram, a line, in hexadecimal.
"""

import re
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from tempfile import NamedTemporaryFile

from ipvsctl.kernel.nftables_firewall import NftablesFirewall
from ipvsctl.model.net import IPFamily
from ipvsctl.model.rules import Rule, RulesChange, UnknownRule
from ipvsctl.plan.diff.ops import AddEntry, ChangeRules, CreateSet, Op
from ipvsctl.wire.netlink.messages import NetlinkProtocol
from ipvsctl.wire.nftables.requests import (
    list_chains,
    list_entries,
    list_rules,
    list_sets,
)
from ipvsctl.wire.nftables.rule_text import render_table
from ipvsctl.wire.nftables.sets import set_name
from tests.wire.capture import ask, write
from tests.wire.nftables.samples import chains, entries, keys

GOLDEN = Path(__file__).parent.parent.parent / "golden" / "wire"
NFT = "nft-1.0.6"

NETFILTER = NetlinkProtocol.NETFILTER

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LENGTH = re.compile(r"\|  (\d{10})  \|\t\| message length")
_TYPE = re.compile(r"\| (\d{5}) \|.*type")
_NUMBER = re.compile(r"\|  \d{10}  \|")
_ATTRIBUTE = re.compile(r"\|(\d{5})\|([N-])([B-])\|(\d{5})\|")
_BYTES = re.compile(r"\| ((?:[0-9a-f]{2} ){4}) \|")


def sent_by_nft(text: str) -> list[bytes]:
    """The messages that nft sends when it loads a file, without their flags."""
    with NamedTemporaryFile("w", suffix=".nft") as file:
        file.write(text)
        file.flush()
        done = subprocess.run(
            ["nft", "--debug=mnl", "-f", file.name],
            capture_output=True,
            check=True,
        )
    return [*_messages(done.stdout.decode("latin-1"))]


def _messages(dump: str) -> Iterator[bytes]:
    message = b""
    for line in map(_uncoloured, dump.splitlines()):
        if found := _LENGTH.match(line):
            if message:
                yield message
            message = struct.pack("=I", int(found[1]))
        elif found := _TYPE.match(line):
            message += struct.pack("=HH", int(found[1]), 0)
        elif _NUMBER.match(line):
            message += bytes(4)
        elif found := _ATTRIBUTE.match(line):
            flags = 0x8000 * (found[2] == "N") | 0x4000 * (found[3] == "B")
            message += struct.pack("=HH", int(found[1]), int(found[4]) | flags)
        elif found := _BYTES.match(line):
            message += bytes.fromhex(found[1])
    yield message


def _uncoloured(line: str) -> str:
    return _COLOUR.sub("", line)


def known_rule(rule: Rule | UnknownRule) -> Rule:
    """A rule of the samples."""
    if isinstance(rule, UnknownRule):
        raise TypeError(rule)
    return rule


def main() -> None:
    """Write every golden file of this kernel."""
    for family in IPFamily:
        held, rules = entries(family), chains(family)
        text = "\n".join(render_table(family, rules, keys(family), held))
        lines = "".join(f"{message.hex()}\n" for message in sent_by_nft(f"{text}\n"))
        (GOLDEN / f"{NFT}-{family.label}.hex").write_text(lines, encoding="ascii")
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        ops: list[Op] = [CreateSet(key, 1) for key in keys(family)]
        ops += (AddEntry(key, e) for key, some in held.items() for e in some)
        known = [(ref, tuple(map(known_rule, some))) for ref, some in rules.items()]
        change = RulesChange(
            family=family,
            write=tuple((ref, some) for ref, some in known if not ref.is_builtin),
            link=tuple((ref, some) for ref, some in known if ref.is_builtin),
        )
        with closing(NftablesFirewall.open((family,))) as firewall:
            failed = firewall.run([*ops, ChangeRules(change)])
        if failed:
            raise SystemExit(str(failed[0]))
        for name, request in (
            ("chains", list_chains(family)),
            ("rules", list_rules(family)),
            ("sets", list_sets(family)),
        ):
            write(f"nft-{name}-{family.label}", ask(NETFILTER, request))
        answers = [
            ask(NETFILTER, list_entries(family, set_name(key))) for key in keys(family)
        ]
        write(f"nft-entries-{family.label}", chain.from_iterable(answers))
        subprocess.run(["nft", "flush", "ruleset"], check=True)


if __name__ == "__main__":
    main()
