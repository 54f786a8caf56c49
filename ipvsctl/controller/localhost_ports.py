"""Listeners on localhost follow what is in the kernel: an observer that relays."""

from ipvsctl.controller.observers import AuditDone, SyncDone
from ipvsctl.model.problem import Problem
from ipvsctl.serve.relay.relay import LocalhostRelay


class LocalhostPortsObserver:
    """Tells the relay of node ports on localhost; see `Observer`."""

    def __init__(self, relay: LocalhostRelay) -> None:
        self._relay = relay

    async def audited(self, done: AuditDone) -> None:
        """See `Observer`."""
        await self._relay.replace(done.localhost_ports)

    async def synced(self, done: SyncDone) -> None:
        """See `Observer`."""
        await self._relay.update(done.change.localhost_ports)

    def problems(self) -> tuple[Problem, ...]:
        """See `Observer`."""
        return self._relay.problems()

    def appeared(self, problems: tuple[Problem, ...]) -> None:
        """See `Observer`."""
