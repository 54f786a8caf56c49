"""Answers to probes: JSON bodies, and 200 or 503.

Source: kube-proxy pkg/proxy/healthcheck/proxy_health.go, v1.36. Times are RFC 3339.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

import msgspec
from aiohttp import web

from ipvsctl.model.source_state import SourceState
from ipvsctl.model.watch_health import WatchHealth


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
    """

    is_healthy: bool
    is_ready: bool
    is_node_leaving: bool
    imposed_at_s: float | None
    now_s: float
    source: SourceState
    watches: tuple[WatchHealth, ...] = ()
    is_holding: bool = False


def healthz(health: Health) -> web.Response:
    """Whether load balancers should send new connections to this node."""
    is_eligible = not health.is_node_leaving
    is_up = health.is_healthy and is_eligible
    return _answer(
        {**_times(health, is_up=is_up), "nodeEligible": is_eligible}, is_up=is_up
    )


def livez(health: Health) -> web.Response:
    """Whether the proxy does its work; if not, a restart may help."""
    is_up = health.is_healthy
    return _answer(_times(health, is_up=is_up), is_up=is_up)


def readyz(health: Health) -> web.Response:
    """Whether this node serves what it should, with how the watches are doing.

    A node whose API server is away, or whose input cannot be read whole, serves the
    Services it knows, and is ready; the body tells of both.
    """
    source = health.source
    return _answer(
        {
            **_times(health, is_up=health.is_ready and health.is_healthy),
            "ready": health.is_ready,
            "source": source.description,
            "sourceHeardSecondsAgo": _rounded(source.age_s),
            "sourceFresh": source.is_fresh,
            "sourceError": source.error,
            "notKnown": source.doubts,
            "deletionsHeld": health.is_holding,
            "watches": [_watch(watch) for watch in health.watches],
        },
        is_up=health.is_ready,
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
