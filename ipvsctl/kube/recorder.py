"""Tells problems as Events, in its own time: no sync ever waits for it.

What cannot be told is counted and otherwise lost; the log and `ipvsctl status` have all
problems.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from ipvsctl.kube.budget import Budget
from ipvsctl.kube.event_body import API_VERSIONS, event_namespace, event_of
from ipvsctl.kube.transport import Api
from ipvsctl.kube.uids import find_uid
from ipvsctl.libraries.log import structlog
from ipvsctl.model.errors import ApiError, ConfigError
from ipvsctl.model.problem import Kind, ObjectRef, Problem

QUEUE_MAX: Final = 1000

_LISTS = {
    Kind.SERVICE: "/api/v1/namespaces/{}/services",
    Kind.ENDPOINT_SLICE: "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
}

_log = structlog.get_logger("ipvsctl")


class EventRecorder:
    """Posts Events about Services, EndpointSlices and Nodes."""

    def __init__(
        self,
        api: Api,
        node_name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._node_name = node_name
        self._clock = clock
        self._now = now
        self._budget = Budget()
        self._queue: deque[Problem] = deque()
        self._filled = asyncio.Event()
        self._reason = ""
        self.posted = 0
        self.dropped = 0

    def tell(self, problems: tuple[Problem, ...]) -> None:
        """Take problems, as many as the budget and the queue have room for."""
        for problem in problems:
            if problem.kind not in API_VERSIONS:
                continue
            key = (problem.kind, problem.ref)
            if len(self._queue) < QUEUE_MAX and self._budget.take(key, self._clock()):
                self._queue.append(problem)
                self._filled.set()
            else:
                self.dropped += 1

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            await self._filled.wait()
            while self._queue:
                await self._post(self._queue.popleft())
            self._filled.clear()

    async def _post(self, problem: Problem) -> None:
        try:
            event = event_of(
                problem,
                uid=await self._uid(problem.kind, problem.ref),
                node_name=self._node_name,
                unique=secrets.token_hex(8),
                now=self._now(),
            )
            namespace = event_namespace(problem.ref)
            path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
            async with self._api.request("POST", path, body=event) as answer:
                await answer.read()
        except (ApiError, ConfigError) as error:
            self.dropped += 1
            if self._reason != str(error):
                self._reason = str(error)
                _log.warning("event not posted", reason=self._reason)
        else:
            self.posted += 1
            self._reason = ""

    async def _uid(self, kind: Kind, ref: ObjectRef) -> str:
        """The object's uid; "" if it is gone.

        A Node's Events have its name there, as the kubelet's do.
        """
        if kind is Kind.NODE:
            return ref.name
        query = [("fieldSelector", f"metadata.name={ref.name}")]
        path = _LISTS[kind].format(ref.namespace)
        return await find_uid(self._api, path, query)
