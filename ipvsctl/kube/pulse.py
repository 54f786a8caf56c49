"""A sign of life of the API server, asked for only while its watches are silent.

On a quiet cluster a watch tells nothing but a bookmark each minute, so that silence
alone does not say whether the server is there.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ipvsctl.kube.transport import Api
from ipvsctl.model.errors import ApiError, ConfigError

PATH: Final = "/livez"
"""Everybody with credentials may ask it (ClusterRole system:public-info-viewer); any
answer but a server's error is a sign of life, a refusal too."""

SILENT_S: Final = 10.0
"""After so much silence it is asked, and so long the answer may take: with the pause
between two looks that is less than `model.source_state.STALE_S`."""

LOOK_S: Final = 4.0
"""Seconds between two looks at how long it has been silent."""


class Pulse:
    """Asks one server.

    Args:
        api: the server.
        silent_s: for how long the watches have told nothing; None while they are not
            open, since opening them asks as well.
    """

    def __init__(
        self,
        api: Api,
        silent_s: Callable[[], float | None],
        *,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._api = api
        self._silent_s = silent_s
        self._sleep = sleep
        self._clock = clock
        self._answered_at_s: float | None = None
        self.reason = ""
        """Why the last question was not answered, a clause; "" if it was."""

    @property
    def answered_s(self) -> float | None:
        """Seconds since it answered; None if it was not asked, or did not answer."""
        then = self._answered_at_s
        return None if then is None else self._clock() - then

    async def run(self) -> None:
        """Ask whenever it is silent, until cancelled."""
        while True:
            await self._sleep(LOOK_S)
            silent_s = self._silent_s()
            if silent_s is None:
                self.reason = ""
            elif min(silent_s, self._age_s()) >= SILENT_S:
                await self._ask()

    def _age_s(self) -> float:
        age_s = self.answered_s
        return float("inf") if age_s is None else age_s

    async def _ask(self) -> None:
        try:
            async with (
                asyncio.timeout(SILENT_S),
                self._api.request("GET", PATH) as answer,
            ):
                await answer.read()
        except TimeoutError:
            self.reason = f"no answer within {SILENT_S:g} s"
            return
        except ConfigError as error:
            self.reason = str(error)
            return
        except ApiError as error:
            if not 0 < error.status < 500:
                self.reason = str(error)
                return
        self.reason = ""
        self._answered_at_s = self._clock()
