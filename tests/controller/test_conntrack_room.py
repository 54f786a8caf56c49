"""A connection tracking table that fills, as a problem of the Node."""

import pytest

from ipvsctl.controller.conntrack_room import ConntrackRoom
from ipvsctl.controller.observers import AuditDone
from ipvsctl.model.conntrack import ConntrackFill
from tests.controller.test_audit import World


async def test_it_comes_and_goes_once() -> None:
    """From nearly full to hardly filling; its words are the same all the time."""
    world = World(0)
    room = ConntrackRoom("node-0")
    told = []
    for count in (100, 940, 960, 999, 1000, 900, 700):
        world.kernel.conntrack = ConntrackFill(count, 1000)
        report = world.reconciler.audit()
        await room.audited(AuditDone(report=report, context=world.reconciler.context))
        told.append([str(problem) for problem in room.problems()])
    full = (
        "Node node-0: conntrack: 1,000 entries: nearly all are taken, and when all are"
        " new connections are dropped: raise conntrack.min, and see who fills the table"
    )
    assert told == [[], [], [full], [full], [full], [full], []]


@pytest.mark.parametrize("limit", [0, 1000])
def test_a_table_without_entries_or_without_a_limit(limit: int) -> None:
    """Is not full."""
    fill = ConntrackFill(0, limit)
    assert not fill.is_filling
    assert not fill.is_nearly_full
