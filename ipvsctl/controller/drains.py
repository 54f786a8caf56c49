"""How long real servers have been draining."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.plan.diff.plan import Drain


class DrainClock:
    """Remembers since when each drain was seen, to end it after a time limit.

    The kernel says that a real server drains (weight 0), not since when. A restart
    starts the time anew, so a drain is bounded by one limit per daemon's life.

    Args:
        limit_s: the time limit of a virtual server, in seconds.
    """

    def __init__(self, limit_s: Callable[[VirtualServerKey], float]) -> None:
        self._limit_s = limit_s
        self._since: dict[Drain, float] = {}

    @property
    def since(self) -> Mapping[Drain, float]:
        """When each drain was first seen, on the clock given to `update`."""
        return self._since

    @property
    def keys(self) -> frozenset[VirtualServerKey]:
        """Virtual servers with a draining real server."""
        return frozenset(key for key, _ in self._since)

    def update(
        self,
        looked_at: AbstractSet[VirtualServerKey],
        drains: Iterable[Drain],
        now_s: float,
    ) -> None:
        """Take note of what drains now.

        Args:
            looked_at: the virtual servers that were read; a drain known of one of
                them that is not in `drains` has ended.
            drains: every drain seen among them.
            now_s: seconds on any steady clock.
        """
        since = {d: s for d, s in self._since.items() if d[0] not in looked_at}
        for drain in drains:
            since[drain] = self._since.get(drain, now_s)
        self._since = since

    def forget(self, drains: Iterable[Drain]) -> None:
        """These have ended, or never were any."""
        for drain in drains:
            self._since.pop(drain, None)

    def expired(self, now_s: float) -> frozenset[Drain]:
        """Drains older than their time limit."""
        return frozenset(
            drain
            for drain, since in self._since.items()
            if now_s - since >= self._limit_s(drain[0])
        )
