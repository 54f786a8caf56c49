"""Slow start: the weight of an endpoint that has just come grows to its own.

Weights are whole numbers, so those of a Service with slow start are tenfold, and its
scheduler is one that looks at them (see `wishes`). What an endpoint has in the kernel
says how far it has come, so that nothing need be remembered over a restart.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec

from ipvsctl.model.ipvs import RealServer, RealServerKey, VirtualServerKey
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.diff.crowd import CROWD
from ipvsctl.plan.service.wishes import STEPS
from ipvsctl.plan.union.frozen import DesiredLookups

Begun = Mapping[tuple[VirtualServerKey, RealServerKey], float]
"""Real server -> when its weight began to grow, in seconds on some clock."""


class Ramps(msgspec.Struct, frozen=True, kw_only=True):
    """Which real servers start slowly, and how far they are.

    Attributes:
        desired: says how long each virtual server's take.
        begun: those that are known to grow.
        now_s: on the clock of `begun`.
        lasts: somebody will go on with what begins now; if not, what comes has its
            whole weight at once.
    """

    desired: DesiredLookups
    begun: Begun = EMPTY
    now_s: float
    lasts: bool

    def limit_s(self, key: VirtualServerKey) -> float:
        """How long the real servers of a virtual server take; 0 is no time."""
        program = self.desired.server(key)
        return 0.0 if program is None else program.slow_start_s


class Growing(NamedTuple):
    """A real server that has not got its whole weight yet.

    Attributes:
        begun_s: when it began.
        server: as it is to be now.
    """

    begun_s: float
    server: RealServer


def growing(
    observed: Observed,
    desired: NodeState,
    ramps: Ramps,
    keys: Iterable[VirtualServerKey],
) -> Iterator[tuple[VirtualServerKey, Growing]]:
    """The real servers that are to have less than their weight for now.

    One grows if it comes to others that serve; where all are new, or come back
    together, nobody is there to take its share. A virtual server with very many is
    left out: what one of a thousand gets is not much.

    Args:
        observed: what the kernel holds.
        desired: with whole weights.
        ramps: see there.
        keys: the virtual servers to look at, all of them desired.
    """
    for key in keys:
        wanted = desired.real_servers.get(key, EMPTY)
        held = observed.state.real_servers.get(key, EMPTY)
        # Reading shares what is equal, and then all weights are whole.
        if held is wanted or not wanted or len(wanted) > CROWD:
            continue
        limit_s = ramps.limit_s(key)
        if not limit_s:
            continue
        serves = any(real in wanted and held[real].weight for real in held)
        for real, server in wanted.items():
            begun_s = ramps.begun.get((key, real))
            if begun_s is None:
                begun_s = _begun(server, held.get(real), limit_s, ramps, serves=serves)
            weight = _weight(server.weight, begun_s, limit_s, ramps.now_s)
            if weight < server.weight:
                grown = msgspec.structs.replace(server, weight=weight)
                yield key, Growing(begun_s, grown)


def with_ramps(
    observed: Observed,
    desired: NodeState,
    ramps: Ramps,
    portions: AbstractSet[VirtualServerKey],
) -> NodeState:
    """The desired state, with the weights that are to be now.

    Follows later changes unless something grows.

    Args:
        observed: what the kernel holds.
        desired: with whole weights.
        ramps: see there.
        portions: virtual servers of whose real servers these states have a portion.
    """
    found: dict[VirtualServerKey, dict[RealServerKey, RealServer]] = {}
    keys = desired.virtual_servers.keys() - portions
    for key, (_, server) in growing(observed, desired, ramps, keys):
        own = found.setdefault(key, dict(desired.real_servers[key]))
        own[server.key] = server
    if not found:
        return desired
    real_servers = {**desired.real_servers, **found}
    return msgspec.structs.replace(desired, real_servers=real_servers)


def _begun(
    server: RealServer,
    held: RealServer | None,
    limit_s: float,
    ramps: Ramps,
    *,
    serves: bool,
) -> float:
    """When one that nothing is known of began to grow; long ago if it did not."""
    long_ago = ramps.now_s - limit_s
    if held is None or not held.weight:
        return ramps.now_s if serves and ramps.lasts else long_ago
    if held.weight >= server.weight:
        return long_ago
    return ramps.now_s - limit_s * held.weight / server.weight


def _weight(whole: int, begun_s: float, limit_s: float, now_s: float) -> int:
    # A step early rather than late: what was read off a weight gives that weight.
    step = int((now_s - begun_s) / limit_s * STEPS + 1e-6)
    return whole if step >= STEPS else max(1, whole * max(step, 1) // STEPS)
