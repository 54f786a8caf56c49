"""Several observers are told the same."""

import pytest

from ipvsctl.controller.observers import AuditDone, Nobody, Observers, SyncDone
from ipvsctl.controller.sync_report import SyncReport
from ipvsctl.model.objects import NodeContext
from ipvsctl.model.problem import Kind, Problem
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.diff.ops import Report
from ipvsctl.plan.union.desired_change import DesiredChange
from tests.builders import ref

REPORT = SyncReport(
    plan=(),
    report=Report(applied=0),
    observed=Observed(state=NodeState()),
    duration_s=0,
)
CHANGE = DesiredChange(
    keys=frozenset(), desired=NodeState(), presumed=NodeState(), needs_audit=False
)
PROBLEM = Problem(kind=Kind.SERVICE, ref=ref("web"), field="f", value="", reason="r")


class Listener:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.told: list[object] = []

    async def audited(self, done: AuditDone) -> None:
        """See `Observer`."""
        self.told.append(done)

    async def synced(self, done: SyncDone) -> None:
        """See `Observer`."""
        self.told.append(done)

    def problems(self) -> tuple[Problem, ...]:
        """See `Observer`."""
        return (PROBLEM,)

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Observer`."""
        self.told.append(problems)


@pytest.mark.parametrize("listeners", [0, 1, 2])
async def test_each_is_told_everything(listeners: int) -> None:
    """And what each cannot tell is told together."""
    heard = [Listener() for _ in range(listeners)]
    everyone = Observers((*heard, Nobody()))
    audit = AuditDone(report=REPORT, context=NodeContext(name="node-0"))
    sync = SyncDone(report=REPORT, change=CHANGE)
    await everyone.audited(audit)
    await everyone.synced(sync)
    everyone.appeared((PROBLEM,))
    for listener in heard:
        assert listener.told == [audit, sync, (PROBLEM,)]
    assert everyone.problems() == (PROBLEM,) * listeners
