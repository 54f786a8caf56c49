"""Node ports on localhost: the sockets that listen there, and who relays for them.

Others decide whose a listener is and which endpoints it has. Nothing is opened, and no
thread started, before there is one.
"""

import asyncio
import resource
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from ipvsctl.libraries.log import structlog
from ipvsctl.model.config import Listener
from ipvsctl.model.problem import Problem
from ipvsctl.model.relay import ListenerState, RelayFigures
from ipvsctl.plan.service.program import LocalhostPort
from ipvsctl.plan.union.localhost_ports import listener_problem
from ipvsctl.serve.listen import listen_at
from ipvsctl.serve.relay.thread import RelayThread

MOST_CONNECTIONS: Final = 20_000
"""At once, of all Services; each takes two descriptors and some kilobytes."""

MOST_OF_ONE: Final = 10_000
"""Of one listener: no Service takes them all, nor all ports that the node has for
connections to one endpoint."""

_LEFT: Final = 512
"""Descriptors that are the daemon's own, whatever is relayed."""

_OPENED_AT_ONCE: Final = 64
"""Listeners that are opened before the loop does something else: some ms."""

_RETRY_S: Final = 2.0
"""When to try again at ports in use: the daemon before this one may be about to end."""

_STOP_S: Final = 0.5

_log = structlog.get_logger("ipvsctl")


class LocalhostRelay:
    """The listeners on localhost of this node; none until told of some.

    Args:
        most: connections at once, of all Services.
        most_of_one: of one listener.
        start: makes the thread.
    """

    def __init__(
        self,
        most: int = MOST_CONNECTIONS,
        most_of_one: int = MOST_OF_ONE,
        start: Callable[[int, int], RelayThread] = RelayThread,
    ) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._start = start
        self._thread: RelayThread | None = None
        self._ports: dict[Listener, LocalhostPort] = {}
        self._sockets: dict[Listener, socket.socket] = {}
        self._refused: dict[Listener, str] = {}
        self._retry: asyncio.TimerHandle | None = None

    def problems(self) -> tuple[Problem, ...]:
        """The Services that are not served at a listener of theirs; sorted."""
        return tuple(
            sorted(
                listener_problem(self._ports[listener], reason)
                for listener, reason in self._refused.items()
            )
        )

    def states(self) -> Mapping[Listener, ListenerState]:
        """Every listener that is wanted, as it is now."""
        thread = self._thread
        found = {}
        for listener in self._ports:
            served = None if thread is None else thread.find(listener)
            found[listener] = ListenerState(
                refused=self._refused.get(listener, ""),
                connections={} if served is None else dict(served.counts),
            )
        return found

    def figures(self) -> RelayFigures | None:
        """How much has been relayed; None if nothing was ever to be."""
        return None if self._thread is None else self._thread.figures()

    async def replace(self, ports: Mapping[Listener, LocalhostPort]) -> None:
        """Have these listeners and no others, and try again those that were refused.

        All of them anew, if the thread has ended by a fault of its own.
        """
        if self._thread is not None and not self._thread.is_alive:
            await self.close()
        changed: dict[Listener, LocalhostPort | None] = {
            listener: None for listener in self._ports if listener not in ports
        }
        changed |= {
            listener: port
            for listener, port in ports.items()
            if listener in self._refused
            or ((known := self._ports.get(listener)) is not port and known != port)
        }
        await self.update(changed)

    async def update(self, changed: Mapping[Listener, LocalhostPort | None]) -> None:
        """Have other endpoints at these listeners, or have them no more (None)."""
        opened = 0
        # What goes may have what comes wait for a descriptor.
        for listener in sorted(changed, key=lambda one: changed[one] is not None):
            port = changed[listener]
            if port is None:
                self._remove(listener)
                continue
            opened += self._put(listener, port)
            if opened >= _OPENED_AT_ONCE:
                opened = 0
                await asyncio.sleep(0)
        self._retry_later()

    async def settle(self) -> None:
        """Return when the thread has done what it was told so far."""
        if self._thread is not None:
            done = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._thread.do(lambda: loop.call_soon_threadsafe(done.set))
            await done.wait()

    async def close(self) -> None:
        """Close every listener, and reset all connections."""
        if self._retry is not None:
            self._retry.cancel()
        thread = self._thread
        if thread is None:
            return
        for opened in self._sockets.values():
            thread.shut(opened)
        self._sockets.clear()
        self._ports.clear()
        self._refused.clear()
        self._thread = None
        await asyncio.to_thread(thread.stop, _STOP_S)

    def _put(self, listener: Listener, port: LocalhostPort) -> bool:
        """Serve a port at a listener; whether a socket was opened for it."""
        self._ports[listener] = port
        self._refused.pop(listener, None)
        try:
            thread = self._thread = self._thread or self._started()
        except (RuntimeError, OSError) as error:
            self._refused[listener] = f"cannot relay: {error}"
            return False
        known = self._sockets.get(listener)
        if known is not None and not port.is_served:
            # Clients are refused as by a virtual server without real servers.
            thread.shut(self._sockets.pop(listener))
        opened = None
        if known is None and port.is_served:
            opened = self._open(listener)
        thread.serve(listener, port, opened)
        return opened is not None

    def _retry_later(self) -> None:
        if self._refused and self._retry is None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(_RETRY_S, self._try_again)

    def _try_again(self) -> None:
        """Try some of those that were refused; each audit tries all."""
        self._retry = None
        for listener in tuple(self._refused)[:_OPENED_AT_ONCE]:
            self._put(listener, self._ports[listener])
        self._retry_later()

    def _open(self, listener: Listener) -> socket.socket | None:
        if len(self._sockets) >= _free_descriptors() // 2:
            self._refused[listener] = "cannot listen: too few file descriptors"
            return None
        try:
            opened = listen_at(listener.address, listener.port)
        except OSError as error:
            self._refused[listener] = f"cannot listen: {error.strerror or error}"
            return None
        opened.settimeout(0)
        self._sockets[listener] = opened
        self._set_room()
        return opened

    def _remove(self, listener: Listener) -> None:
        self._ports.pop(listener, None)
        self._refused.pop(listener, None)
        thread = self._thread
        if thread is None:
            return
        opened = self._sockets.pop(listener, None)
        if opened is not None:
            thread.shut(opened)
            self._set_room()
        thread.forget(listener)

    def _started(self) -> RelayThread:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 3 * self._most + _LEFT
        if soft < wanted:
            with suppress(OSError, ValueError):
                least = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, least), hard))
        started = self._start(self._most, self._most_of_one)
        _log.info("relay of node ports on localhost", connections=self._most)
        return started

    def _set_room(self) -> None:
        """Leave descriptors for the rest of the daemon."""
        if self._thread is not None:
            room = (_free_descriptors() - len(self._sockets)) // 2
            self._thread.most = max(1, min(self._most, room))


def _free_descriptors() -> int:
    """How many are not the daemon's own."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else max(2, soft - _LEFT)
