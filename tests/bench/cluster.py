"""Large clusters, as the bytes that an API server would send."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from ipvsctl.cluster.events import Event
from ipvsctl.cluster.objects.parse import parse_object
from ipvsctl.cluster.store import Store
from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.net import IPFamily, Protocol, parse_address
from ipvsctl.model.problem import Kind
from tests import builders
from tests.bench.sizes import OF_LARGE

NODE = "node-0"
NODE_ADDRESS = "10.0.0.10"
NODES = 500
"""Endpoints are spread over so many nodes, of which `NODE` is none."""

_FIRST_OF_LARGE = 1_000_000
"""The number of the first address of an endpoint of a large Service."""

_OF_SLICE = 100
"""Endpoints that the controller puts into one slice."""

_SPARE = (172 << 24) + (16 << 16)
"""172.16.0.0: addresses of endpoints that come and go."""


def raw_objects(
    services: int, endpoints: int, large: int = 0
) -> Iterator[tuple[Kind, bytes]]:
    """A node and Services with one port and one slice each, but for large ones.

    Cluster IPs are from 10.96.0.0/12, endpoints from 10.128.0.0/9. See `Size`.
    """
    yield Kind.NODE, builders.to_json(builders.raw_node(NODE, NODE_ADDRESS))
    for number in range(services):
        yield Kind.SERVICE, raw_service(number)
        if number >= large:
            yield Kind.ENDPOINT_SLICE, raw_slice(number, endpoints)
            continue
        first = _FIRST_OF_LARGE + number * OF_LARGE
        for place in range(0, OF_LARGE, _OF_SLICE):
            last = min(place + _OF_SLICE, OF_LARGE)
            addresses = range(first + place, first + last)
            name = f"{_name(number)}-{place}"
            yield Kind.ENDPOINT_SLICE, _raw_slice(number, name, addresses)


def raw_service(number: int) -> bytes:
    """One of the Services."""
    return builders.to_json(
        builders.raw_service(_name(number), clusterIP=_address(10, 96, number))
    )


def virtual_server(number: int) -> VirtualServerKey:
    """What one of the Services is in the kernel."""
    return VirtualServerKey(
        family=IPFamily.IPV4,
        protocol=Protocol.TCP,
        address=parse_address(_address(10, 96, number)),
        port=80,
    )


def raw_slice(number: int, endpoints: int, *, spare: bool = False) -> bytes:
    """The slice of one of the Services; with a spare endpoint more, or without."""
    first = number * endpoints
    addresses = [_address(10, 128, first + place) for place in range(endpoints)]
    if spare:
        addresses.append(_dotted(_SPARE + number))
    found = [
        builders.raw_endpoint(address, nodeName=f"node-{1 + (first + place) % NODES}")
        for place, address in enumerate(addresses)
    ]
    return builders.to_json(
        builders.raw_slice(f"{_name(number)}-abcde", *found, service=_name(number))
    )


def _raw_slice(number: int, name: str, numbers: Iterable[int]) -> bytes:
    found = [
        builders.raw_endpoint(_address(10, 128, n), nodeName=f"node-{1 + n % NODES}")
        for n in numbers
    ]
    return builders.to_json(builders.raw_slice(name, *found, service=_name(number)))


def write_manifests(path: Path, *, services: int, endpoints: int) -> None:
    """Write the cluster as one file of manifests, as JSON."""
    items = [json.loads(raw) for _, raw in raw_objects(services, endpoints)]
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def raw_slice_list(slices: int, endpoints: int) -> bytes:
    """The answer to listing EndpointSlices."""
    items = b",".join(raw_slice(number, endpoints) for number in range(slices))
    meta = json.dumps({"resourceVersion": "1000"}).encode()
    return (
        b'{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSliceList","metadata":'
        + meta
        + b',"items":['
        + items
        + b"]}"
    )


def fill(store: Store, objects: Iterator[tuple[Kind, bytes]]) -> None:
    """Read objects and put them into a store."""
    for kind, raw in objects:
        store.apply(parse_object(kind, raw))


def change(raw: bytes, kind: Kind = Kind.ENDPOINT_SLICE) -> Event:
    """A changed object, read; a slice unless another kind is said."""
    return parse_object(kind, raw)


def _name(number: int) -> str:
    return f"service-{number}"


def _address(first: int, second: int, number: int) -> str:
    """The address that many after the first, skipping .0 and those above .250."""
    block, last = divmod(number, 250)
    return _dotted((first << 24) + (second << 16) + (block << 8) + last + 1)


def _dotted(number: int) -> str:
    return ".".join(str(byte) for byte in number.to_bytes(4, "big"))
