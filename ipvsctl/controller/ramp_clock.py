"""Since when real servers have been getting more weight."""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

from ipvsctl.model.ipvs import RealServerKey, VirtualServerKey
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.plan.diff.ramp import Ramps, growing
from ipvsctl.plan.union.desired import Desired


class RampClock:
    """Remembers when real servers began to grow, for as long as they do.

    Args:
        desired: says which do, and for how long.
        clock: seconds.
        lasts: see `Ramps`.
    """

    def __init__(
        self, desired: Desired, clock: Callable[[], float], *, lasts: bool
    ) -> None:
        self._desired = desired
        self._clock = clock
        self._lasts = lasts
        self._begun: dict[tuple[VirtualServerKey, RealServerKey], float] = {}

    @property
    def keys(self) -> frozenset[VirtualServerKey]:
        """Virtual servers with a real server that grows."""
        return frozenset(key for key, _ in self._begun)

    def ramps(self) -> Ramps | None:
        """What a plan has to know; None if no Service starts slowly."""
        if not (self._desired.has_slow_start or self._begun):
            return None
        return Ramps(
            desired=self._desired,
            begun=self._begun,
            now_s=self._clock(),
            lasts=self._lasts,
        )

    def update(
        self,
        ramps: Ramps | None,
        looked_at: AbstractSet[VirtualServerKey],
        observed: Observed,
        desired: NodeState,
    ) -> None:
        """Take note of what grows now.

        Args:
            ramps: what the plan was made with.
            looked_at: the virtual servers that it was about; of these, one that grows
                no more has its weight, or is gone.
            observed: what the kernel held.
            desired: with whole weights.
        """
        if ramps is None:
            return
        keys = looked_at & desired.virtual_servers.keys()
        found = growing(observed, desired, ramps, keys)
        begun = {(key, one.server.key): one.begun_s for key, one in found}
        rest = {r: s for r, s in self._begun.items() if r[0] not in looked_at}
        self._begun = {**rest, **begun}

    def keep(self, keys: Iterable[VirtualServerKey]) -> None:
        """Forget those of all other virtual servers."""
        kept = set(keys)
        self._begun = {r: s for r, s in self._begun.items() if r[0] in kept}
