"""What the daemon answers on its control socket: `status`, `diff`, `explain`."""

import asyncio
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from typing import Final

import msgspec

from ipvsctl import __version__
from ipvsctl.cli import explain, status, sync
from ipvsctl.cli.daemon import PROTOCOL
from ipvsctl.cli.encode import encode_in_steps
from ipvsctl.cluster.store import Store
from ipvsctl.controller.history import HistoryObserver
from ipvsctl.controller.look import Seen
from ipvsctl.controller.looks import View
from ipvsctl.controller.loop import Loop
from ipvsctl.controller.worker import Worker
from ipvsctl.kernel.interface import Kernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import ConfigError, IpvsctlError
from ipvsctl.model.problem import Problem
from ipvsctl.model.relay import ListenerStates
from ipvsctl.model.source_state import SourceState, source_state
from ipvsctl.model.status import LoopStatus
from ipvsctl.model.watch_health import WatchHealth
from ipvsctl.serve.control import Answer, CannotTell, Pieces
from ipvsctl.sources.source import Source

_LOOK_S: Final = 0.5
_MOST_BUSY_S: Final = 2.5
"""A call to the kernel takes milliseconds, but for that which fills an empty one."""

Steps = Generator[None, None, Pieces]


class NotReady(IpvsctlError):
    """Not every object is known yet, so nothing can be said about any."""

    def __init__(self, watches: Iterable[WatchHealth]) -> None:
        lost = "".join(f"; {w.kind}: {w.reason}" for w in watches if w.restarts)
        super().__init__(f"its first audit has not ended yet{lost}")


class ControlAnswers:
    """Answers from a running loop."""

    def __init__(
        self,
        loop: Loop,
        kernel: Kernel,
        store: Store,
        source: Source,
        config: ProxyConfig,
        history: HistoryObserver,
        worker: Worker,
        listeners: Callable[[], ListenerStates] = dict,
    ) -> None:
        self._listeners = listeners
        self._history = history
        self._worker = worker
        self._reading = asyncio.Lock()
        self._loop = loop
        self._kernel = kernel
        self._store = store
        self._source = source
        self._config = config

    @property
    def by_route(self) -> Mapping[str, Answer]:
        """Every answer, by route."""
        return {
            "/v1/status": self._status,
            "/v1/diff": self._diff,
            "/v1/explain": self._explain,
            "/v1/events": self._events,
            "/v1/names": self._names,
            "/v1/version": self._version,
        }

    async def _status(self, query: Mapping[str, str]) -> Pieces:
        selection = status.selection_of(query)

        def view(seen: Seen) -> Steps:
            # Of the moment after the look, and not of that when it is shown.
            source, loop = self._source_state(), self._loop_status()
            uncompiled = self._loop.uncompiled_problems()
            listeners = self._listeners()

            def answer() -> Steps:
                # In no variable, so that encoding can let go of it piece by piece.
                return (
                    yield from encode_in_steps(
                        (
                            yield from status.describe_in_steps(
                                seen,
                                self._store,
                                self._config,
                                source=source,
                                selection=selection,
                                loop=loop,
                                listeners=listeners,
                                problems=_together(seen.problems, uncompiled),
                            )
                        ),
                        "services",
                    )
                )

            return answer()

        return await self._look(("status", selection), view)

    async def _diff(self, query: Mapping[str, str]) -> Pieces:
        scope = sync.Scope(
            name=query.get("name", ""), as_data=query.get("ops") == "data"
        )
        # A name that is none is told before anything is read.
        _ = scope.target

        def view(seen: Seen) -> Steps:
            source = self._source_state()
            uncompiled = self._loop.uncompiled_problems()

            def answer() -> Steps:
                problems = _together(seen.problems, uncompiled)
                found = yield from sync.diff_answer_in_steps(
                    seen, problems, source, self._store, scope
                )
                return (msgspec.json.encode(found),)

            return answer()

        return await self._look(("diff", scope), view)

    async def _explain(self, query: Mapping[str, str]) -> Pieces:
        question = explain.read_question(query.get("question", ""))
        addresses = explain.addresses_of(question.target, self._store)
        # However many ask: each reading may run iptables.
        async with self._reading:
            neighbours = await asyncio.to_thread(
                self._kernel.read_neighbours, addresses
            )

        def view(seen: Seen) -> Steps:
            source, loop = self._source_state(), self._loop_status()
            uncompiled = self._loop.uncompiled_problems()
            listeners = self._listeners()

            def answer() -> Steps:
                found = yield from explain.explain_in_steps(
                    seen,
                    self._store,
                    self._config,
                    neighbours,
                    question,
                    explain.Surroundings(
                        source=source,
                        loop=loop,
                        listeners=listeners,
                        problems=_together(seen.problems, uncompiled),
                    ),
                )
                return (msgspec.json.encode(found),)

            return answer()

        return await self._look(("explain", question), view)

    async def _look(self, question: Hashable, view: View) -> Pieces:
        """Answer a question about this moment.

        Raises:
            NotReady: before the first audit.
            CannotTell: something else has the kernel, and does not end.
        """
        if not self._loop.state.audits:
            raise NotReady(self._source.health())
        answer = asyncio.ensure_future(self._loop.looks.ask(question, view))
        try:
            while not (await asyncio.wait({answer}, timeout=_LOOK_S))[0]:
                busy_s = self._worker.busy_s()
                if busy_s > _MOST_BUSY_S:
                    raise CannotTell(f"hangs: in one call for {busy_s:.0f} s")
        finally:
            answer.cancel()
        return answer.result()

    async def _events(self, query: Mapping[str, str]) -> Pieces:
        since = query.get("since") or "0"
        if not (since.isascii() and since.isdigit()):
            raise ConfigError(field="since", value=since, reason="no number")
        return (msgspec.json.encode(self._history.since(int(since))),)

    async def _names(self, _query: Mapping[str, str]) -> Pieces:
        names = await asyncio.to_thread(lambda: sorted(map(str, self._store.refs())))
        return (msgspec.json.encode(names),)

    async def _version(self, _query: Mapping[str, str]) -> Pieces:
        return (msgspec.json.encode({"version": __version__, "protocol": PROTOCOL}),)

    def _source_state(self) -> SourceState:
        return source_state(
            self._source.description,
            self._source.health(),
            doubts=self._store.vouched().doubts,
        )

    def _loop_status(self) -> LoopStatus:
        state = self._loop.state
        return LoopStatus(
            audited_s_ago=self._loop.state.audited_s_ago(),
            audits=state.audits,
            syncs=state.syncs,
            failed_ops=state.failed_ops,
            sync_period_s=self._config.sync_period_s,
            last_repair=self._history.last_repair,
            read_ages_s=self._loop.state.read_ages_s(),
        )


def _together(*some: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """All these problems, sorted, each thing once."""
    return tuple(sorted({problem for problems in some for problem in problems}))
