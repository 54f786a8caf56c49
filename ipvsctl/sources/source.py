"""The interface of every source of objects."""

from collections.abc import AsyncGenerator
from typing import Protocol

from ipvsctl.cluster.events import Event
from ipvsctl.model.watch_health import WatchHealth


class Source(Protocol):
    """Tells what is in the cluster, and then every change."""

    @property
    def description(self) -> str:
        """Where it reads, for logs: `manifests in /etc/ipvsctl/manifests`."""
        ...

    def health(self) -> tuple[WatchHealth, ...]:
        """How each watch is doing; none for a source that has no server."""
        ...

    def events(self) -> AsyncGenerator[Event, None]:
        """The complete state, `Synced`, then changes for as long as it is iterated.

        Close it (`contextlib.aclosing`) to stop watching.

        Raises:
            ConfigError: there is nothing to read at the start.
        """
        ...
