"""Health-check node ports follow what is in the kernel: an observer that answers."""

from ipvsctl.controller.observers import AuditDone, SyncDone
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.problem import Problem
from ipvsctl.plan.union.health_checks import health_check_addresses
from ipvsctl.serve.health_checks import HealthCheckServer


class HealthChecksObserver:
    """Tells the server of health-check node ports; see `Observer`."""

    def __init__(self, server: HealthCheckServer, config: ProxyConfig) -> None:
        self._server = server
        self._config = config

    async def audited(self, done: AuditDone) -> None:
        """See `Observer`."""
        addresses = health_check_addresses(
            done.context, self._config.node_port_addresses
        )
        await self._server.replace(done.health_checks, addresses)

    async def synced(self, done: SyncDone) -> None:
        """See `Observer`."""
        await self._server.update(done.change.health_checks)

    def problems(self) -> tuple[Problem, ...]:
        """See `Observer`."""
        return self._server.problems()

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Observer`."""
