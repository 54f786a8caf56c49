"""How much of the cluster is known for sure: the rest may not be taken for gone."""

from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from ipvsctl.cluster.events import Doubted, Invalid, Value
from ipvsctl.model.objects import EndpointSlice
from ipvsctl.model.problem import Kind, ObjectRef

_SHOWN: Final = 20
_SLICES: Final = frozenset({Kind.ENDPOINT_SLICE, Kind.ENDPOINTS})

Objects = Mapping[Kind, Mapping[ObjectRef, tuple[Value, ...]]]


class Vouched(msgspec.Struct, frozen=True, kw_only=True):
    """How far the input could be read.

    Attributes:
        has_all_services: no Service is unknown. Else any virtual server of ours that
            nobody wants may be wanted all the same.
        has_all_endpoints: no endpoint of any Service is unknown.
        unsure: Services with a slice that cannot be understood now: their endpoints
            may be more than is known, even of those that were known.
        doubts: the parts that could not be read, and why, a line each; none if the
            input is whole. A part that was whole once is among them too: its last good
            state stays in force.
    """

    has_all_services: bool = True
    has_all_endpoints: bool = True
    unsure: frozenset[ObjectRef] = frozenset()
    doubts: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Everything could be read."""
        return not self.doubts


WHOLE: Final = Vouched()


def vouch(
    invalid: Collection[Invalid], doubted: Mapping[Kind, Doubted], known: Objects
) -> Vouched:
    """How far the input could be read, given all that could not.

    Args:
        invalid: objects and files that cannot be understood now.
        doubted: the lists that are not believed.
        known: every object's last good state.
    """
    never = [event for event in invalid if not _is_known(event, known)]
    lost = {event.kind for event in never} | doubted.keys()
    owners = [_owners(event, known) for event in invalid if event.kind in _SLICES]
    return Vouched(
        has_all_services=not lost & {Kind.MANIFEST, Kind.SERVICE},
        has_all_endpoints=not (
            lost & {Kind.MANIFEST}
            or _SLICES & doubted.keys()
            or any(not of for of in owners)
        ),
        unsure=frozenset().union(*owners),
        doubts=tuple(_doubts(invalid, doubted)),
    )


def _is_known(event: Invalid, known: Objects) -> bool:
    return event.is_kept or event.ref in known[event.kind]


def _owners(event: Invalid, known: Objects) -> AbstractSet[ObjectRef]:
    """The Services a slice is of, as it says now and as it said before."""
    before = known[event.kind].get(event.ref, ())
    owners = {piece.service for piece in before if isinstance(piece, EndpointSlice)}
    return owners if event.service is None else owners | {event.service}


def _doubts(
    invalid: Collection[Invalid], doubted: Mapping[Kind, Doubted]
) -> Iterator[str]:
    for kind in sorted(doubted):
        yield doubted[kind].reason
    some = sorted(invalid, key=lambda event: (event.kind, event.ref))
    for event in some[:_SHOWN]:
        yield _line(event)
    if len(some) > _SHOWN:
        yield f"and {len(some) - _SHOWN} more that cannot be read"


def _line(event: Invalid) -> str:
    """The first problem of an object or file, and how many others there are."""
    problems = event.problems
    first = str(problems[0]) if problems else f"{event.kind} {event.ref}"
    more = len(problems) - 1
    return f"{first} (and {more} more)" if more > 0 else first
