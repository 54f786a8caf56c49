"""The API server as a source of events."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Final

import msgspec

from ipvsctl.cluster.events import Event, Synced, Upserted
from ipvsctl.kube.other_nodes import OtherNodes
from ipvsctl.kube.pulse import Pulse
from ipvsctl.kube.reflector import Put, Reflector, Sleep
from ipvsctl.kube.resources import (
    Resource,
    endpoint_slices,
    own_node,
    services,
    tunnel_leases,
)
from ipvsctl.kube.servers import Servers
from ipvsctl.kube.transport import Api
from ipvsctl.libraries.log import structlog
from ipvsctl.model.objects import TunnelOffer
from ipvsctl.model.watch_health import WatchHealth

NODES_WAIT_S: Final = 30.0
"""How long Nodes may keep everything else waiting. Without its Node a node serves all
the same, but for node ports and what depends on its zone."""

_QUEUE_EVENTS: Final = 256

_log = structlog.get_logger("ipvsctl")


class ApiSource:
    """Follows Services, EndpointSlices, this node's Node, the other Nodes, the server.

    Args:
        api: the server.
        node_name: of this node.
        proxy_name: see `ProxyConfig.service_proxy_name`.
        has_tunnel: follow where nodes take packets in tunnels, too.
        is_patient: false ends it with the first error instead of asking again.
    """

    def __init__(
        self,
        api: Api,
        node_name: str,
        proxy_name: str = "",
        *,
        has_tunnel: bool = False,
        is_patient: bool = True,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._sleep = sleep
        self._events: asyncio.Queue[Event | Exception] = asyncio.Queue(_QUEUE_EVENTS)

        def reflect(
            resource: Resource, *, is_patient: bool, put: Put = self._events.put
        ) -> Reflector:
            return Reflector(
                api,
                resource,
                put,
                proxy_name=proxy_name,
                is_patient=is_patient,
                sleep=sleep,
                clock=clock,
            )

        self._needed = tuple(
            reflect(resource, is_patient=is_patient)
            for resource in (services(proxy_name), endpoint_slices(proxy_name))
        )
        # What may be missing ends nothing.
        self._node = reflect(own_node(node_name), is_patient=True)
        self._offers = (
            reflect(tunnel_leases(), is_patient=True, put=self._put_offer)
            if has_tunnel
            else None
        )
        self._pulse = Pulse(api, self._silent_s, sleep=sleep, clock=clock)
        self._other_nodes = OtherNodes(api, node_name, self._events.put, sleep=sleep)
        self._servers = Servers(api, self._events.put, sleep=sleep)

    @property
    def description(self) -> str:
        """The server that is read, for logs."""
        return self._api.description

    def health(self) -> tuple[WatchHealth, ...]:
        """How each watch is doing; the one of Nodes is that of this node's Node."""
        answered_s, reason = self._pulse.answered_s, self._pulse.reason
        needed = (
            msgspec.structs.replace(
                health, answered_s=answered_s, reason=health.reason or reason
            )
            for health in (r.health() for r in self._needed)
        )
        optional = (self._node, self._offers)
        return (*needed, *(r.health() for r in optional if r is not None))

    async def _put_offer(self, event: Event) -> None:
        await self._events.put(event)
        for offer in event.values if isinstance(event, Upserted) else ():
            if isinstance(offer, TunnelOffer):
                # It counts at an address of its Node alone.
                self._other_nodes.ask_for(offer.node)

    def _silent_s(self) -> float | None:
        """For how long one of the watches has told nothing; None if one is away."""
        watches = [r.health() for r in self._needed]
        if not all(watch.is_connected for watch in watches):
            return None
        return max(watch.heard_s or 0.0 for watch in watches)

    async def events(self) -> AsyncGenerator[Event, None]:
        """The complete state, `Synced`, then changes.

        Raises:
            ConfigError: there are no credentials at the start.
            ApiError: the server cannot be asked, unless it is patient.
        """
        await self._api.check()
        tasks = [
            asyncio.create_task(self._guard(work), name=name)
            for name, work in (
                ("servers", self._servers.run()),
                *((r.resource.plural, r.run()) for r in self._needed),
                ("node", self._node.run()),
                ("other nodes", self._other_nodes.run()),
                *(() if self._offers is None else (("leases", self._offers.run()),)),
                ("pulse", self._pulse.run()),
                ("complete", self._tell_complete()),
            )
        ]
        try:
            while True:
                event = await self._events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _guard(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  # raised again where it is read
            await self._events.put(error)

    async def _nodes_settled(self) -> None:
        await self._servers.settled.wait()
        await self._node.settled.wait()
        await self._other_nodes.settled.wait()
        if self._offers is not None:
            await self._offers.settled.wait()

    async def _tell_complete(self) -> None:
        for reflector in self._needed:
            await reflector.complete.wait()
        nodes = asyncio.ensure_future(self._nodes_settled())
        patience = asyncio.ensure_future(self._sleep(NODES_WAIT_S))
        try:
            await asyncio.wait({nodes, patience}, return_when=asyncio.FIRST_COMPLETED)
            if not nodes.done():
                _log.warning("go on without nodes", waited_s=NODES_WAIT_S)
        finally:
            patience.cancel()
            nodes.cancel()
            await asyncio.gather(patience, nodes, return_exceptions=True)
        await self._events.put(Synced())
