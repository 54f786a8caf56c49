"""A copy in steps is what is desired in the end, whatever changes between its steps."""

import random
from unittest.mock import patch

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.capabilities import Capabilities
from ipvsctl.model.net import IPv4Address
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.union import desired_copy
from ipvsctl.plan.union.desired import Desired
from ipvsctl.plan.union.frozen import FrozenDesired
from ipvsctl.plan.union.node import compile_node
from tests.clusters import CONFIG, NODE, Cluster, clusters

MOVED = msgspec.structs.replace(NODE, node_addresses=(IPv4Address("10.9.0.10"),))


def frozen(union: Desired) -> FrozenDesired:
    """What is desired now, taken at once from what follows changes."""
    state = union.state()
    return FrozenDesired(
        programs=dict(union.programs),
        served={
            key: program
            for key in state.virtual_servers
            if not key.fwmark and (program := union.server(key)) is not None
        },
        short_circuits=dict(union.short_circuits),
        foreign=union.foreign,
        state=msgspec.structs.replace(
            state,
            entries={key: frozenset(held) for key, held in state.entries.items()},
            virtual_servers=dict(state.virtual_servers),
            real_servers=dict(state.real_servers),
            addresses=frozenset(state.addresses),
        ),
    )


def change_something(union: Desired, after: Cluster, chance: random.Random) -> None:
    """A Service comes, goes or changes; others take note, or the node moves."""
    programs = after.desired().programs
    refs = sorted({*programs, *union.programs})
    if refs:
        ref = chance.choice(refs)
        if ref in programs and chance.random() < 0.7:
            union.put(programs[ref])
        else:
            union.remove(ref)
    if chance.random() < 0.4:
        union.take_change()
    if chance.random() < 0.2:
        keys = sorted(union.servers().virtual_servers.items(), key=str)
        some = dict(keys[: chance.randrange(3)])
        union.agree(Observed(state=NodeState(virtual_servers=some)))
    if chance.random() < 0.1:
        node = chance.choice((NODE, MOVED))
        union.set_node(compile_node(node, CONFIG, Capabilities()))


@given(clusters(), clusters(), st.integers(0, 1 << 32), st.integers(1, 5))
def test_a_copy_is_of_the_moment_it_ends(
    before: Cluster, after: Cluster, seed: int, part: int
) -> None:
    """And it changes no more."""
    union, chance = before.desired(), random.Random(seed)
    with patch.object(desired_copy, "_PART", part), union.copying() as copy:
        for _ in copy.in_steps():
            change_something(union, after, chance)
        expected, copied = frozen(union), copy.finish()
    assert copied == expected
    assert copied.state.vip_link_up
    for _ in range(10):
        change_something(union, after, chance)
    assert copied == expected


@given(clusters())
def test_at_once(cluster: Cluster) -> None:
    """Nothing comes in between."""
    union = cluster.desired()
    assert union.frozen() == frozen(union)
