"""The map: the hooks of the kernel, our chains in them, and the sets that they ask.

Chains and sets are those of the planned rules. How packets get from hook to hook, and
where IPVS stands, is the kernel's and written here (net/netfilter/ipvs/ip_vs_core.c:
ip_vs_ops4, Linux 6.1).
"""

from collections.abc import Iterator, Mapping
from typing import Final

from ipvsctl.model.net import IPFamily
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.rules import (
    ChainRef,
    Chains,
    Jump,
    MapMark,
    MatchSet,
    Rule,
    Table,
)
from ipvsctl.plan.rules.filter_mangle import desired_chains
from ipvsctl.wire.ipset.sets import set_name
from tests.clusters import PLAIN
from tests.pictures.drawing import HEAD, IPVS_COLOUR, LOOK, Picture, table

_HOOKS: Final[Mapping[str, tuple[Table, ...]]] = {
    "PREROUTING": (Table.MANGLE, Table.NAT),
    "INPUT": (Table.FILTER,),
    "FORWARD": (Table.FILTER,),
    "OUTPUT": (Table.MANGLE, Table.NAT),
    "OUTPUT, filter": (Table.FILTER,),
    "POSTROUTING": (Table.NAT,),
}
"""Tables with chains of ours, in the order in which a hook has them."""

_ENDS: Final = {
    "in": "a packet comes over a link",
    "out": "it leaves over a link",
    "sender": "a program of this node sends",
    "receiver": "a program of this node",
}
_IPVS: Final = {
    "IPVS in INPUT": "IPVS: for a virtual server, by\\nits mark, or address and port?",
    "IPVS in OUTPUT": "IPVS: for a virtual server, by\\nits mark, or address and port?",
    "IPVS in FORWARD": "IPVS: a real server's answer\\nhas the VIP as source again",
}
_ARROWS: Final = """\
  "in" -> "PREROUTING" -> "routing";
  "routing" -> "INPUT" [label=" yes"];
  "routing" -> "FORWARD" [label=" no"];
  "INPUT" -> "IPVS in INPUT";
  "IPVS in INPUT" -> "receiver" [label=" no"];
  "IPVS in INPUT" -> "POSTROUTING" [label=" yes: to a\\n real server"];
  "FORWARD" -> "IPVS in FORWARD" -> "POSTROUTING" -> "out";
  "sender" -> "OUTPUT" -> "IPVS in OUTPUT";
  "IPVS in OUTPUT" -> "OUTPUT, filter" [label=" no"];
  "IPVS in OUTPUT" -> "POSTROUTING" [label=" yes: to a\\n real server"];
  "OUTPUT, filter" -> "POSTROUTING";
""".splitlines()


def picture() -> Picture:
    """Every hook with chains of ours."""
    planned = desired_chains(
        IPFamily.IPV4, PLAIN, NodeContext(name="node-0"), random_fully=True
    )
    lines = [HEAD, "digraph hooks {", "  graph [nodesep=0.4, ranksep=0.3];", *LOOK]
    for hook, tables in _HOOKS.items():
        rows = [row for name in tables for row in _rows(planned, name, hook)]
        lines.append(f'  "{hook}" [label={table(hook, *rows)}];')
    lines.append('  "routing" [label="routing: is it for\\nan address of this node?"];')
    for name, words in _ENDS.items():
        lines.append(f'  "{name}" [label="{words}", shape=plaintext, style=""];')
    for name, words in _IPVS.items():
        lines.append(f'  "{name}" [label="{words}", fillcolor="{IPVS_COLOUR}"];')
    return Picture(name="ways/hooks", text="\n".join([*lines, *_ARROWS, "}", ""]))


def _rows(planned: Chains, name: Table, hook: str) -> Iterator[str]:
    """A table's name, our chains in it as they are reached, their sets below each.

    The sets that decide whether to jump at all come first.
    """
    yield f"table {name}"
    start = ChainRef(name, hook.partition(",")[0])
    for asked in sets(planned, start):
        yield " " * 3 + f"set {asked}"
    for chain, depth in _reached(planned, start).items():
        yield " " * (3 * depth) + chain.name
        for asked in sets(planned, chain):
            yield " " * (3 * depth + 3) + f"set {asked}"


def _reached(planned: Chains, start: ChainRef) -> dict[ChainRef, int]:
    """Chains that rules jump to from here on, by how many jumps; each once."""
    depths: dict[ChainRef, int] = {}

    def follow(ref: ChainRef, depth: int) -> None:
        for rule in planned[ref]:
            if isinstance(rule, Rule) and isinstance(rule.target, Jump):
                chain = ChainRef(ref.table, rule.target.chain)
                if chain not in depths:
                    depths[chain] = depth
                    follow(chain, depth + 1)

    follow(start, 1)
    return depths


def sets(planned: Chains, chain: ChainRef) -> tuple[str, ...]:
    """Sets that the rules of a chain ask, in their order, each once."""
    found: dict[str, None] = {}
    for rule in planned[chain]:
        if isinstance(rule, Rule):
            found.update(
                (set_name(m.key), None) for m in rule.matches if isinstance(m, MatchSet)
            )
            if isinstance(rule.target, MapMark):
                found[set_name(rule.target.key)] = None
    return tuple(found)
