"""Objects as they are kept: encoded once, the resource version apart.

A list or an event of many thousand objects is then a join of bytes.
"""

from typing import Any

import msgspec

from tests.fakes.apiserver.kinds import Resource

Raw = dict[str, Any]

_META_ORDER = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)
_MARK = "\u241e"
_CUT = msgspec.json.encode(_MARK)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One object at one resource version."""

    resource: Resource
    namespace: str
    name: str
    labels: dict[str, str]
    revision: int
    head: bytes
    tail: bytes

    @property
    def key(self) -> str:
        """What lists are sorted by."""
        return entry_key(self.namespace, self.name)

    def item(self) -> bytes:
        """The object as one of a list's items, without kind and version."""
        return b'%b"%d"%b' % (self.head, self.revision, self.tail)

    def object(self) -> bytes:
        """The object on its own."""
        return b"%b,%b" % (type_prefix(self.resource), self.item()[1:])

    def at(self, revision: int) -> "Entry":
        """The same object at another resource version."""
        return msgspec.structs.replace(self, revision=revision)

    def decode(self) -> Raw:
        """The object as a dictionary."""
        found: Raw = msgspec.json.decode(self.object())
        return found


def entry_key(namespace: str, name: str) -> str:
    """The key of an object; `namespace` is empty when it has none."""
    return f"{namespace}/{name}" if namespace else name


def make_entry(resource: Resource, raw: Raw, revision: int) -> Entry:
    """Encode an object; nulls in its metadata are left out, as Go does.

    Args:
        resource: what it is.
        raw: the object; its kind, version and resource version are not looked at.
        revision: its resource version.
    """
    given = {**raw["metadata"], "resourceVersion": _MARK}
    ordered = {key: given.pop(key) for key in _META_ORDER if key in given}
    metadata = {k: v for k, v in {**ordered, **given}.items() if v is not None}
    rest = {k: v for k, v in raw.items() if k not in {"kind", "apiVersion", "metadata"}}
    head, _, tail = msgspec.json.encode({"metadata": metadata, **rest}).partition(_CUT)
    return Entry(
        resource=resource,
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        labels=metadata.get("labels") or {},
        revision=revision,
        head=head,
        tail=tail,
    )


def type_prefix(resource: Resource, suffix: str = "") -> bytes:
    """The beginning of an object: its kind and version."""
    kind = f'{{"kind":"{resource.kind}{suffix}","apiVersion":"{resource.api_version}"'
    return kind.encode()
