"""Tells the other nodes where this one takes packets in tunnels, in a Lease.

It says so when packets would be unpacked, and takes it back when they would not, so
that nobody sends what is lost. The Lease is owned by the Node, and goes with it.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tenacity import AsyncRetrying, retry_if_exception_type

from ipvsctl.cluster.objects.leases import ADDRESSES, PORT, SENDS, TUNNEL_LABEL
from ipvsctl.kube.api_messages import Meta, meta_of
from ipvsctl.kube.reflector import Pacing, Sleep
from ipvsctl.kube.resources import TUNNEL_LEASES, TUNNEL_NAMESPACE, own_node
from ipvsctl.kube.transport import Api
from ipvsctl.kube.uids import find_uid
from ipvsctl.kube.waiting import first_of
from ipvsctl.libraries.log import structlog
from ipvsctl.model.errors import ApiError, ConfigError
from ipvsctl.model.net import IPFamily
from ipvsctl.model.tunnel import TunnelEnd

SETTLE_S: Final = 15.0
"""After it has first said where it takes packets, a node sends none for so long: others
take them from Nodes that they know alone, and ask for one that they hear of."""

RECHECK_S: Final = (240.0, 360.0)
"""Seconds, by chance within, between looks at whether the Lease is still there."""

_log = structlog.get_logger("ipvsctl")


class TunnelAnnouncer:
    """Keeps the Lease of this node as its ends of tunnels are.

    Attributes:
        reason: why others do not know, a clause; "" if they do.
    """

    def __init__(
        self,
        api: Api,
        node_name: str,
        *,
        sleep: Sleep = asyncio.sleep,
        chance: Callable[[float, float], float] = random.uniform,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._node_name = node_name
        self._sleep = sleep
        self._chance = chance
        self._now = now
        self._ends: Mapping[IPFamily, TunnelEnd] | None = None
        self._changed = asyncio.Event()
        self.reason = ""

    def offer(self, ends: Mapping[IPFamily, TunnelEnd]) -> None:
        """Take note of the ends that stand; without any, others are to send nothing."""
        if ends != self._ends:
            self._ends = dict(ends)
            self._changed.set()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            if self._ends:
                await self._pause(self._chance(*RECHECK_S))
            else:
                await self._changed.wait()
            retrying = AsyncRetrying(
                wait=Pacing(lambda: False),
                retry=retry_if_exception_type((ApiError, ConfigError)),
                sleep=self._sleep,
            )
            await retrying(self._tell)

    async def _tell(self) -> None:
        self._changed.clear()
        ends = self._ends or {}
        try:
            if not ends:
                await self._withdraw()
            elif not await self._say(ends, is_sending=False):
                self.reason = ""
                await self._pause(SETTLE_S)
                if not self._changed.is_set():
                    await self._say(ends, is_sending=True)
        except (ApiError, ConfigError) as error:
            # It may have changed; it is looked at again in any case.
            self._changed.set()
            if self.reason != str(error):
                self.reason = str(error)
                _log.warning(
                    "tunnel not announced",
                    resource="leases",
                    verb="get, create, update and delete",
                    reason=self.reason,
                )
            raise
        self.reason = ""

    async def _say(
        self, ends: Mapping[IPFamily, TunnelEnd], *, is_sending: bool
    ) -> bool:
        """Write the Lease, unless it says so already.

        Returns:
            Whether others know that this node sends.
        """
        found = await self._read()
        said = {} if found is None else found.annotations or {}
        wanted = {
            ADDRESSES: ",".join(str(end.address) for _, end in sorted(ends.items())),
            PORT: str(next(iter(ends.values())).port),
        }
        is_known = wanted.items() <= said.items()
        was_sending = is_known and said.get(SENDS) == "true"
        if was_sending or (is_known and not is_sending):
            return was_sending
        wanted[SENDS] = "true" if is_sending else "false"
        method, path = "POST", TUNNEL_LEASES
        version = None
        if found is not None:
            method, path = "PUT", self._path
            version = found.resource_version
        body = self._lease(wanted, version, await self._uid())
        async with self._api.request(method, path, body=body) as answer:
            await answer.read()
        _log.info(
            "tunnel announced",
            addresses=wanted[ADDRESSES],
            port=wanted[PORT],
            sends=is_sending,
        )
        return is_sending

    async def _withdraw(self) -> None:
        try:
            async with self._api.request("DELETE", self._path) as answer:
                await answer.read()
        except ApiError as error:
            if error.status != 404:
                raise
        else:
            _log.warning("tunnel withdrawn")

    async def _read(self) -> Meta | None:
        try:
            async with self._api.request("GET", self._path) as answer:
                return meta_of(await answer.read())
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def _uid(self) -> str:
        """The Node's uid; "" if there is none."""
        node = own_node(self._node_name)
        return await find_uid(self._api, node.path, node.selectors)

    async def _pause(self, seconds: float) -> None:
        """Wait for so long, or until something has changed."""
        await first_of(self._sleep(seconds), self._changed.wait())

    @property
    def _path(self) -> str:
        return f"{TUNNEL_LEASES}/{self._node_name}"

    def _lease(
        self, said: Mapping[str, str], version: str | None, uid: str
    ) -> dict[str, Any]:
        owner = {
            "apiVersion": "v1",
            "kind": "Node",
            "name": self._node_name,
            "uid": uid,
        }
        metadata = {
            "name": self._node_name,
            "namespace": TUNNEL_NAMESPACE,
            "labels": {TUNNEL_LABEL: "true"},
            "annotations": dict(said),
            **({"ownerReferences": [owner]} if uid else {}),
            **({"resourceVersion": version} if version else {}),
        }
        spec = {
            "holderIdentity": self._node_name,
            "acquireTime": self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": spec,
        }
