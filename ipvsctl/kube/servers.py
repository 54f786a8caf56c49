"""The addresses through which the API server is reached, which no VIP may be.

The URL may name a host, whose addresses change: its name is looked up now and then, in
a thread. The addresses that were found stay in force while none can be found.
"""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

from ipvsctl.cluster.events import ApiServersFound
from ipvsctl.kube.reflector import Put, Sleep
from ipvsctl.kube.transport import Api
from ipvsctl.libraries.log import structlog
from ipvsctl.model.errors import ConfigError
from ipvsctl.model.host import ApiServer
from ipvsctl.model.net import IPAddress, parse_address

PERIOD_S: Final = 60.0
"""Seconds between two looks; names of API servers change when the cluster is moved."""

RETRY_S: Final = 5.0
"""Seconds to the next look after a name could not be looked up."""

_PORTS: Final = {"https": 443, "http": 80}

Resolve = Callable[[str, int], Awaitable[Iterable[IPAddress]]]

_log = structlog.get_logger("ipvsctl")


async def resolve(host: str, port: int) -> tuple[IPAddress, ...]:
    """The addresses of a host name.

    Raises:
        OSError: there are none, or nobody can say.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} is no host name") from error
    # A link-local one has a zone behind its address.
    texts = (str(address[0]).partition("%")[0] for *_, address in found)
    return tuple(dict.fromkeys(map(parse_address, texts)))


class Servers:
    """Tells where the API server is, for as long as the process lives.

    Attributes:
        settled: set once the addresses have been told.
    """

    def __init__(
        self,
        api: Api,
        put: Put,
        *,
        resolve: Resolve = resolve,
        sleep: Sleep = asyncio.sleep,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._api = api
        self._put = put
        self._resolve = resolve
        self._sleep = sleep
        self._chance = chance
        self._told: frozenset[ApiServer] | None = None
        self._reason = ""
        self.settled = asyncio.Event()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            found = await self._look()
            await self._sleep((PERIOD_S if found else RETRY_S) * self._chance(0.8, 1.2))

    async def _look(self) -> bool:
        """Look once and tell what changed; whether everything was found."""
        try:
            urls = await self._api.urls()
            servers = frozenset().union(*[await self._servers(url) for url in urls])
        except (ConfigError, OSError, ValueError) as error:
            if str(error) != self._reason:
                self._reason = str(error)
                _log.warning("API server's address unknown", reason=self._reason)
            return False
        self._reason = ""
        if servers != self._told:
            self._told = servers
            await self._put(ApiServersFound(servers))
        self.settled.set()
        return True

    async def _servers(self, url: str) -> frozenset[ApiServer]:
        """Where a URL leads; loopback is nobody's VIP anyway."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or _PORTS.get(parts.scheme, 443)
        try:
            addresses: Iterable[IPAddress] = (parse_address(host),)
        except ValueError:
            addresses = await self._resolve(host, port)
        return frozenset(
            ApiServer(address, port) for address in addresses if not address.is_loopback
        )
