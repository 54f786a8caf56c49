"""Whether what is heard of reaches the kernel in time."""


class Progress:
    """How long the oldest event has been waiting to be imposed.

    Until everything has been imposed once nothing is late: the start of a large node
    takes as long as it takes. Times are seconds on any steady clock.
    Source: kube-proxy pkg/proxy/healthcheck/proxy_health.go.

    Args:
        limit_s: for how long an event may wait.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._waiting_s: float | None = None
        self._taken_s: float | None = None
        self._failed_s: float | None = None
        self._has_begun = False

    def queued(self, now_s: float) -> None:
        """An event came in."""
        if self._waiting_s is None:
            self._waiting_s = now_s

    def taken(self) -> None:
        """All that came in so far is being imposed; what was before it has failed."""
        if self._failed_s is None:
            self._failed_s = self._taken_s
        self._taken_s, self._waiting_s = self._waiting_s, None

    def imposed_taken(self) -> None:
        """What was taken last has been imposed, but not what failed before."""
        self._taken_s = None

    def imposed_all(self) -> None:
        """All that was ever taken has been imposed."""
        self._taken_s = self._failed_s = None
        self._has_begun = True

    def is_late(self, now_s: float) -> bool:
        """Whether an event has been waiting for too long."""
        pending_s = self.pending_s(now_s)
        if pending_s is None or not self._has_begun:
            return False
        return pending_s >= self._limit_s

    def pending_s(self, now_s: float) -> float | None:
        """For how long the oldest event has been waiting; None without one."""
        waiting = (self._failed_s, self._taken_s, self._waiting_s)
        since = next((since for since in waiting if since is not None), None)
        return None if since is None else now_s - since
