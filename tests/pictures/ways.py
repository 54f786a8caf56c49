"""Pictures of the ways of packets, for each way in and external traffic policy.

A Service is compiled, packets are followed through what the node would hold for it, and
the steps are drawn. So a chain or set in a picture is one that the packet met. What
comes after that, the way of the answer, is the kernel's business alone; those words are
written here.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

import msgspec

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.rules import ChainRef, Jump, MapMark, Table, Verdict
from ipvsctl.plan.trace.outcome import Fate, RuleStep, ServerStep, Step
from tests.clusters import PLAIN
from tests.pictures.drawing import HEAD, IPVS_COLOUR, LOOK, Picture, table
from tests.pictures.journeys import (
    CLUSTER_IP,
    EXTERNAL_IP,
    FAR,
    INGRESS_VIP,
    NEAR,
    NODE,
    POD,
    RANGED,
    WAYS,
    Branch,
    Lane,
    Way,
    branches,
    lanes,
)
from tests.pictures.rule_words import condition, effect

Box = tuple[str, ...]
"""Lines of text, the first one bold."""

_WIDTH: Final = 36
"""Characters in a line, without what indents it."""
_INDENT: Final = 3

_NAMES: Final = {
    NEAR: "pod on this node",
    FAR: "pod on another node",
    NODE: "the node's address",
    CLUSTER_IP: "the cluster IP",
    EXTERNAL_IP: "the external IP",
    INGRESS_VIP: "the ingress VIP",
}


def picture(way: Way) -> Picture:
    """The picture of one way in."""
    lines = [HEAD, "digraph way {", "  graph [rankdir=TB, nodesep=0.3, ranksep=0.25];"]
    lines += LOOK
    lines += [f'  graph [label="{way.title}", labelloc=t, fontsize=14];']
    for number, lane in enumerate(lanes(way)):
        lines += [f"  subgraph cluster_{number} {{", '    label="";']
        lines += (f"    {line}" for line in _lane(way, lane, number))
        lines += ["  }"]
    return Picture(name=f"ways/{way.name}", text="\n".join([*lines, "}", ""]))


def _lane(way: Way, lane: Lane, number: int) -> Iterator[str]:
    """Boxes and arrows; branches share the boxes that they have in common."""
    named: dict[tuple[Box, ...], str] = {}
    for branch in _grouped(way, lane):
        so_far: tuple[Box, ...] = ()
        before = ""
        for box in _boxes(way, lane, branch):
            so_far = (*so_far, box)
            name = named.get(so_far)
            if name is None:
                name = named[so_far] = f"{number}.{len(named)}"
                yield f'"{name}" [label={table(*box)}{_colour(box)}];'
                if before:
                    dashed = " [style=dashed]" if box[0].startswith("answer") else ""
                    yield f'"{before}" -> "{name}"{dashed};'
            before = name


def _colour(box: Box) -> str:
    head = box[0]
    if head.startswith("IPVS"):
        return f', fillcolor="{IPVS_COLOUR}"'
    if head.startswith(("pod on", "answer")):
        return ', fillcolor="#e3f6e5"'
    if any(row.lstrip().startswith("DROP") for row in box):
        return ', fillcolor="#fde2e1"'
    return ""


def pictures() -> tuple[Picture, ...]:
    """One for each way in and policy, and one for source ranges."""
    return tuple(picture(way) for way in (*WAYS, RANGED))


def _grouped(way: Way, lane: Lane) -> Iterator[Branch]:
    """Branches that do not differ but in their endpoint are one."""
    found: defaultdict[tuple[Box, ...], list[Branch]] = defaultdict(list)
    for branch in branches(way, lane):
        nowhere = msgspec.structs.replace(branch, endpoints=())
        found[tuple(_boxes(way, lane, nowhere))].append(branch)
    for alike in found.values():
        endpoints = tuple(e for branch in alike for e in branch.endpoints)
        yield msgspec.structs.replace(alike[0], endpoints=endpoints)


def _boxes(way: Way, lane: Lane, branch: Branch) -> Iterator[Box]:
    """The boxes of a branch from top to bottom, each a tuple of lines."""
    yield (lane.title, f"sends to {_NAMES[way.address]}, port {way.port}")
    passed_input = False
    for place, steps in groupby(branch.steps, key=_place):
        if isinstance(place, VirtualServerKey):
            yield _ipvs(place, passed_input=passed_input)
            continue
        if place.name == "INPUT" and not passed_input:
            passed_input = True
            yield _routing(way)
        matched = [step for step in steps if isinstance(step, RuleStep)]
        if rows := tuple(_rows(matched)):
            yield (f"{place.table} {place.name}", *rows)
    if branch.fate is Fate.BALANCED:
        yield _arrival(lane, branch)
        yield _answer(way, lane, branch)


def _routing(way: Way) -> Box:
    if way.address == NODE:
        return ("routing", "an address of this node: INPUT")
    return ("routing", "bound to kube-ipvs0, so an", "address of this node: INPUT")


def _ipvs(key: VirtualServerKey, *, passed_input: bool) -> Box:
    where = "INPUT, after filter" if passed_input else "OUTPUT, after nat"
    by = f"the mark {key.fwmark:#x}" if key.fwmark else "address and port"
    return (
        f"IPVS, in {where}",
        f"has a virtual server for {by}",
        "and makes an endpoint the destination",
    )


def _arrival(lane: Lane, branch: Branch) -> Box:
    names = [_NAMES[endpoint] for endpoint in branch.endpoints]
    seen = "this node" if branch.is_masqueraded else lane.client
    return (" or ".join(names), f"sees {seen}")


def _answer(way: Way, lane: Lane, branch: Branch) -> Box:
    """How an answer becomes one of the address that was asked."""
    asked = _NAMES[way.address]
    if lane.is_host:
        return (
            "answer, to this node",
            f"IPVS in INPUT: {asked}",
            "is the source again",
        )
    ipvs = (f"IPVS in FORWARD: {asked}", "is the source again")
    if branch.is_masqueraded:
        back = f"PREROUTING: conntrack puts {lane.client} back"
        return ("answer, to this node", back, *ipvs)
    near = "that pod is" if lane.source == POD else "the endpoint is"
    return (f"answer, to {lane.client}", f"passes this node, where {near}", *ipvs)


def _place(step: Step) -> ChainRef | VirtualServerKey:
    """The table at a hook that a step is in, or the virtual server that it is."""
    if isinstance(step, ServerStep):
        return step.virtual_server
    return ChainRef(step.chain.table, step.hook)


def _rows(steps: Sequence[RuleStep]) -> Iterator[str]:
    """Rules of a table that did something, indented by how they were reached."""
    open_chains: list[str] = []
    for step in _with_effect(steps):
        name = step.chain.name
        if name in open_chains:
            del open_chains[open_chains.index(name) + 1 :]
        else:
            open_chains.append(name)
        indent = " " * (_INDENT * (len(open_chains) - 1))
        rule = step.rule
        yield from (
            indent + line for line in _lines(effect(rule), condition(rule, PLAIN))
        )


def _lines(done: str, conditions: tuple[str, ...]) -> tuple[str, ...]:
    """What a rule does, and if what; conditions below it if one line is too short."""
    words = f"{done} if {', '.join(conditions)}" if conditions else done
    if len(words) <= _WIDTH:
        return (words,)
    first, *others = conditions
    parts = (f"if {first}", *(f"and {other}" for other in others))
    return (done, *(" " * (2 * _INDENT) + part for part in parts))


def _with_effect(steps: Sequence[RuleStep]) -> tuple[RuleStep, ...]:
    """Without jumps of which nothing came, and marks that a set did not have."""
    kept: list[RuleStep] = []
    for step in reversed(steps):
        match step.rule.target:
            case Jump(chain) if not kept or kept[-1].chain.name != chain:
                continue
            case MapMark() if not step.found:
                continue
            case Verdict.RETURN if step.chain.table is Table.MANGLE:
                continue
        kept.append(step)
    return tuple(reversed(kept))
