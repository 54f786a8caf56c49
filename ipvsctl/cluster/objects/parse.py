"""Any object that is read, by kind; and lists, item by item."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.objects.api import ObjectList
from ipvsctl.cluster.objects.decode import RawObject, ShapeDecoder
from ipvsctl.cluster.objects.leases import LEASES, read_lease
from ipvsctl.cluster.objects.nodes import NODES, read_node
from ipvsctl.cluster.objects.services import SERVICES, read_service
from ipvsctl.cluster.objects.slices import (
    ENDPOINTS,
    SLICES,
    read_endpoint_slice,
    read_endpoints,
)
from ipvsctl.model.problem import Kind

API_VERSIONS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.SERVICE: "v1",
        Kind.ENDPOINT_SLICE: "discovery.k8s.io/v1",
        Kind.ENDPOINTS: "v1",
        Kind.NODE: "v1",
        Kind.LEASE: "coordination.k8s.io/v1",
    }
)
"""Kinds of other API groups may have the same names: a Knative `Service` has."""

KINDS: Mapping[tuple[str, str], Kind] = MappingProxyType(
    {(version, kind.value): kind for kind, version in API_VERSIONS.items()}
)
"""The kinds by `apiVersion` and `kind`."""

_Reader = tuple[ShapeDecoder[Any], Callable[[Any, str], Upserted]]
"""Bytes to a kind's shape, and that shape to values."""

_READERS: Mapping[Kind, _Reader] = MappingProxyType(
    {
        Kind.SERVICE: (SERVICES, read_service),
        Kind.ENDPOINT_SLICE: (SLICES, read_endpoint_slice),
        Kind.ENDPOINTS: (ENDPOINTS, read_endpoints),
        Kind.NODE: (NODES, lambda api, _proxy_name: read_node(api)),
        Kind.LEASE: (LEASES, lambda api, _proxy_name: read_lease(api)),
    }
)

_lists = ShapeDecoder("List", ObjectList)


def parse_object(kind: Kind, raw: RawObject, proxy_name: str = "") -> Upserted:
    """Read one object of a known kind.

    Args:
        kind: of the object.
        raw: the object.
        proxy_name: see `ProxyConfig.service_proxy_name`.

    Raises:
        BadObject: the object has another shape than its kind's, or no name.
    """
    decoder, read = _READERS[kind]
    return read(decoder.decode(raw), proxy_name)


def parse_versioned(
    kind: Kind, raw: RawObject, proxy_name: str = ""
) -> tuple[Upserted, str]:
    """Read one object of a known kind, and its resource version; "" without.

    Raises:
        BadObject: as `parse_object`.
    """
    decoder, read = _READERS[kind]
    api = decoder.decode(raw)
    found = read(api, proxy_name)
    version = api.metadata and api.metadata.resource_version
    return found, version if isinstance(version, str) else ""


def decode_list(raw: bytes | msgspec.Raw) -> ObjectList:
    """Take a JSON list apart without reading its items.

    Raises:
        BadObject: not a list.
    """
    return _lists.decode(raw)
