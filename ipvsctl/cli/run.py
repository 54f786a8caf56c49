"""`run`: the daemon."""

import asyncio
import os
import signal
import threading
from collections.abc import (
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp

from ipvsctl import __version__
from ipvsctl.cli import allocator, interpreter
from ipvsctl.cli.control_answers import ControlAnswers
from ipvsctl.cli.errors import ExitStatus
from ipvsctl.cli.event_loop import LoopMishaps, started_threads
from ipvsctl.cluster.store import Store
from ipvsctl.controller.conntrack_room import ConntrackRoom
from ipvsctl.controller.events import EventsObserver, Recorder
from ipvsctl.controller.gauges import Gauges
from ipvsctl.controller.health_checks import HealthChecksObserver
from ipvsctl.controller.history import HistoryObserver
from ipvsctl.controller.http_routes import HttpRoutes
from ipvsctl.controller.localhost_ports import LocalhostPortsObserver
from ipvsctl.controller.loop import Loop
from ipvsctl.controller.metrics import MetricsObserver
from ipvsctl.controller.observers import Observers
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.controller.refused_settings import RefusedSettings
from ipvsctl.controller.tunnel_offers import Announcer, TunnelOffers
from ipvsctl.controller.unread_parts import UnreadParts
from ipvsctl.controller.worker import ThreadWorker
from ipvsctl.kernel.interface import Kernel
from ipvsctl.libraries.log import structlog
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import IpvsctlError
from ipvsctl.plan.report.findings import Finding, Severity
from ipvsctl.serve.control import Answer, control_socket
from ipvsctl.serve.health_checks import HealthCheckServer
from ipvsctl.serve.metric_table import BUILD_INFO
from ipvsctl.serve.metrics import Metrics
from ipvsctl.serve.relay.relay import LocalhostRelay
from ipvsctl.serve.request_metrics import request_trace
from ipvsctl.sources.source import Source

_LEAVE_S: Final = 1.5
"""How long a call to the kernel may keep the process from ending. Cut short, it leaves
a prefix of its plan, which is a legal state."""

_log = structlog.get_logger("ipvsctl")


class Tellers(NamedTuple):
    """Those who tell others about this node, where there is somebody to tell.

    Attributes:
        recorder: is told problems.
        announcer: is told the ends of tunnels.
    """

    recorder: Recorder | None = None
    announcer: Announcer | None = None


NOBODY: Final = Tellers()


class Daemon:
    """One node's loop, and all that tells others about it.

    Attributes:
        loop: its tasks.
        metrics: to which others may add.
    """

    def __init__(
        self,
        *,
        kernel: Kernel,
        store: Store,
        config: ProxyConfig,
        source: Source,
        recorder: Recorder | None = None,
        announcer: Announcer | None = None,
    ) -> None:
        self._recorder = recorder
        self._announcer = announcer
        self._store = store
        self._config = config
        self._source = source
        self._reconciler = Reconciler(
            kernel=kernel, config=config, store=store, lasts=True
        )
        capabilities = kernel.capabilities()
        self.metrics = metrics = Metrics()
        release = ".".join(map(str, capabilities.release))
        firewall = capabilities.firewall.value
        metrics.set(BUILD_INFO, __version__, release, firewall, to=1)
        self._metrics = MetricsObserver(
            metrics,
            self._reconciler.desired,
            capabilities.families,
            config.serve.service_metrics,
        )
        self._health_checks = HealthCheckServer(self._is_healthy)
        self._relay = LocalhostRelay()
        self._history = HistoryObserver(
            self._reconciler.desired,
            self._reconciler.context.name,
            kernel.words,
            kernel.read_processes,
            firewall=capabilities.firewall,
        )
        self._observer = Observers(
            (
                self._history,
                HealthChecksObserver(self._health_checks, config),
                LocalhostPortsObserver(self._relay),
                self._metrics,
                RefusedSettings(self._reconciler.context.name),
                ConntrackRoom(self._reconciler.context.name),
                UnreadParts(self._reconciler.context.name, kernel.words),
                *(() if recorder is None else (EventsObserver(recorder),)),
                *(
                    ()
                    if announcer is None
                    else (TunnelOffers(announcer, self._reconciler.context.name),)
                ),
                interpreter.SettlingObserver(),
            )
        )
        self._worker = ThreadWorker()
        self.loop = Loop(
            reconciler=self._reconciler,
            worker=self._worker,
            source=source,
            config=config,
            observer=self._observer,
        )
        self._answers = ControlAnswers(
            self.loop,
            kernel,
            store,
            source,
            config,
            self._history,
            self._worker,
            self._relay.states,
        )
        self._endpoints = HttpRoutes(
            loop=self.loop,
            store=store,
            source=source,
            config=config,
            metrics=metrics,
            gauges=Gauges(
                metrics,
                self.loop,
                self._reconciler,
                store,
                relayed=self._relay.figures,
            ),
        )

    @property
    def answers(self) -> Mapping[str, Answer]:
        """What the control socket answers, by route."""
        return self._answers.by_route

    async def calm(self, limit_s: float) -> float:
        """See `Worker.calm`."""
        return await self._worker.calm(limit_s)

    async def run(self) -> None:
        """Keep the kernel as desired, and answer, until cancelled.

        The first task to fail ends the others with its reason.

        Raises:
            ConfigError: it must answer at an address, and cannot.
        """
        try:
            async with (
                self._worker.running(),
                self._endpoints.served(),
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(self.loop.run(), name="loop")
                tasks.create_task(self._metrics.run(), name="metrics")
                tasks.create_task(self._history.run(), name="history")
                if self._recorder is not None:
                    tasks.create_task(self._recorder.run(), name="events")
                if self._announcer is not None:
                    tasks.create_task(self._announcer.run(), name="tunnels")
        finally:
            await self._relay.close()
            await self._health_checks.close()

    def _is_healthy(self) -> bool:
        return self.loop.is_healthy()


def warn_of(findings: Iterable[Finding]) -> None:
    """Log what is not in order before the daemon begins."""
    for finding in findings:
        if finding.severity is not Severity.OK:
            _log.warning(finding.subject, found=finding.found, advice=finding.advice)


def run(
    kernel: Kernel,
    store: Store,
    config: ProxyConfig,
    source: Source,
    socket: Path,
    tellers: Tellers = NOBODY,
    trace: Callable[[aiohttp.TraceConfig], None] | None = None,
) -> ExitStatus:
    """Run the daemon until SIGTERM or SIGINT; the kernel state stays.

    Args:
        kernel: is closed at the end.
        store: filled from `source`.
        config: of this node.
        source: what the cluster wants.
        socket: where the control socket is to be.
        tellers: tell others.
        trace: takes what counts requests to the API server.

    Raises:
        IpvsctlError: it cannot start, or not go on.
    """
    allocator.share_one_arena()
    with (
        interpreter.held_back(),
        interpreter.frequent_switches(),
        closing(kernel),
        _last_resort() as last_resort,
    ):
        capabilities = kernel.capabilities()
        daemon = Daemon(
            kernel=kernel,
            store=store,
            config=config,
            source=source,
            recorder=tellers.recorder,
            announcer=tellers.announcer,
        )
        if trace is not None:
            trace(request_trace(daemon.metrics))
        _log.info(
            "start",
            version=__version__,
            node=store.node_context().name,
            source=source.description,
            kernel=".".join(map(str, capabilities.release)),
            families=[family.label for family in capabilities.families],
            scheduler=config.scheduler,
            compatibility=config.compatibility.value,
            firewall=capabilities.firewall.value,
            firewall_reason=capabilities.firewall_reason,
            socket=str(socket),
        )
        asyncio.run(_until_signal(daemon, socket, last_resort))
    return ExitStatus.OK


async def _until_signal(
    daemon: Daemon, socket: Path, last_resort: threading.Timer
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopMishaps())
    loop.set_default_executor(started_threads())

    def leave(number: signal.Signals) -> None:
        if not stop.is_set():
            _log.info("stop", reason=number.name)
            stop.set()
            last_resort.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave, number)
    await serve(daemon, socket, stop.wait)


async def serve(
    daemon: Daemon, socket: Path, stopped: Callable[[], Awaitable[object]]
) -> None:
    """Run the daemon and its control socket until `stopped` returns.

    Raises:
        IpvsctlError: what ended the daemon.
    """
    async with control_socket(socket, daemon.answers, daemon.calm):
        running = asyncio.ensure_future(daemon.run())
        waiting = asyncio.ensure_future(stopped())
        try:
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                _raise_reason(running)
        finally:
            for task in (running, waiting):
                task.cancel()
            await asyncio.gather(running, waiting, return_exceptions=True)


def _raise_reason(ended: "asyncio.Future[None]") -> None:
    """Raise what ended the daemon; of several reasons, the first that is ours."""
    error = ended.exception()
    if isinstance(error, BaseExceptionGroup):
        ours, _ = error.split(IpvsctlError)
        if ours is not None:
            raise _first(ours) from error
        raise _first(error) from error
    if error is not None:
        raise error


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@contextmanager
def _last_resort() -> Iterator[threading.Timer]:
    """Once started, ends the process although a thread still waits for the kernel."""
    timer = threading.Timer(_LEAVE_S, os._exit, (ExitStatus.OK,))
    timer.daemon = True
    try:
        yield timer
    finally:
        timer.cancel()
