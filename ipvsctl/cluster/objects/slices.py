"""EndpointSlices and plain Endpoints of the API to slice values."""

from collections.abc import Iterable
from sys import intern
from typing import Final

from ipvsctl.cluster.events import Upserted
from ipvsctl.cluster.objects.api import (
    ApiEndpoint,
    ApiEndpointPort,
    ApiEndpoints,
    ApiEndpointSlice,
    Conditions,
    EndpointAddress,
    Hint,
    ObjectMeta,
    Subset,
)
from ipvsctl.cluster.objects.decode import (
    RawObject,
    ShapeDecoder,
    object_ref,
    plain_object,
)
from ipvsctl.cluster.objects.findings import Findings, usable_address
from ipvsctl.cluster.objects.services import given_away
from ipvsctl.model.net import IPFamily, family_of
from ipvsctl.model.objects import Endpoint, EndpointSlice, SlicePort
from ipvsctl.model.problem import Kind, ObjectRef

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
WEIGHT_ANNOTATION = "ipvsctl.io/weight"
TRIGGER_TIME_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"

MAX_WEIGHT = 65535
"""ipvsadm(8)."""

_FAMILIES = {"IPv4": IPFamily.IPV4, "IPv6": IPFamily.IPV6}
_UNKNOWN = Conditions()
_NOBODY: frozenset[str] = frozenset()

SLICES: Final = ShapeDecoder("EndpointSlice", ApiEndpointSlice)
ENDPOINTS: Final = ShapeDecoder("Endpoints", ApiEndpoints)


def parse_endpoint_slice(raw: RawObject, proxy_name: str = "") -> Upserted:
    """Read one EndpointSlice.

    Returns:
        One value, or none for a slice that is no Service's, is another proxy's, or
        holds names instead of addresses (`addressType: FQDN`).

    Raises:
        BadObject: not an EndpointSlice, or without a name.
    Source: kube-proxy pkg/proxy/endpointslicecache.go.
    """
    return read_endpoint_slice(SLICES.decode(raw), proxy_name)


def read_endpoint_slice(api: ApiEndpointSlice, proxy_name: str) -> Upserted:
    """Read an EndpointSlice that was decoded."""
    ref = object_ref(Kind.ENDPOINT_SLICE, api.metadata)
    found = Findings(Kind.ENDPOINT_SLICE, ref)
    labels = (api.metadata.labels if api.metadata else None) or {}
    service = labels.get(SERVICE_NAME_LABEL)
    values: tuple[EndpointSlice, ...] = ()
    is_read = api.address_type != "FQDN" and not given_away(labels, proxy_name)
    if service and is_read:
        family = _FAMILIES.get(api.address_type or "")
        if family is None:
            known = ", ".join((*_FAMILIES, "FQDN"))
            found.add("addressType", api.address_type or "", f"not one of {known}")
        else:
            values = (
                EndpointSlice(
                    ref=ref,
                    service=ObjectRef(ref.namespace, service),
                    family=family,
                    ports=_ports("ports", api.ports or (), found),
                    endpoints=_endpoints(api.endpoints or (), family, found),
                    weight=_weight(api.metadata, found),
                    trigger_time=_trigger_time(api.metadata),
                ),
            )
    return Upserted(
        kind=Kind.ENDPOINT_SLICE, ref=ref, values=values, problems=found.problems
    )


def service_of(raw: RawObject, namespace: str) -> ObjectRef | None:
    """The Service of a slice that cannot be read, as far as it tells."""
    whole = plain_object(raw)
    meta = whole.get("metadata") if isinstance(whole, dict) else None
    labels = meta.get("labels") if isinstance(meta, dict) else None
    name = labels.get(SERVICE_NAME_LABEL) if isinstance(labels, dict) else None
    return ObjectRef(namespace, name) if name and isinstance(name, str) else None


def parse_endpoints(raw: RawObject, proxy_name: str = "") -> Upserted:
    """Read one plain Endpoints object.

    Returns:
        A slice for each family in each subset; their names (`web.0.IPv4`) can be no
        real slice's, since those are lower case.

    Raises:
        BadObject: not an Endpoints object, or without a name.
    """
    return read_endpoints(ENDPOINTS.decode(raw), proxy_name)


