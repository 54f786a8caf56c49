"""Problems: what is wrong with one object, as a value."""

from enum import StrEnum

import msgspec


class ObjectRef(msgspec.Struct, gc=False, frozen=True, order=True):
    """The name of an object; `namespace` is "" for Nodes, and for a manifest's path."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Kind(StrEnum):
    """The kinds of object that are read, and the files they may come from."""

    SERVICE = "Service"
    ENDPOINT_SLICE = "EndpointSlice"
    ENDPOINTS = "Endpoints"
    NODE = "Node"
    MANIFEST = "Manifest"


class Problem(msgspec.Struct, gc=False, frozen=True, kw_only=True, order=True):
    """One thing about one object that cannot be honoured.

    The rest of the object, and every other object, is.

    Attributes:
        kind: kind of the object that has it.
        ref: which object.
        field: path inside it, `spec.ports[1].nodePort`.
        value: what was there, as text.
        reason: why it cannot be honoured, a clause without a full stop.
    """

    kind: Kind
    ref: ObjectRef
    field: str
    value: str
    reason: str

    def __str__(self) -> str:
        """One line: kind, name, field, value, reason; without what is empty."""
        parts = (f"{self.kind} {self.ref}", self.field, self.value, self.reason)
        return ": ".join(part for part in parts if part)
