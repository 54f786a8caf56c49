"""Any object that is read, by kind; and lists, item by item."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from ipvsctl.cluster.api import ObjectList
from ipvsctl.cluster.decode import RawObject, ShapeDecoder
from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.nodes import parse_node
from ipvsctl.cluster.services import parse_service
from ipvsctl.cluster.slices import parse_endpoint_slice, parse_endpoints
from ipvsctl.model.problem import Kind

API_VERSIONS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.SERVICE: "v1",
        Kind.ENDPOINT_SLICE: "discovery.k8s.io/v1",
        Kind.ENDPOINTS: "v1",
        Kind.NODE: "v1",
    }
)
"""Kinds of other API groups may have the same names: a Knative `Service` has."""

KINDS: Mapping[tuple[str, str], Kind] = MappingProxyType(
    {(version, kind.value): kind for kind, version in API_VERSIONS.items()}
)
"""The kinds by `apiVersion` and `kind`."""

_PARSERS: Mapping[Kind, Callable[[RawObject, str], Upserted]] = MappingProxyType(
    {
        Kind.SERVICE: parse_service,
        Kind.ENDPOINT_SLICE: parse_endpoint_slice,
        Kind.ENDPOINTS: parse_endpoints,
        Kind.NODE: lambda raw, _proxy_name: parse_node(raw),
    }
)

_lists = ShapeDecoder("List", ObjectList)


def parse_object(kind: Kind, raw: RawObject, proxy_name: str = "") -> Upserted:
    """Read one object of a known kind.

    Args:
        kind: what it is.
        raw: the object.
        proxy_name: see `ProxyConfig.service_proxy_name`.

    Raises:
        BadObject: the object has another shape than its kind's, or no name.
    """
    return _PARSERS[kind](raw, proxy_name)


def decode_list(raw: bytes | msgspec.Raw) -> ObjectList:
    """Take a JSON list apart without reading its items.

    Raises:
        BadObject: not a list.
    """
    return _lists.decode(raw)
