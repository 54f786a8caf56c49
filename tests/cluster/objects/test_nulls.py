"""Nulls, empty values and numbers are read as the API server would store them."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from msgspec import inspect

from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.objects import api
from ipvsctl.cluster.objects.parse import parse_object
from ipvsctl.model.errors import BadObject
from ipvsctl.model.objects import EndpointSlice, Service
from ipvsctl.model.problem import Kind
from tests.builders import Raw, raw_service, raw_slice, to_json

META = {
    "name": "web",
    "namespace": "default",
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "deletionTimestamp": "2026-01-01T00:00:00Z",
    "labels": {"kubernetes.io/service-name": "web"},
    "annotations": {"ipvsctl.io/scheduler": "lc"},
    "resourceVersion": "1",
}
PORT = {"name": "http", "protocol": "UDP", "port": 80}
WHOLE: dict[Kind, tuple[type[Any], Raw]] = {
    Kind.SERVICE: (
        api.ApiService,
        {
            "metadata": META,
            "spec": {
                "type": "LoadBalancer",
                "ports": [{**PORT, "nodePort": 30080}],
                "selector": {"app": "web"},
                "clusterIP": "10.96.0.10",
                "clusterIPs": ["10.96.0.10"],
                "externalIPs": ["203.0.113.1"],
                "loadBalancerSourceRanges": ["10.0.0.0/8"],
                "internalTrafficPolicy": "Local",
                "externalTrafficPolicy": "Local",
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
                "allocateLoadBalancerNodePorts": False,
                "healthCheckNodePort": 32000,
            },
            "status": {
                "loadBalancer": {"ingress": [{"ip": "198.51.100.1", "ipMode": "VIP"}]}
            },
        },
    ),
    Kind.ENDPOINT_SLICE: (
        api.ApiEndpointSlice,
        {
            "metadata": META,
            "addressType": "IPv4",
            "ports": [PORT],
            "endpoints": [
                {
                    "addresses": ["172.16.0.1"],
                    "conditions": {
                        "ready": False,
                        "serving": True,
                        "terminating": True,
                    },
                    "hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": "b"}]},
                    "nodeName": "node-0",
                }
            ],
        },
    ),
    Kind.ENDPOINTS: (
        api.ApiEndpoints,
        {
            "metadata": META,
            "subsets": [
                {
                    "addresses": [{"ip": "172.16.0.1", "nodeName": "node-0"}],
                    "notReadyAddresses": [{"ip": "172.16.0.2", "nodeName": "node-0"}],
                    "ports": [PORT],
                }
            ],
        },
    ),
    Kind.NODE: (
        api.ApiNode,
        {
            "metadata": META,
            "spec": {
                "podCIDR": "172.16.0.0/24",
                "podCIDRs": ["172.16.0.0/24"],
                "taints": [{"key": "a"}],
            },
            "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.10"}]},
        },
    ),
}
"""Of each kind an object with every field that is read."""

Path = tuple[str | int, ...]


def places(value: object, path: Path = ()) -> Iterator[Path]:
    """The place of every value in an object."""
    if path:
        yield path
    keys: Iterator[str | int] = iter(())
    if isinstance(value, dict):
        keys = iter(value)
    elif isinstance(value, list):
        keys = iter(range(len(value)))
    for key in keys:
        yield from places(value[key], (*path, key))  # type: ignore[index]  # both have it


EVERYWHERE = [(kind, path) for kind, (_, raw) in WHOLE.items() for path in places(raw)]


def read(kind: Kind, raw: Raw) -> Upserted | str:
    """What becomes of an object, the same from JSON as from YAML; a refusal's text."""
    found: list[Upserted | str] = []
    for form in (raw, to_json(raw)):
        try:
            found.append(parse_object(kind, form))
        except BadObject as error:
            found.append(str(error))
    assert found[0] == found[1]
    return found[0]


def changed(kind: Kind, path: Path, value: object) -> Raw:
    """The whole object of a kind with another value in one place; ... takes it out."""
    raw = deepcopy(WHOLE[kind][1])
    inner: Any = raw
    for step in path[:-1]:
        inner = inner[step]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return raw


@pytest.mark.parametrize("kind", WHOLE)
def test_every_field_is_there(kind: Kind) -> None:
    """The objects these facts are about have every field of their shape."""
    shape, raw = WHOLE[kind]
    assert missing(inspect.type_info(shape), raw) == []
    assert isinstance(read(kind, raw), Upserted)


def missing(wanted: inspect.Type, value: Any) -> list[str]:
    """The fields of a shape that a value has not."""
    match wanted:
        case inspect.UnionType(types=types):
            return missing(types[0], value)
        case inspect.ListType(item_type=item):
            return missing(item, value[0])
        case inspect.StructType(fields=fields):
            absent = [f.encode_name for f in fields if f.encode_name not in value]
            for f in fields:
                absent += missing(f.type, value[f.encode_name]) if not absent else []
            return absent
        case _:
            return []


def is_string_of_map(path: Path) -> bool:
    """Whether a place is a value in a map of strings."""
    return len(path) > 1 and path[-2] in {"labels", "annotations", "selector"}


@pytest.mark.parametrize(("kind", "path"), EVERYWHERE)
def test_null_is_absent_and_no_crash(kind: Kind, path: Path) -> None:
    """A field that is null is one that is left out; only a name must be there.

    Among strings a null is "", among objects one without a field.
    """
    found = read(kind, changed(kind, path, None))
    if isinstance(path[-1], int):
        is_string = isinstance(whole_at(kind, path), str)
        same: object = "" if is_string else {}
    else:
        same = "" if is_string_of_map(path) else ...
    assert found == read(kind, changed(kind, path, same))
    has_name = path not in {("metadata",), ("metadata", "name")}
    assert isinstance(found, Upserted) is has_name


def whole_at(kind: Kind, path: Path) -> object:
    """What the whole object has in a place."""
    value: Any = WHOLE[kind][1]
    for step in path:
        value = value[step]
    return value


@pytest.mark.parametrize(("kind", "path"), EVERYWHERE)
def test_empty_is_no_crash(kind: Kind, path: Path) -> None:
    """Whatever can be empty may be."""
    empty = type(whole_at(kind, path))()
    found = read(kind, changed(kind, path, empty))
    has_name = path not in {("metadata",), ("metadata", "name")}
    assert isinstance(found, Upserted) is has_name


@pytest.mark.parametrize(
    ("number", "is_number"),
    [
        (80, True),
        (80.0, True),
        (80.5, False),
        ("80", False),
        (True, False),
    ],
)
def test_numbers(number: object, is_number: bool) -> None:  # noqa: FBT001  # a table
    """80.0 is 80, as kubectl makes it; "80" is a number to nobody."""
    ports = [{"name": "http", "port": number}]
    for kind, raw in (
        (Kind.SERVICE, raw_service(ports=ports)),
        (Kind.ENDPOINT_SLICE, raw_slice(ports=ports)),
    ):
        found = read(kind, raw)
        if not is_number:
            assert isinstance(found, str)
            continue
        assert isinstance(found, Upserted)
        (value,) = found.values
        assert isinstance(value, Service | EndpointSlice)
        assert [port.port for port in value.ports] == [80]


def test_another_fault_is_still_named() -> None:
    """A null beside it hides no value that cannot be read."""
    raw = raw_service(selector={"app": None}, ports=[{"port": "http"}])
    found = read(Kind.SERVICE, raw)
    assert isinstance(found, str)
    assert found.startswith("Service default/web: spec.ports[0].port: 'http': ")
