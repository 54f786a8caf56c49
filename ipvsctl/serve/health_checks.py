"""Health-check node ports: where load balancers ask whether to send traffic here.

One server for each port, at the node's addresses. Others decide about answers and
addresses; here are only the sockets.
"""

import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web

from ipvsctl.model.net import IPAddress, format_host_port
from ipvsctl.model.problem import Problem
from ipvsctl.plan.union.health_checks import ServiceHealth, port_problem
from ipvsctl.serve.admission import Bucket, Rate
from ipvsctl.serve.connections import HttpServer
from ipvsctl.serve.listen import listen_at

_SHUTDOWN_S: Final = 0.5
"""How long an answer under way may keep a port open that has no Service any more."""

_KEPT_S: Final = 300.0
"""For how long a load balancer may keep a connection, to ask again on it."""

_ALL_PORTS_RATE: Final = Rate(per_s=1000, burst=2000)
"""Of all clients of all ports. A cloud's load balancers ask each port from a few
addresses every few seconds, so that 1,000 Services make some 400 a second."""


class HealthCheckServer:
    """The health-check node ports of this node; none until told of some.

    Args:
        is_healthy: whether the kernel is as it should be; if not, every port says so.
        clock: seconds, never backwards.
    """

    def __init__(
        self,
        is_healthy: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_healthy = is_healthy
        self._shared = Bucket(_ALL_PORTS_RATE, clock())
        self._addresses: tuple[IPAddress, ...] = ()
        self._checks: dict[int, ServiceHealth] = {}
        self._ports: dict[int, _Port] = {}
        self._refused: dict[int, str] = {}

    def problems(self) -> tuple[Problem, ...]:
        """The Services whose port does not answer at every address; sorted."""
        return tuple(
            sorted(
                port_problem(self._checks[port].service, port, reason)
                for port, reason in self._refused.items()
            )
        )

    async def replace(
        self, checks: Mapping[int, ServiceHealth], addresses: Sequence[IPAddress]
    ) -> None:
        """Answer these checks and no others, and try refused addresses again.

        Args:
            checks: by port.
            addresses: where; an unspecified one is all of its family.
        """
        gone = dict.fromkeys(self._checks.keys() - checks.keys())
        is_moved = self._addresses != tuple(addresses)
        self._addresses = tuple(addresses)
        self._checks.update(checks)
        await self.update(gone)
        for port in sorted(self._checks):
            if is_moved or port not in self._ports or port in self._refused:
                await self._open(port)

    async def update(self, changed: Mapping[int, ServiceHealth | None]) -> None:
        """Answer something else on these ports, or nothing any more (None)."""
        for port, check in changed.items():
            if check is None:
                self._checks.pop(port, None)
                await self._close(port)
            else:
                self._checks[port] = check
                if port not in self._ports:
                    await self._open(port)

    async def close(self) -> None:
        """Close every port."""
        for port in tuple(self._ports):
            await self._close(port)

    async def _open(self, port: int) -> None:
        """Have a port answer at every address, as far as that can be."""
        if port not in self._ports:
            self._ports[port] = _Port(port, self._answer, self._shared)
        reason = self._ports[port].listen(self._addresses)
        if reason:
            self._refused[port] = reason
        else:
            self._refused.pop(port, None)

    async def _close(self, port: int) -> None:
        self._refused.pop(port, None)
        if port in self._ports:
            await self._ports.pop(port).close()

    def _answer(self, port: int) -> web.Response:
        check = self._checks.get(port)
        if check is None:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        return health_response(check, is_healthy=self._is_healthy())


def health_response(check: ServiceHealth, *, is_healthy: bool) -> web.Response:
    """The answer of a port, whatever the request.

    Source: kube-proxy pkg/proxy/healthcheck/service_health.go (`ServeHTTP`).
    """
    is_up = is_healthy and check.local_endpoints > 0
    body = {
        "service": {"namespace": check.service.namespace, "name": check.service.name},
        "localEndpoints": check.local_endpoints,
        "serviceProxyHealthy": is_healthy,
    }
    return web.Response(
        status=HTTPStatus.OK if is_up else HTTPStatus.SERVICE_UNAVAILABLE,
        body=json.dumps(body, indent="\t").encode(),
        content_type="application/json",
        headers={
            "X-Content-Type-Options": "nosniff",
            "X-Load-Balancing-Endpoint-Weight": str(check.local_endpoints),
            # In place of the library's name and version.
            "Server": "ipvsctl",
        },
    )


class _Port:
    """One port, open at some addresses."""

    def __init__(
        self, port: int, answer: Callable[[int], web.Response], shared: Bucket
    ) -> None:
        self._port = port
        self._sockets: dict[IPAddress, socket.socket] = {}

        async def handle(_request: web.BaseRequest) -> web.Response:
            return answer(port)

        self._server = HttpServer(
            handle,
            field=f"healthCheckNodePort {port}",
            limit_s=_KEPT_S,
            shared=shared,
        )

    def listen(self, addresses: Sequence[IPAddress]) -> str:
        """Be open at these addresses and no others.

        Returns:
            Why it is not open at some of them; "" if it is at all of them.
        """
        for address in self._sockets.keys() - set(addresses):
            self._server.leave(self._sockets.pop(address))
        reasons = []
        for address in addresses:
            if address in self._sockets:
                continue
            try:
                opened = listen_at(address, self._port)
            except OSError as error:
                where = format_host_port(address, self._port)
                reasons.append(f"cannot listen on {where}: {error.strerror or error}")
                continue
            self._server.open(opened)
            self._sockets[address] = opened
        return "; ".join(reasons)

    async def close(self) -> None:
        """Close it everywhere, with every connection."""
        await self._server.close(_SHUTDOWN_S)
