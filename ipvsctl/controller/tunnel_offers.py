"""What others are told of this node's ends of tunnels: an observer."""

from collections.abc import Mapping
from typing import Protocol

from ipvsctl.controller.observers import AuditDone, SyncDone
from ipvsctl.controller.sync_report import SyncReport
from ipvsctl.model.net import IPFamily, family_of
from ipvsctl.model.parts import Part
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.tunnel import TunnelEnd
from ipvsctl.plan.diff.ops import MakeTunnelEnd, RemoveTunnelEnd


class Announcer(Protocol):
    """Who tells other nodes."""

    reason: str
    """Why they do not know, a clause; "" if they do."""

    def offer(self, ends: Mapping[IPFamily, TunnelEnd]) -> None:
        """These ends take packets now."""
        ...

    async def run(self) -> None:
        """Tell until cancelled."""
        ...


class TunnelOffers:
    """Tells an announcer which ends stand; see `Observer`."""

    def __init__(self, announcer: Announcer, node_name: str) -> None:
        self._announcer = announcer
        self._node_name = node_name

    async def audited(self, done: AuditDone) -> None:
        """See `Observer`."""
        ends = standing_ends(done.report)
        if ends is not None:
            self._announcer.offer(ends)

    async def synced(self, done: SyncDone) -> None:
        """See `Observer`."""

    def problems(self) -> tuple[Problem, ...]:
        """See `Observer`."""
        if not self._announcer.reason:
            return ()
        problem = Problem(
            kind=Kind.NODE,
            ref=ObjectRef("", self._node_name),
            field="tunnelPort",
            value="",
            reason="other nodes do not hear of it, and masquerade:"
            f" {self._announcer.reason}",
        )
        return (problem,)

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Observer`."""


def standing_ends(done: SyncReport) -> Mapping[IPFamily, TunnelEnd] | None:
    """The ends that take packets after an audit; None if that is not known."""
    if Part.NETWORK in done.observed.blind:
        return None
    ends = {
        family: end
        for family, end in done.observed.state.tunnel_ends.items()
        if end.is_whole
    }
    failed = [f.op for f in done.report.failed if isinstance(f.op, MakeTunnelEnd)]
    for op in done.plan:
        match op:
            case MakeTunnelEnd(end):
                ends.pop(family_of(end.address), None)
                if op not in failed:
                    ends[family_of(end.address)] = end
            case RemoveTunnelEnd(end):
                ends.pop(family_of(end.address), None)
    return ends
