"""The health of a watch: since when it is there or away, and why."""

from collections import Counter
from collections.abc import Callable

from ipvsctl.model.problem import Kind
from ipvsctl.model.watch_health import WatchHealth


class HealthRecord:
    """Keeps `WatchHealth` of one watch; times are on the clock it is given."""

    def __init__(self, kind: Kind, clock: Callable[[], float]) -> None:
        self._kind = kind
        self._clock = clock
        self._is_complete = False
        self._is_connected = False
        self._is_away = False
        self._changed_at_s = clock()
        self._heard_at_s: float | None = None
        self._restarts: Counter[str] = Counter()
        self._reason = "not asked yet"

    @property
    def is_away(self) -> bool:
        """The server was there, or was asked, and is away."""
        return self._is_away

    def connected(self) -> None:
        """Take note that the server answers."""
        self.heard()
        if not self._is_connected:
            self._is_connected = True
            self._changed_at_s = self._clock()
        self._is_away = False
        self._reason = ""

    def heard(self) -> None:
        """Take note that something came."""
        self._heard_at_s = self._clock()

    def completed(self) -> None:
        """Take note that every object has been told."""
        self._is_complete = True

    def ended(self, word: str) -> None:
        """Take note that a watch has to be opened again."""
        self._restarts[word] += 1

    def lost(self, reason: str) -> bool:
        """Take note that the server is away; returns whether that, or why, is news."""
        is_news = self._reason != reason
        if self._is_connected:
            self._is_connected = False
            self._changed_at_s = self._clock()
        self._is_away = True
        self._reason = reason
        return is_news

    def health(self) -> WatchHealth:
        """The health as of now."""
        now = self._clock()
        heard = self._heard_at_s
        return WatchHealth(
            kind=self._kind,
            is_complete=self._is_complete,
            is_connected=self._is_connected,
            since_s=now - self._changed_at_s,
            heard_s=None if heard is None else now - heard,
            restarts=dict(self._restarts),
            reason=self._reason,
        )
