"""Every op says what it is about, what it does to it, and when."""

from inspect import getattr_static
from typing import get_args

import pytest

from ipvsctl.model.net import IPFamily
from ipvsctl.model.sets import SetRole, set_key
from ipvsctl.plan.diff.kinds import ObjectKind, Verb
from ipvsctl.plan.diff.op import Operation
from ipvsctl.plan.diff.ops import DestroySet, Op, SetSysctl
from ipvsctl.plan.diff.plan_builder import PlanBuilder
from ipvsctl.plan.diff.stages import Stage
from tests.builders import in_words

OPS: tuple[type[Op], ...] = get_args(Op)


def _subclasses(kind: type[Operation]) -> set[type[Operation]]:
    children = kind.__subclasses__()
    return {kind, *(c for child in children for c in _subclasses(child))}


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
def test_an_op_says_everything_of_itself(op: type[Op]) -> None:
    """A new one cannot forget anything."""
    assert isinstance(op.kind, ObjectKind)
    assert isinstance(op.verb, Verb)
    assert isinstance(op.stage, Stage)
    assert op.urgent is None or isinstance(op.urgent, Stage)
    assert isinstance(getattr_static(op, "subject"), property)
    assert op.__str__ is not Operation.__str__
    assert all(isinstance(stage, Stage) for stage in op.other_stages)
    assert op.stage not in op.other_stages


def test_every_op_is_in_the_union() -> None:
    """An op that no reader of plans knows of cannot be planned."""
    assert set(OPS) == {op for op in _subclasses(Operation) if not op.__subclasses__()}


def test_every_word_is_used() -> None:
    """Each kind, verb and stage is some op's."""
    assert {op.kind for op in OPS} == set(ObjectKind)
    assert {op.verb for op in OPS} == set(Verb)
    stages = {stage for op in OPS for stage in (op.stage, *op.other_stages)}
    assert stages | {op.urgent for op in OPS if op.urgent} == set(Stage)


def test_an_op_runs_in_no_stage_that_it_does_not_know() -> None:
    """An exception is said on the op, with its reason."""
    with pytest.raises(ValueError, match="SetSysctl does not run in RULES"):
        PlanBuilder(frozenset()).place(Stage.RULES, SetSysctl("a", "1"))


def test_an_op_is_said_in_the_words_of_a_firewall() -> None:
    """Its things have other names in another firewall, and plain ones in none."""
    op = DestroySet(set_key(SetRole.CLUSTER_IP, IPFamily.IPV6))
    assert str(op) == "destroy set cluster-ip IPv6"
    assert in_words([op]) == ["destroy set KUBE-6-CLUSTER-IP"]
