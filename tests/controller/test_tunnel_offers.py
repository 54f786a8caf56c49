"""Others are told which ends of tunnels stand."""

from collections.abc import Mapping
from typing import Final

import msgspec
import pytest

from ipvsctl.controller.observers import AuditDone
from ipvsctl.controller.sync_report import SyncReport
from ipvsctl.controller.tunnel_offers import TunnelOffers, standing_ends
from ipvsctl.model.net import IPFamily, parse_address
from ipvsctl.model.parts import Part
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.tunnel import TunnelEnd
from ipvsctl.plan.diff.ops import (
    FailedOp,
    MakeTunnelEnd,
    Op,
    RebuildSet,
    RemoveTunnelEnd,
    Report,
)
from tests.controller.test_audit import World
from tests.controller.test_history import audited

END: Final = TunnelEnd(address=parse_address("10.0.0.10"), port=6080)
MOVED: Final = msgspec.structs.replace(END, port=7000)
BROKEN: Final = msgspec.structs.replace(END, is_whole=False)
END6: Final = TunnelEnd(address=parse_address("fd00:10::10"), port=6080)
HELD: Final = {IPFamily.IPV4: END, IPFamily.IPV6: END6}


class Remembered:
    """An announcer that only remembers."""

    def __init__(self) -> None:
        self.reason = ""
        self.offered: list[Mapping[IPFamily, TunnelEnd]] = []

    def offer(self, ends: Mapping[IPFamily, TunnelEnd]) -> None:
        """See `Announcer`."""
        self.offered.append(ends)

    async def run(self) -> None:
        """See `Announcer`."""


def report(
    held: Mapping[IPFamily, TunnelEnd], *ops: Op, failed: tuple[Op, ...] = ()
) -> SyncReport:
    """An audit that found some ends and did something."""
    refused = tuple(FailedOp(op=op, errno=17, reason="taken") for op in failed)
    return SyncReport(
        plan=ops,
        report=Report(applied=len(ops) - len(failed), failed=refused),
        observed=Observed(state=NodeState(tunnel_ends=held)),
        duration_s=0.1,
    )


@pytest.mark.parametrize(
    ("done", "stand"),
    [
        (report(HELD), HELD),
        (report({}), {}),
        (report({IPFamily.IPV4: BROKEN}), {}),
        (report({}, MakeTunnelEnd(END)), {IPFamily.IPV4: END}),
        (report({IPFamily.IPV4: END}, MakeTunnelEnd(MOVED)), {IPFamily.IPV4: MOVED}),
        (
            report(HELD, MakeTunnelEnd(MOVED), failed=(MakeTunnelEnd(MOVED),)),
            {IPFamily.IPV6: END6},
        ),
        (report(HELD, RemoveTunnelEnd(END)), {IPFamily.IPV6: END6}),
    ],
)
def test_which_stand(done: SyncReport, stand: Mapping[IPFamily, TunnelEnd]) -> None:
    """Those that were whole, and those that were made; not what was refused."""
    assert standing_ends(done) == stand


def test_another_op_that_was_refused_is_no_end() -> None:
    """Ends that were whole stay so."""
    key = set_key(SetRole.TUNNEL_PEER, IPFamily.IPV4)
    rebuilt = RebuildSet(key, 2, frozenset({SetEntry(address=END.address)}))
    assert standing_ends(report(HELD, rebuilt, failed=(rebuilt,))) == HELD


async def test_nothing_is_told_of_what_could_not_be_read() -> None:
    """What was told stays."""
    world = World(0)
    done: AuditDone = audited(world, world.reconciler.audit())
    announcer = Remembered()
    observer = TunnelOffers(announcer, "node-0")
    await observer.audited(msgspec.structs.replace(done, report=report(HELD)))
    observed = msgspec.structs.replace(
        done.report.observed, unread={Part.NETWORK: "no room"}
    )
    blind = msgspec.structs.replace(done.report, observed=observed)
    await observer.audited(msgspec.structs.replace(done, report=blind))
    assert announcer.offered == [HELD]


def test_why_others_do_not_know() -> None:
    """A problem of the Node, as long as that is so."""
    announcer = Remembered()
    observer = TunnelOffers(announcer, "node-0")
    assert observer.problems() == ()
    announcer.reason = "leases is forbidden"
    (problem,) = observer.problems()
    assert str(problem) == (
        "Node node-0: tunnelPort: other nodes do not hear of it, and masquerade:"
        " leases is forbidden"
    )
