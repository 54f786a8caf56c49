"""Plans for a kernel of which parts could not be read."""

from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvsctl.model.parts import EVIDENCE, RULES, Part
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.diff.kinds import ObjectKind, Verb
from ipvsctl.plan.diff.ops import ChangeRules, Op
from ipvsctl.plan.diff.plan import diff
from tests.clusters import Cluster, clusters
from tests.plan.diff.test_properties import (
    OPTIONS,
    agreed,
    foreign_is_untouched,
    impose,
    new_kernel,
)

UNREAD: Final = "EIO"

TAKEN: Final = {
    ObjectKind.SET,
    ObjectKind.ENTRY,
    ObjectKind.VIRTUAL_SERVER,
    ObjectKind.ADDRESS,
    ObjectKind.ROUTE,
}
"""What is not taken away while it is not known whose it is."""

KINDS: Final = {
    Part.SETS: {ObjectKind.SET, ObjectKind.ENTRY},
    Part.NETWORK: {
        ObjectKind.LINK,
        ObjectKind.TUNNEL,
        ObjectKind.ADDRESS,
        ObjectKind.ROUTE,
    },
    Part.IPVS: {
        ObjectKind.TIMEOUTS,
        ObjectKind.VIRTUAL_SERVER,
        ObjectKind.REAL_SERVER,
        ObjectKind.FLOWS,
    },
    Part.CONNTRACK: {ObjectKind.FLOWS},
    Part.SOCKETS: set[ObjectKind](),
}


def is_of(op: Op, part: Part) -> bool:
    """Whether an op changes what a part has read."""
    if isinstance(op, ChangeRules):
        return RULES[op.change.family] is part
    return op.kind in KINDS.get(part, ())


@given(clusters(), clusters(), st.sets(st.sampled_from(Part), min_size=1))
def test_a_plan_says_nothing_of_what_could_not_be_read(
    before: Cluster, after: Cluster, parts: set[Part]
) -> None:
    """Nor takes anything away without the evidence; what it says, the whole plan says.

    And it is right: imposed, it leaves nothing that a whole plan would not finish.
    """
    kernel = new_kernel()
    state, options = agreed(kernel, before.desired())
    impose(kernel, state, options)
    desired, options = agreed(kernel, after.desired())
    whole = diff(kernel.observe(), desired, options)

    kernel.unread = dict.fromkeys(parts, UNREAD)
    plan = diff(kernel.observe(), desired, options)
    assert not [op for op in plan for part in parts if is_of(op, part)]
    if parts & EVIDENCE:
        assert not [op for op in plan if op.verb is Verb.DELETE and op.kind in TAKEN]
    elif not parts & {Part.CONNTRACK}:
        rest = [op for op in whole if not any(is_of(op, part) for part in parts)]
        assert list(plan) == rest

    report = kernel.apply(plan)
    kernel.unread = {}
    impose(kernel, desired, options)
    assert not diff(kernel.observe(), desired, options)
    assert foreign_is_untouched(kernel)
    # A real server waits for its virtual server, which another part may keep back.
    assert all(failure.op.kind is not ObjectKind.RULES for failure in report.failed)


@pytest.mark.parametrize("part", Part)
def test_what_was_not_to_be_read_is_presumed_alike(part: Part) -> None:
    """There is no difference between what is skipped and what failed."""
    desired = NodeState(vip_link_up=True, sysctls={"net/ipv4/ip_forward": "1"})
    plans = [
        diff(Observed(state=NodeState(), **blind), desired, OPTIONS)
        for blind in ({"skipped": frozenset({part})}, {"unread": {part: UNREAD}})
    ]
    assert plans[0] == plans[1]
    assert [op.kind for op in plans[0]][:1] == [ObjectKind.SYSCTL]


@given(clusters())
def test_an_old_set_is_not_built_anew_without_the_evidence(cluster: Cluster) -> None:
    """What it has beside what is wanted may be all that says whose a thing is."""
    kernel = new_kernel()
    state, options = agreed(kernel, cluster.desired())
    impose(kernel, state, options)
    grown = msgspec.structs.replace(
        state,
        sets={
            key: msgspec.structs.replace(shape, room=2 * shape.room)
            for key, shape in state.sets.items()
        },
    )
    assert any(
        op.kind is ObjectKind.SET for op in diff(kernel.observe(), grown, options)
    )
    kernel.unread = {Part.IPVS: UNREAD}
    assert not diff(kernel.observe(), grown, options)
