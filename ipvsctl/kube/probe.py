"""Asks an API server, in a moment, whether this node may be served from it."""

import asyncio
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import msgspec

from ipvsctl.kube.resources import endpoint_slices, services, tunnel_leases
from ipvsctl.kube.transport import Api
from ipvsctl.model.api_facts import ApiFacts
from ipvsctl.model.errors import ApiError

LIMIT_S: Final = 1.5
"""For everything together: who looks at a node does not want to wait."""

_NODES: Final = "/api/v1/nodes"
_REFUSALS: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


async def probe_api(
    api: Api,
    node_name: str,
    proxy_name: str = "",
    *,
    has_tunnel: bool = False,
    wall_clock: Callable[[], float] = time.time,
) -> ApiFacts:
    """Ask for one Service, one slice and this Node, side by side.

    Args:
        api: the server.
        node_name: of this node.
        proxy_name: see `ProxyConfig.service_proxy_name`.
        has_tunnel: ask for a Lease in which a node says that it takes part, too.
        wall_clock: seconds since the epoch.

    Raises:
        ConfigError: the credentials cannot be used.
    """
    facts = ApiFacts(description=api.description)
    paths = {
        resource.plural: resource.path
        for resource in (
            services(proxy_name),
            endpoint_slices(proxy_name),
            *((tunnel_leases(),) if has_tunnel else ()),
        )
    }
    try:
        async with asyncio.timeout(LIMIT_S):
            found = await asyncio.gather(
                *(_ask(api, path, (("limit", "1"),)) for path in paths.values()),
                _ask(api, f"{_NODES}/{node_name}"),
            )
    except TimeoutError:
        error = f"no answer within {LIMIT_S:g} s"
        return msgspec.structs.replace(facts, error=error)
    lost = [one for one in found if isinstance(one, ApiError) and not one.status]
    if lost:
        return msgspec.structs.replace(facts, error=lost[0].reason)
    refused = [
        f"{what}: {one.reason}"
        for what, one in zip((*paths, "nodes"), found, strict=True)
        if isinstance(one, ApiError) and one.status in _REFUSALS
    ]
    node = found[-1]
    is_missing = isinstance(node, ApiError) and node.status == HTTPStatus.NOT_FOUND
    dates = [one for one in found if isinstance(one, str) and one]
    return ApiFacts(
        description=api.description,
        refused=tuple(refused),
        has_node=False if is_missing else True if isinstance(node, str) else None,
        skew_s=_skew_s(dates[0], wall_clock()) if dates else None,
    )


async def _ask(
    api: Api, path: str, query: tuple[tuple[str, str], ...] = ()
) -> str | ApiError:
    """The date of an answer, or why there is none."""
    try:
        async with api.request("GET", path, query) as answer:
            await answer.read()
            return answer.headers.get("Date", "")
    except ApiError as error:
        return error


def _skew_s(date: str, now: float) -> float | None:
    try:
        return now - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
