"""News of a source about the cluster, as values."""

import msgspec

from ipvsctl.model.host import ApiServer
from ipvsctl.model.objects import EndpointSlice, Node, Service, TunnelOffer
from ipvsctl.model.problem import Kind, ObjectRef, Problem

Value = Service | EndpointSlice | Node | TunnelOffer


class Upserted(msgspec.Struct, frozen=True, kw_only=True):
    """An object is there, or has changed; parsing an object makes one of these.

    Attributes:
        kind: kind of the object that was read.
        ref: its name, with namespace "" for a Node.
        values: the meaning of the object: one value; none for a slice of no Service,
            or a Lease that is no offer;
            one slice for each family in each subset of an Endpoints object.
        problems: parts of the object that cannot be honoured.
    """

    kind: Kind
    ref: ObjectRef
    values: tuple[Value, ...]
    problems: tuple[Problem, ...] = ()


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """An object is gone, and its problems with it."""

    kind: Kind
    ref: ObjectRef


class Invalid(msgspec.Struct, frozen=True, kw_only=True):
    """An object or manifest file that cannot be understood.

    Its last good state stays in force; the problems stay until the next `Upserted` or
    `Deleted` of the same kind and ref.

    Attributes:
        service: of a slice, the Service it is of; None where that is not known.
        is_kept: of a file: all of it was understood once, and that stays in force.
    """

    kind: Kind
    ref: ObjectRef
    problems: tuple[Problem, ...]
    service: ObjectRef | None = None
    is_kept: bool = False


class Replaced(msgspec.Struct, frozen=True, kw_only=True):
    """A kind was listed anew: its objects with other names are gone."""

    kind: Kind
    refs: frozenset[ObjectRef]


class Doubted(msgspec.Struct, frozen=True, kw_only=True):
    """A kind was listed anew, and the list is not believed: nothing of it is gone.

    Ends with the next `Replaced` of the kind.

    Attributes:
        reason: why, a clause that names the list.
    """

    kind: Kind
    reason: str


class Synced(msgspec.Struct, frozen=True):
    """The source has told its complete first state."""


class ApiServersFound(msgspec.Struct, frozen=True):
    """Where the source asks the API server, from now on."""

    servers: frozenset[ApiServer]


Event = Upserted | Deleted | Invalid | Replaced | Doubted | Synced | ApiServersFound
