"""One resource for as long as the process lives: again after every end, but paced."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_never,
    wait_random_exponential,
)

from ipvsctl.cluster.events import Doubted, Event, Replaced
from ipvsctl.kube.belief import CONFIRM_S, Belief
from ipvsctl.kube.health import HealthRecord
from ipvsctl.kube.list_watch import Listed, ListWatch, Told
from ipvsctl.kube.resources import Resource
from ipvsctl.kube.transport import Api
from ipvsctl.libraries.log import structlog
from ipvsctl.model.errors import ApiError, ConfigError
from ipvsctl.model.watch_health import WatchHealth

Put = Callable[[Event], Awaitable[None]]
Sleep = Callable[[float], Awaitable[None]]

CALM_S: Final = 10.0
"""A watch that lived this long ends a row of failures: the next pause is a short one.
It is less than the idle timeouts of load balancers before API servers."""

FORBIDDEN_PAUSE_S: Final = 30.0
"""Least pause where asking again soon is no use: somebody has to grant it first."""

RETRY_AFTER_MAX_S: Final = 300.0

RETRY_WAIT: Final = wait_random_exponential(multiplier=1, min=0.5, max=10)
"""The pause after a failure: see `Pacing`."""

_log = structlog.get_logger("ipvsctl")


class Pacing:
    """How long to wait before asking again.

    By chance between half a second and a limit that doubles from 1 s to 10 s with each
    failure in a row: many nodes lose the server at the same instant. The server's own
    word, and a refusal that only people can end, make it longer.
    """

    def __init__(self, was_calm: Callable[[], bool]) -> None:
        self._was_calm = was_calm

    def __call__(self, state: RetryCallState) -> float:
        """Seconds, after the failure of `state`."""
        if self._was_calm():
            state.attempt_number = 1
        pause = RETRY_WAIT(state)
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ApiError):
            pause += min(error.retry_after_s, RETRY_AFTER_MAX_S)
            if error.status == 403:
                pause += FORBIDDEN_PAUSE_S
        return pause


class Reflector:
    """Tells every object of a resource, and every change.

    Args:
        put: takes the events; waits while nobody reads them.
        is_patient: false has the first error end it, instead of asking again.

    Attributes:
        complete: set once every object has been told.
        settled: set with `complete`, or when access is forbidden.
    """

    def __init__(
        self,
        api: Api,
        resource: Resource,
        put: Put,
        *,
        proxy_name: str = "",
        is_patient: bool = True,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._resource = resource
        self._put = put
        self._is_patient = is_patient
        self._sleep = sleep
        self._record = HealthRecord(resource.kind, clock)
        self._list_watch = ListWatch(api, resource, self, proxy_name)
        self._belief = Belief(resource, clock)
        self._chance = chance
        self._clock = clock
        self._opened_at_s: float | None = None
        self.complete = asyncio.Event()
        self.settled = asyncio.Event()

    @property
    def resource(self) -> Resource:
        """The resource it follows."""
        return self._resource

    def health(self) -> WatchHealth:
        """How the watch is doing."""
        return self._record.health()

    def connected(self) -> None:
        """See `list_watch.Listener`."""
        self._opened_at_s = self._clock()
        was_away = self._record.is_away
        self._record.connected()
        if was_away:
            _log.info("watch restored", resource=self._resource.plural)

    def heard(self) -> None:
        """See `list_watch.Listener`."""
        self._record.heard()

    async def run(self) -> None:
        """Follow until cancelled.

        Raises:
            ApiError, ConfigError: the first one, if it is not patient.
        """
        retrying = AsyncRetrying(
            wait=Pacing(self._was_calm),
            retry=retry_if_exception_type((ApiError, ConfigError)),
            stop=stop_never if self._is_patient else stop_after_attempt(1),
            sleep=self._sleep,
            reraise=True,
        )
        await retrying(self._follow)

    async def _follow(self) -> None:
        """Follow until a failure, or until a watch ended too early to open the next."""
        while True:
            self._opened_at_s = None
            try:
                has_ended = await self._follow_once()
            except (ApiError, ConfigError) as error:
                self._lost(error)
                raise
            if not has_ended:
                continue
            if not self._was_calm():
                raise self._ended_early()
            self._record.ended("ended")

    async def _follow_once(self) -> bool:
        """Follow until the watch ends; False: until all is to be listed again."""
        async with aclosing(self._list_watch.events()) as events:
            goes_on: bool | None = True
            while goes_on:
                if self._belief.is_in_doubt:
                    goes_on = await self._take_for_a_while(events)
                else:
                    goes_on = await self._take(events)
        return goes_on is False

    async def _take(self, events: AsyncGenerator[Told, None]) -> bool:
        """Tell events until there are no more (False), or a list has been judged."""
        async for event in events:
            if isinstance(event, Listed):
                self._record.completed()
                self.complete.set()
                self.settled.set()
            elif isinstance(event, Replaced):
                await self._put(self._judged(event))
                return True
            else:
                self._belief.note(event)
                await self._put(event)
        return False

    async def _take_for_a_while(
        self, events: AsyncGenerator[Told, None]
    ) -> bool | None:
        """As `_take`, while a list is in doubt; None when another one is due."""
        taking = asyncio.ensure_future(self._take(events))
        pause = asyncio.ensure_future(self._sleep(self._chance(*CONFIRM_S)))
        try:
            await asyncio.wait({taking, pause}, return_when=asyncio.FIRST_COMPLETED)
            if taking.done():
                return taking.result()
            self._list_watch.forget()
            return None
        finally:
            taking.cancel()
            pause.cancel()
            await asyncio.gather(taking, pause, return_exceptions=True)

    def _judged(self, event: Replaced) -> Event:
        reason = self._belief.judge(event.refs)
        return Doubted(kind=event.kind, reason=reason) if reason else event

    def _was_calm(self) -> bool:
        opened = self._opened_at_s
        return opened is not None and self._clock() - opened >= CALM_S

    def _ended_early(self) -> ApiError:
        error = ApiError(
            status=0,
            url=self._resource.path,
            reason="the server ended the watch at once",
            word="ended",
        )
        self._lost(error)
        return error

    def _lost(self, error: ApiError | ConfigError) -> None:
        word = error.word if isinstance(error, ApiError) else "credentials"
        self._record.ended(word)
        if word == "expired":
            # The server is there; it has only forgotten where this was.
            _log.info("list again", resource=self._resource.plural, reason=error.reason)
            return
        if word == "forbidden":
            self.settled.set()
        if self._record.lost(str(error)) and self._is_patient:
            _log.warning(
                "watch lost",
                resource=self._resource.plural,
                verb="list and watch",
                reason=str(error),
            )
