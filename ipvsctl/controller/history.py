"""Remembers what was done to whom: for `ipvsctl events`, `status` and the log.

A sync is one entry, with some of its Services: a tenant who changes a thousand
endpoints a second pushes out as little as possible of what happened to others.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from ipvsctl.controller.observers import AuditDone, SyncDone
from ipvsctl.controller.refused_settings import to_try_again
from ipvsctl.controller.repeats import Repeats
from ipvsctl.controller.sync_report import SyncReport
from ipvsctl.libraries.log import structlog
from ipvsctl.model.config import FirewallKind
from ipvsctl.model.history import Entry, History, What
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.problem import Kind, Problem
from ipvsctl.model.processes import Processes
from ipvsctl.model.state import EMPTY, NodeState
from ipvsctl.plan.diff.ops import DeleteRealServer, Op, UpdateRealServer
from ipvsctl.plan.diff.words import FirewallWords
from ipvsctl.plan.report.culprits import PROGRAMS
from ipvsctl.plan.report.drift import find_drift
from ipvsctl.plan.report.op_text import op_text
from ipvsctl.plan.report.owners import Owners
from ipvsctl.plan.union.frozen import DesiredLookups

KEPT: Final = 1000
"""Entries that are remembered."""

_MOST_OPS: Final = 20
"""Ops of one kind, of one audit or sync, that have an entry each."""

_MOST_REPEATS: Final = 200
"""Repairs of one audit that are looked at for coming again."""

_MOST_NAMES: Final = 3
_MOST_TEXT: Final = 300
"""Characters of one entry: a name may have 253, and a rule any number."""

_log = structlog.get_logger("ipvsctl")


class HistoryObserver:
    """See `Observer`; to be run.

    Args:
        desired: gives names, in any thread.
        node: name of this node.
        words: what operators call the things of the firewall.
        processes: see `Kernel.read_processes`; asked in another thread.
        wall_clock: seconds since 1970.
        firewall: the one in use.
    """

    def __init__(
        self,
        desired: DesiredLookups,
        node: str,
        words: FirewallWords,
        processes: Callable[[AbstractSet[str]], Processes],
        wall_clock: Callable[[], float] = time.time,
        firewall: FirewallKind = FirewallKind.IPTABLES,
    ) -> None:
        self._desired = desired
        self._words = words
        self._processes = processes
        self._wall_clock = wall_clock
        self._daemon = uuid.uuid4().hex
        self._serial = 0
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._done: asyncio.Queue[AuditDone | SyncDone] = asyncio.Queue()
        self._tried: frozenset[str] = frozenset()
        self._last_repair: Entry | None = None
        self._repeats = Repeats(node, firewall)

    @property
    def last_repair(self) -> Entry | None:
        """The last drift that was repaired."""
        return self._last_repair

    def since(self, serial: int) -> History:
        """What was done after the entry with a serial; 0 is everything."""
        entries = tuple(e for e in self._entries if e.serial > serial)
        oldest = self._entries[0].serial if self._entries else self._serial + 1
        return History(
            daemon=self._daemon, entries=entries, lost=max(oldest - serial - 1, 0)
        )

    async def audited(self, done: AuditDone) -> None:
        """See `Observer`."""
        self._done.put_nowait(done)

    async def synced(self, done: SyncDone) -> None:
        """See `Observer`."""
        self._done.put_nowait(done)

    def problems(self) -> tuple[Problem, ...]:
        """See `Observer`: what others change again and again."""
        return self._repeats.problems(self._wall_clock())

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Observer`."""
        for problem in problems[:_MOST_OPS]:
            is_service = problem.kind is Kind.SERVICE
            services = (str(problem.ref),) if is_service else ()
            self._add(What.PROBLEM, str(problem), services)
        self._add_rest(What.PROBLEM, len(problems) - _MOST_OPS, "problems")

    async def run(self) -> None:
        """Take note until cancelled."""
        while True:
            # In no variable of ours: it has all that an audit has read.
            await self._note(await self._done.get())
            self._done.task_done()

    async def settle(self) -> None:
        """Return when all that was told has been noted."""
        await self._done.join()

    async def _note(self, done: AuditDone | SyncDone) -> None:
        report = _without_refused(done.report)
        if isinstance(done, SyncDone):
            self._note_sync(report)
        elif not done.is_first:
            tried = self._tried
            drift = await asyncio.to_thread(
                lambda: [*find_drift(report.plan, report.observed, done.changes, tried)]
            )
            await self._note_repeats(drift)
            self._note_drift(drift, report)
        failed = to_try_again(report.report)
        for failure in failed[:_MOST_OPS]:
            text = f"{failure.op.words(self._words)}: {failure.reason}"
            self._add(What.FAILED, text, self._services((failure.op,)))
        self._add_rest(What.FAILED, len(failed) - _MOST_OPS, "refused")
        self._tried = frozenset(str(f.op) for f in report.report.failed)

    def _note_sync(self, report: SyncReport) -> None:
        drains = [*_drains(report.plan, report.observed.state)]
        for what, op in drains[:_MOST_OPS]:
            self._add(what, self._text(op, report), self._services((op,)))
        self._add_rest(What.DRAIN, len(drains) - _MOST_OPS, "drains begun or ended")
        count = len(report.plan)
        if count > len(drains):
            shown = "; ".join(self._text(op, report) for op in report.plan[:2])
            more = f"; and {count - 2:,} more" if count > 2 else ""
            self._add(
                What.SYNC, f"{shown}{more}", self._services(report.plan), count=count
            )

    async def _note_repeats(self, drift: Sequence[Op]) -> None:
        repairs = {
            op.words(self._words)[:_MOST_TEXT]: op.kind for op in drift[:_MOST_REPEATS]
        }
        now_s = self._wall_clock()
        seen = None
        if self._repeats.want_look(repairs, now_s):
            seen = await asyncio.to_thread(self._processes, PROGRAMS.keys())
        self._repeats.note(repairs, now_s, seen)

    def _note_drift(self, drift: Sequence[Op], report: SyncReport) -> None:
        if not drift:
            return
        # Whose an entry or an address is takes a walk over all programs: not for every
        # sync, but somebody who looks for what broke wants to know.
        shown = drift[:_MOST_OPS]
        subjects = [op.subject for op in shown]
        owners = Owners(self._desired, frozenset(subjects))
        for op in shown:
            owner = owners.of(op.subject)
            services = (owner,) if owner else ()
            self._add(What.REPAIR, self._text(op, report), services)
        first = self._entries[-min(len(drift), _MOST_OPS)]
        self._last_repair = msgspec.structs.replace(first, count=len(drift))
        self._add_rest(What.REPAIR, len(drift) - _MOST_OPS, "repairs")
        _log.warning(
            "repaired what others changed",
            changes=len(drift),
            some=[self._text(op, report) for op in drift[:_MOST_NAMES]],
            services=[*dict.fromkeys(filter(None, map(owners.of, subjects)))][
                :_MOST_NAMES
            ],
        )

    def _text(self, op: Op, report: SyncReport) -> str:
        return f"{op.verb} {op_text(op, report.observed.state, self._words)}"

    def _services(self, ops: Sequence[Op]) -> tuple[str, ...]:
        """Some of the Services that ops are about."""
        found: dict[str, None] = {}
        for op in ops[:_MOST_OPS]:
            subject = op.subject
            if isinstance(subject, VirtualServerKey):
                server = self._desired.server(subject)
                if server is not None:
                    found[str(server.port_name.service)] = None
        return tuple(found)[:_MOST_NAMES]

    def _add_rest(self, what: What, count: int, noun: str) -> None:
        if count > 0:
            self._add(what, f"and {count:,} more {noun}", (), count=count)

    def _add(
        self, what: What, text: str, services: tuple[str, ...], *, count: int = 1
    ) -> None:
        self._serial += 1
        if len(text) > _MOST_TEXT:
            text = f"{text[:_MOST_TEXT]}..."
        self._entries.append(
            Entry(
                serial=self._serial,
                at_s=self._wall_clock(),
                what=what,
                services=services,
                text=text,
                count=count,
            )
        )


def _without_refused(report: SyncReport) -> SyncReport:
    """A report without the ops that the kernel refused: those were not done."""
    if not report.report.failed:
        return report
    refused = {id(failure.op) for failure in report.report.failed}
    done = tuple(op for op in report.plan if id(op) not in refused)
    return msgspec.structs.replace(report, plan=done)


def _drains(plan: Sequence[Op], before: NodeState) -> Iterator[tuple[What, Op]]:
    """The ops that begin a drain or end one."""
    for op in plan:
        if isinstance(op, UpdateRealServer) and not op.server.weight:
            yield What.DRAIN, op
        elif isinstance(op, DeleteRealServer):
            held = before.real_servers.get(op.virtual_server, EMPTY).get(op.key)
            if held is not None and not held.weight:
                yield What.DRAINED, op
