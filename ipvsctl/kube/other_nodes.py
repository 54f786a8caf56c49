"""The addresses of the other Nodes, which no VIP may be.

They are listed now and then instead of watched: every Node changes every few minutes
without its addresses doing so, and is told whole (15 kB and more, most of it names of
images), which for a watch on each of 5,000 nodes adds up to a gigabyte a second.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

from tenacity import AsyncRetrying, retry_if_exception_type

from ipvsctl.cluster.events import Upserted
from ipvsctl.kube.list_watch import ListWatch
from ipvsctl.kube.reflector import Pacing, Put, Sleep
from ipvsctl.kube.resources import Resource, other_nodes, own_node
from ipvsctl.kube.transport import Api
from ipvsctl.kube.waiting import first_of
from ipvsctl.libraries.log import structlog
from ipvsctl.model.errors import ApiError, ConfigError

PERIOD_S: Final = 300.0
"""Least seconds between two lists."""

PERIOD_S_A_NODE: Final = 1.0
"""Seconds for each Node there is, so that all nodes together list a Node at most as
often in a second as there are nodes, whatever the size of the cluster."""

NEWCOMER_S: Final = (0.0, 2.0)
"""Seconds before a Node is asked for that others have heard of at the same time."""

_log = structlog.get_logger("ipvsctl")


class OtherNodes:
    """Lists the other Nodes for as long as the process lives.

    Attributes:
        settled: set when they are known, or when access is forbidden.
    """

    def __init__(
        self,
        api: Api,
        node_name: str,
        put: Put,
        *,
        sleep: Sleep = asyncio.sleep,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._api = api
        self._resource = other_nodes(node_name)
        self._node_name = node_name
        self._known: set[str] = set()
        self._newcomers: asyncio.Queue[str] = asyncio.Queue()
        self._put = put
        self._sleep = sleep
        self._chance = chance
        self._reason = ""
        self.settled = asyncio.Event()

    def connected(self) -> None:
        """See `list_watch.Listener`."""

    def heard(self) -> None:
        """See `list_watch.Listener`."""

    def ask_for(self, name: str) -> None:
        """Have a Node listed soon, unless it is known."""
        if name not in {self._node_name, *self._known}:
            self._newcomers.put_nowait(name)

    async def run(self) -> None:
        """List until cancelled."""
        while True:
            count = await self._list_patiently(self._resource)
            period = max(PERIOD_S, count * PERIOD_S_A_NODE)
            await first_of(
                self._sleep(period * self._chance(0.8, 1.2)), self._list_newcomers()
            )

    async def _list_newcomers(self) -> None:
        while True:
            name = await self._newcomers.get()
            if name not in self._known:
                await self._sleep(self._chance(*NEWCOMER_S))
                await self._list_patiently(own_node(name))

    async def _list_patiently(self, resource: Resource) -> int:
        retrying = AsyncRetrying(
            wait=Pacing(lambda: False),
            retry=retry_if_exception_type((ApiError, ConfigError)),
            sleep=self._sleep,
        )
        count: int = await retrying(self._list_once, resource)
        return count

    async def _list_once(self, resource: Resource) -> int:
        names: set[str] = set()
        try:
            listed = ListWatch(self._api, resource, self).objects()
            async with aclosing(listed) as events:
                async for event in events:
                    await self._put(event)
                    if isinstance(event, Upserted):
                        names.add(event.ref.name)
        except (ApiError, ConfigError) as error:
            if str(error) != self._reason:
                self._reason = str(error)
                _log.warning(
                    "other nodes unknown",
                    resource="nodes",
                    verb="list and watch",
                    reason=self._reason,
                )
            if isinstance(error, ApiError) and error.status == 403:
                self.settled.set()
            raise
        self._reason = ""
        self._known = names if resource is self._resource else self._known | names
        self.settled.set()
        return len(names)
