"""Answers to probes: JSON bodies, and 200 or 503.

Source: kube-proxy pkg/proxy/healthcheck/proxy_health.go, v1.36. Times are RFC 3339.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

from ipvsctl.model.parts import Part
from ipvsctl.model.source_state import SourceState
from ipvsctl.model.state import EMPTY
from ipvsctl.model.watch_health import WatchHealth

_READY_PERIODS: Final = 3
"""Sync periods without a reading after which a node is not ready."""

_LIVE_PERIODS: Final = 10
"""The same, after which a new process may do better."""

_LIVE_LEAST_S: Final = 300.0
"""No sooner than that, however short the period: a lock may be held for minutes."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the proxy is.

    Attributes:
        is_healthy: no event has been waiting for too long to be in the kernel.
        is_ready: everything has been in the kernel once.
        is_node_leaving: see `Node.is_leaving`.
        imposed_at_s: when the last audit or sync ended; None before the first.
        now_s: the same wall clock now.
        source: where objects come from, and what its word is worth.
        watches: see `Source.health`.
        is_holding: something is left in the kernel since it may be wanted.
        read_ages_s: how long ago each part of the kernel was read, or since when it
            could not be.
        sync_period_s: from one reading to the next, at most.
    """

    is_healthy: bool
    is_ready: bool
    is_node_leaving: bool
    imposed_at_s: float | None
    now_s: float
    source: SourceState
    watches: tuple[WatchHealth, ...] = ()
    is_holding: bool = False
    read_ages_s: Mapping[Part, float] = EMPTY
    sync_period_s: float = 0.0

    def has_read_within(self, periods: int, least_s: float = 0.0) -> bool:
        """Whether every part that clients need was read in so many sync periods.

        Args:
            periods: how many.
            least_s: seconds that are allowed at least.
        """
        limit_s = max(periods * self.sync_period_s, least_s)
        return all(
            age_s <= limit_s
            for part, age_s in self.read_ages_s.items()
            if part.is_needed
        )


def healthz(health: Health) -> web.Response:
    """Whether load balancers should send new connections to this node."""
    is_eligible = not health.is_node_leaving
    is_up = health.is_healthy and is_eligible
    return _answer(
        {**_times(health, is_up=is_up), "nodeEligible": is_eligible}, is_up=is_up
    )


def livez(health: Health) -> web.Response:
    """Whether the proxy does its work; if not, a restart may help."""
    is_up = health.is_healthy and health.has_read_within(_LIVE_PERIODS, _LIVE_LEAST_S)
    return _answer(_times(health, is_up=is_up), is_up=is_up)


def readyz(health: Health) -> web.Response:
    """Whether this node serves what it should, with how the watches are doing.

    A node whose API server is away, or whose input cannot be read whole, serves the
    Services it knows, and is ready; the body tells of both. A node on which a part of
    the kernel cannot be read any more is not.
    """
    source = health.source
    is_ready = health.is_ready and health.has_read_within(_READY_PERIODS)
    return _answer(
        {
            **_times(health, is_up=is_ready and health.is_healthy),
            "ready": is_ready,
            "source": source.description,
            "sourceHeardSecondsAgo": _rounded(source.age_s),
            "sourceFresh": source.is_fresh,
            "sourceError": source.error,
            "notKnown": source.doubts,
            "deletionsHeld": health.is_holding,
            "kernelReadSecondsAgo": {
                part: round(age_s, 1) for part, age_s in health.read_ages_s.items()
            },
            "watches": [_watch(watch) for watch in health.watches],
        },
        is_up=is_ready,
    )


def _times(health: Health, *, is_up: bool) -> Mapping[str, object]:
    # One that is up may have had nothing to do for long, and kube-proxy says the same.
    updated_s = health.now_s if is_up else health.imposed_at_s or 0
    return {"lastUpdated": _time(updated_s), "currentTime": _time(health.now_s)}


def _watch(watch: WatchHealth) -> Mapping[str, object]:
    return {
        "kind": watch.kind.value,
        "complete": watch.is_complete,
        "connected": watch.is_connected,
        "sinceSeconds": round(watch.since_s, 1),
        "heardSecondsAgo": _rounded(watch.heard_s),
        "reason": watch.reason,
    }


def _rounded(age_s: float | None) -> float | None:
    return None if age_s is None else round(age_s, 1)


def _answer(body: Mapping[str, object], *, is_up: bool) -> web.Response:
    return web.Response(
        status=HTTPStatus.OK if is_up else HTTPStatus.SERVICE_UNAVAILABLE,
        body=msgspec.json.encode(body),
        content_type="application/json",
    )


def _time(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat().replace("+00:00", "Z")
