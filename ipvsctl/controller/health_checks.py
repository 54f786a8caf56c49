"""Health-check node ports follow what is in the kernel: an observer that answers."""

from ipvsctl.controller.observers import AuditDone, SyncDone
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.problem import Problem
from ipvsctl.plan.union.health_checks import health_check_addresses
from ipvsctl.serve.health_checks import HealthCheckServer


class HealthChecksObserver:
    """Tells the server of health-check node ports; see `Observer`."""

    def __init__(
        self, server: HealthCheckServer, reconciler: Reconciler, config: ProxyConfig
    ) -> None:
        self._server = server
        self._reconciler = reconciler
        self._config = config

    async def audited(self, done: AuditDone) -> None:  # noqa: ARG002  # it asks for all
        """See `Observer`."""
        addresses = health_check_addresses(
            self._reconciler.context, self._config.node_port_addresses
        )
        checks = self._reconciler.desired.health_checks()
        await self._server.replace(checks, addresses)

    async def synced(self, done: SyncDone) -> None:
        """See `Observer`."""
        await self._server.update(done.change.health_checks)

    def problems(self) -> tuple[Problem, ...]:
        """See `Observer`."""
        return self._server.problems()

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Observer`."""
