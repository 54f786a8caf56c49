"""Sees that somebody else has changed the kernel, and has it audited at once.

Links, addresses and nftables the kernel tells of. Of IPVS and of ipsets it tells
nothing, so their numbers are looked at, which is cheap: a count that IPVS keeps, and
the headers of the sets. What changes no number (a weight, a rule of iptables) is for
the next audit to find.
"""

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.worker import Priority, Worker
from ipvsctl.kernel.notices import Notices
from ipvsctl.libraries.log import structlog
from ipvsctl.model.errors import KernelError, WireError
from ipvsctl.model.glance import Notice, NoticeKind
from ipvsctl.plan.diff.ops import Report
from ipvsctl.plan.diff.surplus import Surplus, matters, surplus

GLANCE_S: Final = 1.0
"""Between two glances: less than a millisecond of each second."""

GATHER_S: Final = 0.05
"""From a notice to the audit: a flush of addresses is thousands of them."""

QUIET_S: Final = 60.0
"""What was seen longer ago is forgotten."""

_FIRST_PAUSE_S: Final = 0.5
_MOST_DOUBLINGS: Final = 16
_AT_ONCE: Final = 3
"""Of a kind, in a minute: who tries something does it more than once."""

_REOPEN_S: Final = 5.0
_MOST_NOTICES: Final = 1000
_MOST_SEEN: Final = 20
"""Kinds that are told apart; who changes more than these in a minute changes all."""

_NUMBER: Final = re.compile(r" [+-][\d,]+")

_log = structlog.get_logger("ipvsctl")


class DriftWatch:
    """Watches while it runs.

    Args:
        reconciler: knows what should be.
        worker: has the kernel.
        want_audit: has everything compared soon.
        limit_s: the longest pause between two audits that it wants; as long as the one
            between audits that come anyway.
        sleep: for so many seconds.
        clock: steady, in seconds.
    """

    def __init__(
        self,
        reconciler: Reconciler,
        worker: Worker,
        want_audit: Callable[[], None],
        limit_s: float,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._reconciler = reconciler
        self._worker = worker
        self._want_audit = want_audit
        self._limit_s = limit_s
        self._sleep = sleep
        self._clock = clock
        self._usual: Surplus | None = None
        self._audited: Surplus | None = None
        self._audits = 0
        self._is_left = False
        self._seen: list[tuple[float, str]] = []
        self._notices: list[Notice] = []
        self._heard = asyncio.Event()
        self._is_deaf = False
        self._failure = ""

    async def run(self) -> None:
        """Watch until cancelled; after the first audit."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._glance_forever(), name="glances")
            tasks.create_task(self._hear_forever(), name="notices")

    def audited(self, report: Report, *, is_repair: bool) -> None:
        """An audit has ended.

        Args:
            report: of its ops.
            is_repair: it has changed something.
        """
        self._is_left = not is_repair
        if report.failed:
            self.forget()

    def forget(self) -> None:
        """Something of ours was not done: what there is then is usual."""
        self._usual = self._audited = None

    @contextmanager
    def auditing(self) -> Iterator[None]:
        """An audit is under way: what it changes is nobody's drift."""
        self._audits += 1
        try:
            yield
        finally:
            self._audits -= 1

    async def _glance_forever(self) -> None:
        while True:
            # At once after the first audit: what is usual is what that has left.
            if not self._audits:
                await self._glance()
            await self._sleep(GLANCE_S)

    async def _glance(self) -> None:
        try:
            seen = await self._worker.do(Priority.LOOK, self._look)
        except (KernelError, WireError) as error:
            # The next audit says so, too, if it is more than this.
            self._note_failure(str(error))
            return
        self._note_failure("")
        # One that has begun since may be what is seen.
        if self._audits:
            return
        if self._usual is None:
            self._usual = seen
        change = seen.differs(self._usual)
        if not change:
            self._audited = None
        elif self._is_left and self._audited and not seen.differs(self._audited):
            # An audit has seen it, and left it as it is.
            self._usual, self._audited = seen, None
        else:
            self._audited = seen
            await self._see(change, _NUMBER.sub("", change))

    def _look(self) -> Surplus:
        reconciler = self._reconciler
        return surplus(reconciler.kernel.glance(), reconciler.desired)

    async def _hear_forever(self) -> None:
        while True:
            try:
                notices = self._reconciler.kernel.open_notices()
            except KernelError as error:
                self._note_failure(str(error))
            else:
                if notices is None:
                    return
                with closing(notices), self._listening(notices):
                    await self._hear()
            await self._sleep(_REOPEN_S)

    async def _hear(self) -> None:
        """Have an audit when something matters; until nothing can be heard."""
        while not self._is_deaf:
            await self._heard.wait()
            await self._sleep(GATHER_S)
            self._heard.clear()
            heard, self._notices = self._notices, []
            first = functools.partial(self._first, tuple(heard))
            try:
                found = await self._worker.do(Priority.LOOK, first)
            except KernelError as error:
                self._note_failure(str(error))
                continue
            if found is not None:
                await self._see(str(found), found.kind)

    @contextmanager
    def _listening(self, notices: Notices) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        self._is_deaf = False

        def read() -> None:
            try:
                found = notices.read()
            except (KernelError, WireError) as error:
                self._note_failure(str(error))
                self._is_deaf = True
                loop.remove_reader(notices.fileno())
                # What was told meanwhile is lost.
                found = [Notice(kind=NoticeKind.LOST)]
            room = _MOST_NOTICES - len(self._notices)
            # Of so many one will do.
            self._notices += found[: max(room, 0)]
            if found:
                self._heard.set()

        loop.add_reader(notices.fileno(), read)
        try:
            yield
        finally:
            loop.remove_reader(notices.fileno())

    def _first(self, notices: tuple[Notice, ...]) -> Notice | None:
        """One that an audit would see, if any."""
        reconciler = self._reconciler
        vip_link, desired = reconciler.config.vip_link, reconciler.desired
        for notice in notices:
            if not matters(notice, vip_link, desired, reconciler.context):
                continue
            is_link = notice.kind is NoticeKind.LINK_DOWN
            # We have made it meanwhile: a new one is down at first.
            if not (is_link and reconciler.kernel.is_link_up(notice.link)):
                return notice
        return None

    async def _see(self, what: str, kind: str) -> None:
        """Have an audit; the more of a kind there was of late, the later.

        Args:
            what: was seen.
            kind: the same again and again is a fight with another program.
        """
        now_s = self._clock()
        self._seen = [(s, k) for s, k in self._seen if now_s - s < QUIET_S]
        again = sum(1 for _, k in self._seen if k == kind)
        count = again if len(self._seen) < _MOST_SEEN else len(self._seen)
        self._seen.append((now_s, kind))
        pause_s = 0.0
        if count >= _AT_ONCE:
            doublings = min(count - _AT_ONCE, _MOST_DOUBLINGS)
            pause_s = min(_FIRST_PAUSE_S * 2**doublings, self._limit_s)
        _log.info("drift seen", what=what, audit_in_s=pause_s)
        if pause_s:
            await self._sleep(pause_s)
        self._want_audit()

    def _note_failure(self, reason: str) -> None:
        if reason and reason != self._failure:
            _log.warning("drift is found by audits alone", reason=reason)
        self._failure = reason
