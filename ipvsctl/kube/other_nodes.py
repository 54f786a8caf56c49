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

from ipvsctl.kube.list_watch import ListWatch
from ipvsctl.kube.reflector import Pacing, Put, Sleep
from ipvsctl.kube.resources import other_nodes
from ipvsctl.kube.transport import Api
from ipvsctl.libraries.log import structlog
from ipvsctl.model.errors import ApiError, ConfigError

PERIOD_S: Final = 300.0
"""Least seconds between two lists."""

PERIOD_S_A_NODE: Final = 1.0
"""Seconds for each Node there is, so that all nodes together list a Node at most as
often in a second as there are nodes, whatever the size of the cluster."""

_log = structlog.get_logger("ipvsctl")


class OtherNodes:
    """Lists the other Nodes for as long as the process lives."""

    def __init__(
        self,
        api: Api,
        node_name: str,
        put: Put,
        *,
        sleep: Sleep = asyncio.sleep,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._list = ListWatch(api, other_nodes(node_name), self)
        self._put = put
        self._sleep = sleep
        self._chance = chance
        self._reason = ""
        self.settled = asyncio.Event()

    def connected(self) -> None:
        """See `list_watch.Listener`."""

    def heard(self) -> None:
        """See `list_watch.Listener`."""

    async def run(self) -> None:
        """List until cancelled."""
        while True:
            retrying = AsyncRetrying(
                wait=Pacing(lambda: False),
                retry=retry_if_exception_type((ApiError, ConfigError)),
                sleep=self._sleep,
            )
            count: int = await retrying(self._list_once)
            period = max(PERIOD_S, count * PERIOD_S_A_NODE)
            await self._sleep(period * self._chance(0.8, 1.2))

    async def _list_once(self) -> int:
        count = 0
        try:
            async with aclosing(self._list.objects()) as events:
                async for event in events:
                    await self._put(event)
                    count += 1
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
        self.settled.set()
        return count
