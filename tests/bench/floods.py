"""Floods: very many changes, endpoints, virtual servers and deletions, and all others.

A node flaps, a controller runs wild, somebody deletes a namespace: each at once, beside
Services whose endpoints change as ever.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ipvsctl.cluster.events import Deleted, Event
from ipvsctl.cluster.objects.parse import parse_object
from ipvsctl.model.problem import Kind, ObjectRef
from tests import builders
from tests.bench.others import Flood, at_once, measure_others
from tests.bench.sizes import Figures, Size

PER_SECOND = 5000
MORE = 1000
"""Services that come, change and go together."""

ENDPOINTS, SLICE = 20_000, 100
WIDE, PORTS, ADDRESSES = 4, 1000, 20
"""Services of so many ports on so many addresses: 80,000 virtual servers."""

_NODES = 100

_NAMESPACE = "flood"


def _address(first: str, number: int) -> str:
    high, low = divmod(number, 250)
    return f"{first}.{high}.{low + 1}"


def _slice(name: str, suffix: str, addresses: Sequence[str], **more: object) -> Event:
    endpoints = [
        builders.raw_endpoint(address, nodeName=f"node-{place % _NODES}", **more)
        for place, address in enumerate(addresses)
    ]
    raw = builders.raw_slice(
        f"{name}-{suffix}", *endpoints, service=name, namespace=_NAMESPACE
    )
    return parse_object(Kind.ENDPOINT_SLICE, builders.to_json(raw))


def _service(name: str, cluster_ip: str, **spec: Any) -> Event:
    raw = builders.raw_service(name, namespace=_NAMESPACE, clusterIP=cluster_ip, **spec)
    return parse_object(Kind.SERVICE, builders.to_json(raw))


def _gone(*names: str, suffix: str) -> list[Event]:
    return [
        Deleted(kind=kind, ref=ObjectRef(_NAMESPACE, name + more))
        for name in names
        for kind, more in ((Kind.SERVICE, ""), (Kind.ENDPOINT_SLICE, suffix))
    ]


def _more_slices(*, ready: bool) -> list[Event]:
    return [
        _slice(f"more-{n}", "a", [_address("10.121", n)], conditions={"ready": ready})
        for n in range(MORE)
    ]


def _deep() -> Iterator[Event]:
    yield _service("deep", "10.112.0.1")
    for first in range(0, ENDPOINTS, SLICE):
        found = [_address("10.122", first + place) for place in range(SLICE)]
        yield _slice("deep", f"s{first}", found)


def _wide(number: int) -> Iterator[Event]:
    name = f"wide-{number}"
    ports = [{"name": f"p{port}", "port": port} for port in range(1000, 1000 + PORTS)]
    addresses = [f"203.0.{113 + number}.{place + 1}" for place in range(ADDRESSES - 1)]
    yield _service(name, f"10.113.0.{number + 1}", externalIPs=addresses, ports=ports)
    endpoint = builders.raw_endpoint(_address("10.123", number), nodeName="node-1")
    raw = builders.raw_slice(
        f"{name}-a",
        endpoint,
        service=name,
        namespace=_NAMESPACE,
        ports=[
            {"name": p["name"], "port": p["port"], "protocol": "TCP"} for p in ports
        ],
    )
    yield parse_object(Kind.ENDPOINT_SLICE, builders.to_json(raw))


def _storm(seconds: float) -> Flood:
    """So many changes a second of the Services that came together."""
    turns = [_more_slices(ready=ready) for ready in (False, True)]

    async def tell(feed: asyncio.Queue[Event | bytes]) -> None:
        begun, told = time.perf_counter(), 0
        while (passed_s := time.perf_counter() - begun) < seconds:
            due = int(passed_s * PER_SECOND)
            for number in range(told, due):
                feed.put_nowait(turns[number // MORE % 2][number % MORE])
            told = due
            await asyncio.sleep(0.01)
        for event in turns[1]:
            feed.put_nowait(event)

    return tell


def measure(size: Size, seconds: float) -> Figures:
    """Latencies in seconds."""
    more = [_service(f"more-{n}", _address("10.114", n)) for n in range(MORE)]
    names = [f"more-{n}" for n in range(MORE)]
    deep = tuple(_deep())
    first = [_address("10.122", place) for place in range(SLICE)]
    fewer, again = (_slice("deep", "s0", some) for some in (first[:-1], first))
    slices_gone = [
        Deleted(kind=Kind.ENDPOINT_SLICE, ref=ObjectRef(_NAMESPACE, f"deep-s{first}"))
        for first in range(0, ENDPOINTS, SLICE)
    ]
    wide = [event for number in range(WIDE) for event in _wide(number)]
    return measure_others(
        "floods",
        size,
        seconds,
        {
            "alone": (),
            "1,000 Services come": (at_once(*more, *_more_slices(ready=True)),),
            "a node flaps": (
                at_once(*_more_slices(ready=False), *_more_slices(ready=True)),
            ),
            "5,000 changes a second": (_storm(seconds),),
            "1,000 Services go": (at_once(*_gone(*names, suffix="-a")),),
            "20,000 endpoints come": (at_once(*deep),),
            "one slice of these changes": (at_once(fewer), at_once(again)) * 10,
            "they go": (
                at_once(
                    Deleted(kind=Kind.SERVICE, ref=ObjectRef(_NAMESPACE, "deep")),
                    *slices_gone,
                ),
            ),
            "80,000 virtual servers come": (at_once(*wide),),
            "80,000 go": (
                at_once(*_gone(*(f"wide-{n}" for n in range(WIDE)), suffix="-a")),
            ),
        },
    )