def read_endpoints(api: ApiEndpoints, proxy_name: str) -> Upserted:
    """Read an Endpoints object that was decoded."""
    ref = object_ref(Kind.ENDPOINTS, api.metadata)
    found = Findings(Kind.ENDPOINTS, ref)
    labels = (api.metadata.labels if api.metadata else None) or {}
    values: list[EndpointSlice] = []
    weight = _weight(api.metadata, found)
    subsets = () if given_away(labels, proxy_name) else api.subsets or ()
    for index, subset in enumerate(subsets):
        field = f"subsets[{index}]"
        ports = _ports(f"{field}.ports", subset.ports or (), found)
        endpoints = _subset_endpoints(field, subset, found)
        for family in IPFamily:
            members = tuple(e for e in endpoints if family_of(e.address) is family)
            if members:
                values.append(
                    EndpointSlice(
                        ref=ObjectRef(
                            ref.namespace, f"{ref.name}.{index}.{family.label}"
                        ),
                        service=ref,
                        family=family,
                        ports=ports,
                        endpoints=members,
                        weight=weight,
                        from_endpoints=True,
                        trigger_time=_trigger_time(api.metadata),
                    )
                )
    return Upserted(
        kind=Kind.ENDPOINTS, ref=ref, values=tuple(values), problems=found.problems
    )


def _weight(meta: ObjectMeta | None, found: Findings) -> int:
    """The weight that all endpoints of an object share; 1 unless it says."""
    text = ((meta.annotations if meta else None) or {}).get(WEIGHT_ANNOTATION, "")
    if not text:
        return 1
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= MAX_WEIGHT:
        return int(text)
    found.add(
        f"metadata.annotations.{WEIGHT_ANNOTATION}",
        text,
        f"not a weight (0-{MAX_WEIGHT}); 1 is used",
    )
    return 1


def _trigger_time(meta: ObjectMeta | None) -> str:
    annotations = (meta.annotations if meta else None) or {}
    return annotations.get(TRIGGER_TIME_ANNOTATION, "")


def _ports(
    field: str, ports: Iterable[ApiEndpointPort], found: Findings
) -> tuple[SlicePort, ...]:
    """The ports; one without a number means "all ports", which no Service can use."""
    kept = []
    for index, api in enumerate(ports):
        if api.port is None:
            continue
        protocol = found.protocol(f"{field}[{index}].protocol", api.protocol)
        number = found.port(f"{field}[{index}].port", api.port)
        if protocol is not None and number is not None:
            kept.append(
                SlicePort(name=intern(api.name or ""), protocol=protocol, port=number)
            )
    return tuple(kept)


def _endpoints(
    endpoints: Iterable[ApiEndpoint], family: IPFamily, found: Findings
) -> tuple[Endpoint, ...]:
    kept = []
    for index, api in enumerate(endpoints):
        # The API: addresses after the first are not used, and have no meaning.
        text = api.addresses[0] if api.addresses else ""
        try:
            address = usable_address(text, family)
        except ValueError as exc:
            found.add(f"endpoints[{index}].addresses[0]", text, str(exc))
            continue
        conditions = api.conditions or _UNKNOWN
        hints = api.hints
        kept.append(
            Endpoint(
                address=address,
                ready=conditions.ready is not False,
                serving=conditions.serving is not False,
                terminating=conditions.terminating is True,
                # A cluster has a hundred endpoints for every node name.
                node_name=intern(api.node_name) if api.node_name else "",
                hint_zones=_names(hints.for_zones) if hints else _NOBODY,
                hint_nodes=_names(hints.for_nodes) if hints else _NOBODY,
            )
        )
    return tuple(kept)


def _names(hints: list[Hint] | None) -> frozenset[str]:
    if not hints:
        return _NOBODY
    return frozenset(intern(hint.name) for hint in hints if hint.name)


def _subset_endpoints(field: str, subset: Subset, found: Findings) -> list[Endpoint]:
    """The endpoints that the mirroring controller would make of a subset.

    It says of an address whether it is ready, and nothing else: one that is not is said
    to serve, and to stay; so no traffic goes there even as the last resort.
    Source: endpointslicemirroring `addressToEndpoint`.
    """
    groups: tuple[tuple[str, bool, list[EndpointAddress] | None], ...] = (
        ("addresses", True, subset.addresses),
        ("notReadyAddresses", False, subset.not_ready_addresses),
    )
    kept = []
    for group, ready, addresses in groups:
        for index, api in enumerate(addresses or ()):
            address = found.address(f"{field}.{group}[{index}].ip", api.ip or "")
            if address is not None:
                kept.append(
                    Endpoint(
                        address=address,
                        ready=ready,
                        node_name=intern(api.node_name or ""),
                    )
                )
    return kept
