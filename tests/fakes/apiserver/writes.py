"""Create, replace, patch and delete: what a body does to an object."""

import uuid
from typing import Any

import msgspec

from ipvsctl.model.net import parse_address
from tests.fakes.apiserver.defaults import set_defaults
from tests.fakes.apiserver.entries import Entry, Raw
from tests.fakes.apiserver.kinds import (
    LEASES,
    NAMESPACES,
    RESOURCES,
    SLICES,
    Resource,
    Target,
)
from tests.fakes.apiserver.status import (
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    unsupported_media_type,
)
from tests.fakes.apiserver.store import Store

# A strategic merge patch is the same as a merge patch for fields that are no lists.
_PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json")


def find(store: Store, target: Target) -> Entry:
    """The object that a path names.

    Raises:
        Refusal: 404.
    """
    name = target.name or ""
    entry = store.shelf(target.resource).get(target.namespace or "", name)
    if entry is None:
        raise not_found(target.resource, name)
    return entry


def create(store: Store, target: Target, body: bytes) -> Entry:
    """Create an object.

    Raises:
        Refusal: 400, 404 (the namespace), 409, 422.
    """
    resource = target.resource
    raw = _decode(body)
    metadata = dict(raw["metadata"])
    if "name" not in metadata:
        metadata["name"] = f"{metadata.get('generateName', '')}{uuid.uuid4().hex[:5]}"
    if resource.is_namespaced:
        metadata["namespace"] = target.namespace
        if store.shelf(NAMESPACES).get("", target.namespace or "") is None:
            raise not_found(NAMESPACES, target.namespace or "")
    if store.shelf(resource).get(target.namespace or "", metadata["name"]) is not None:
        raise already_exists(resource, metadata["name"])
    return _store(store, resource, {**raw, "metadata": metadata})


def replace(store: Store, target: Target, body: bytes) -> Entry:
    """Have an object be like the body.

    Raises:
        Refusal: 400, 404, 409 (it names an older resource version), 422.
    """
    before = find(store, target)
    raw = _decode(body)
    if target.resource.is_namespaced:
        raw["metadata"].setdefault("namespace", target.namespace)
    return _replace(store, target, before, raw)


def patch(store: Store, target: Target, body: bytes, content_type: str) -> Entry:
    """Change some fields of an object.

    Raises:
        Refusal: 400, 404, 409, 415 (no merge patch), 422.
    """
    if content_type not in _PATCHES:
        raise unsupported_media_type(_PATCHES)
    before = find(store, target)
    given = _decode(body, is_whole=False)
    return _replace(store, target, before, merge(before.decode(), given))


def delete(store: Store, target: Target) -> Entry:
    """Delete an object; with a namespace goes what is in it.

    Raises:
        Refusal: 404.
    """
    before = find(store, target)
    if target.resource == NAMESPACES:
        for resource in RESOURCES:
            for entry in store.shelf(resource).entries():
                if entry.namespace == before.name:
                    store.delete(resource.kind, entry.name, entry.namespace)
    store.delete(target.resource.kind, before.name, before.namespace)
    return before


def merge(raw: Any, given: Any) -> Any:
    """A JSON merge patch applied (RFC 7396)."""
    if not isinstance(given, dict):
        return given
    merged = dict(raw) if isinstance(raw, dict) else {}
    for key, value in given.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def _replace(store: Store, target: Target, before: Entry, raw: Raw) -> Entry:
    given = raw["metadata"].get("resourceVersion")
    if not given and target.resource == LEASES:
        # Its strategy allows no update that names none.
        cause = {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: 0: must be specified for an update",
            "field": "metadata.resourceVersion",
        }
        raise invalid(LEASES.kind, LEASES.group, before.name, [cause])
    if given not in {None, "", str(before.revision)}:
        raise conflict(target.resource, before.name)
    was = before.decode()
    if target.subresource:
        raw = {**was, target.subresource: raw.get(target.subresource)}
    elif "status" in was:
        raw = {**raw, "status": was["status"]}
    return _store(store, target.resource, raw)


def _store(store: Store, resource: Resource, raw: Raw) -> Entry:
    metadata = {k: v for k, v in raw["metadata"].items() if k != "resourceVersion"}
    whole = set_defaults(store, {**raw, "kind": resource.kind, "metadata": metadata})
    if resource == SLICES:
        _check_addresses(whole)
    return store.put(whole)


def _check_addresses(raw: Raw) -> None:
    causes = []
    for place, endpoint in enumerate(raw.get("endpoints") or ()):
        for index, address in enumerate(endpoint["addresses"]):
            if raw["addressType"] != "FQDN" and not _is_address(address):
                why = (
                    f'Invalid value: "{address}": must be a valid IP address, (e.g. '
                    "10.9.8.7 or 2001:db8::ffff)"
                )
                field = f"endpoints[{place}].addresses[{index}]"
                cause = {"reason": "FieldValueInvalid", "message": why, "field": field}
                causes.append(cause)
    if causes:
        raise invalid(SLICES.kind, SLICES.group, raw["metadata"]["name"], causes)


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True


def _decode(body: bytes, *, is_whole: bool = True) -> Raw:
    try:
        raw: Raw = msgspec.json.decode(body, type=dict)
    except msgspec.DecodeError as error:
        raise bad_request(f"the object provided is unrecognized: {error}") from error
    if is_whole and not isinstance(raw.get("metadata"), dict):
        raise bad_request("the object provided is unrecognized: no metadata")
    return raw
