"""The virtual servers beside that of an external address: one fwmark for each.

An address virtual server has one set of real servers, whoever asks. Where clients
inside the cluster are to have another (external policy Local), or packets that another
node has sent on (in a tunnel), they get a mark, and a virtual server of that mark
holds theirs: IPVS looks for the mark first and for the address then
(ip_vs_ctl.c:ip_vs_service_find), so that a mark without a virtual server does no harm.

One that is needed no more closes: no packet gets its mark, so new connections go where
everybody's do; it stays with its real servers until the connections it has have ended.
Deleted at once, it would cut them (ip_vs_core.c:ip_vs_in_hook: one whose real server is
gone expires, and the next packet reaches the host, which refuses it).
"""

from collections.abc import Container, Iterable, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Final, NamedTuple

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.marks import MarkRange
from ipvsctl.model.net import IPFamily
from ipvsctl.model.sets import MARKING_ROLES, SetEntry, SetRole, set_key
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.service.program import SetMember
from ipvsctl.plan.union.fwmark_allocator import BesideKind, FwmarkAllocator, Place

_ROLES: Final = MappingProxyType(
    {
        BesideKind.INSIDE: (SetRole.SHORT_CIRCUIT, SetRole.SHORT_CIRCUIT_CLOSING),
        # Packets of a closing one get its mark, and then another one in nat, since
        # they are masqueraded now.
        BesideKind.ARRIVAL: (SetRole.TUNNEL_ARRIVAL, SetRole.TUNNEL_ARRIVAL),
    }
)
"""The set that has the entry of an open one, and that of one that closes."""

_KINDS: Final = MappingProxyType(
    {role: kind for kind, roles in _ROLES.items() for role in roles}
)


class Circuit(NamedTuple):
    """A fwmark virtual server beside that of an address, and the entry about it."""

    inside: VirtualServerKey
    member: SetMember


class Agreement(NamedTuple):
    """What a look at the kernel has changed.

    Attributes:
        moved: place that must be opened again -> the circuit it had; None if it had
            none.
        found: those with a circuit that closes, which a process before this one had.
    """

    moved: Mapping[Place, Circuit | None]
    found: frozenset[Place]


class ShortCircuits:
    """The fwmark virtual servers beside each address virtual server that has some."""

    def __init__(self, families: Iterable[IPFamily], mark_range: MarkRange) -> None:
        self._range = mark_range
        self._marks = {family: FwmarkAllocator(mark_range) for family in families}
        self._inside: dict[Place, VirtualServerKey] = {}
        """Place -> the fwmark virtual server there."""
        self._place: dict[VirtualServerKey, Place] = {}
        self._address: dict[VirtualServerKey, VirtualServerKey] = {}
        self._closing: set[Place] = set()
        """The places whose fwmark virtual server closes."""
        self._quiet: frozenset[Place] = frozenset()
        """Those of them that had no connection at the last look."""

    @property
    def addresses(self) -> Mapping[VirtualServerKey, VirtualServerKey]:
        """Fwmark virtual server -> the virtual server of the address it is for."""
        return self._address

    def find(self, place: Place) -> VirtualServerKey | None:
        """The fwmark virtual server at a place, if there is one."""
        return self._inside.get(place)

    def place(self, inside: VirtualServerKey) -> Place | None:
        """The place that a fwmark virtual server is at, if it is one of these."""
        return self._place.get(inside)

    def is_closing(self, place: Place) -> bool:
        """Whether the one at a place is there for the last time."""
        return place in self._closing

    def member(self, place: Place) -> SetMember:
        """The entry about the fwmark virtual server at a place."""
        role = _ROLES[place.kind][place in self._closing]
        return marked_entry(place.key, self._inside[place], role)

    def open(self, place: Place) -> VirtualServerKey | None:
        """Have a fwmark virtual server at a place.

        One that closes is for all such packets again.

        Returns:
            That fwmark virtual server; None when no mark is free (`ready` says when
            one is).
        """
        self._closing.discard(place)
        family = place.key.family
        mark = self._marks[family].take(place)
        if mark is None:
            return None
        inside = VirtualServerKey(family=family, fwmark=mark)
        self._inside[place] = inside
        self._place[inside] = place
        self._address[inside] = place.key
        return inside

    def begin_to_close(self, place: Place) -> bool:
        """Let no more connections begin at a place.

        Returns:
            Whether it closes; one that was never in the kernel has nothing to end.
        """
        is_known = self._marks[place.key.family].is_confirmed(place)
        if place in self._inside and is_known:
            self._closing.add(place)
        return place in self._closing

    def closed(
        self, observed: Observed, touched: AbstractSet[VirtualServerKey]
    ) -> frozenset[Place]:
        """Those that had been closing before a look, and whose connections have ended.

        Args:
            observed: the kernel, nothing of it unread that says whose things are.
            touched: virtual servers that syncs have changed since it was read.
        """
        quiet = frozenset(
            place
            for place in self._closing
            if self._inside[place] not in touched
            and self._has_ended(place, self._inside[place], observed)
        )
        # Of an arrival the sets do not say whether it had been closing: a second look
        # is of another time.
        ended = frozenset(
            place
            for place in quiet
            if place.kind is BesideKind.INSIDE or place in self._quiet
        )
        self._quiet = quiet - ended
        return ended

    def _has_ended(
        self, place: Place, inside: VirtualServerKey, observed: Observed
    ) -> bool:
        state = observed.state
        opened, closing = (
            state.evidence(set_key(role, place.key.family))
            for role in _ROLES[place.kind]
        )
        if self.member(place).entry not in closing:
            return False
        # One that was still open may have got a connection since it was read.
        if place.kind is BesideKind.INSIDE and any(
            entry.mark == inside.fwmark for entry in opened
        ):
            return False
        counted = observed.connections.get(inside, EMPTY).values()
        return not any(stats.active + stats.inactive for stats in counted)

    def close(self, place: Place) -> Circuit | None:
        """Give up the fwmark virtual server at a place.

        Returns:
            What there was, if anything.
        """
        self._marks[place.key.family].release(place)
        return self._drop(place)

    def foreign(self) -> frozenset[VirtualServerKey]:
        """The fwmark virtual servers of others, as of the last `agree`."""
        return _keys({family: marks.foreign for family, marks in self._marks.items()})

    def take_fresh(self) -> frozenset[VirtualServerKey]:
        """The fwmark virtual servers that are not confirmed.

        The marks given up until now may be given out again.
        """
        fresh = {family: marks.take_fresh() for family, marks in self._marks.items()}
        return _keys(fresh)

    def confirm(self, keys: AbstractSet[VirtualServerKey]) -> None:
        """Note that these were not in the kernel, and have been added."""
        for family, marks in self._marks.items():
            marks.confirm({key.fwmark for key in keys if key.family is family})

    def doubt(self, keys: AbstractSet[VirtualServerKey]) -> None:
        """Note that these were not in the kernel, and others added them first."""
        for family, marks in self._marks.items():
            marks.doubt({key.fwmark for key in keys if key.family is family})

    def agree(
        self,
        observed: NodeState,
        served: Container[VirtualServerKey],
        *,
        keeps_unwanted: bool = False,
    ) -> Agreement:
        """Agree with the kernel on marks; see `FwmarkAllocator.agree`.

        Args:
            observed: the whole state.
            served: the address virtual servers that are desired.
            keeps_unwanted: see there.
        """
        moved: dict[Place, Circuit | None] = {}
        found: set[Place] = set()
        for family, marks in self._marks.items():
            held, present = _held(observed, family), _present(observed, family)
            closing = {k for k, m in held.items() if m in present and k.key in served}
            for place in marks.agree(
                held, present, closing=closing, keeps_unwanted=keeps_unwanted
            ):
                moved[place] = self._drop(place)
            found |= {
                place
                for place in closing - self._inside.keys() - moved.keys()
                if marks.mark_of(place) == held[place]
            }
        for place in found:
            self.open(place)
            self._closing.add(place)
        return Agreement(moved, frozenset(found))

    @property
    def ready(self) -> Place | None:
        """A place that can be opened now and could not be before."""
        for marks in self._marks.values():
            if marks.ready is not None:
                return marks.ready
        return None

    @property
    def shortage(self) -> str:
        """Why an address virtual server cannot be opened."""
        return f"no fwmark of {self._range} is free for clients inside the cluster"

    def _drop(self, place: Place) -> Circuit | None:
        if place not in self._inside:
            return None
        circuit = Circuit(self._inside[place], self.member(place))
        inside = self._inside.pop(place)
        del self._address[inside], self._place[inside]
        self._closing.discard(place)
        return circuit


def marked_entry(
    key: VirtualServerKey,
    inside: VirtualServerKey,
    role: SetRole = SetRole.SHORT_CIRCUIT,
) -> SetMember:
    """The entry that marks packets to an address for a fwmark virtual server.

    Args:
        key: virtual server of the address.
        inside: that of the fwmark.
        role: one of `MARKING_ROLES`.
    """
    entry = SetEntry(
        address=key.address, protocol=key.protocol, port=key.port, mark=inside.fwmark
    )
    return SetMember(set_key(role, key.family), entry)


def _keys(
    marks: Mapping[IPFamily, AbstractSet[int]],
) -> frozenset[VirtualServerKey]:
    return frozenset(
        VirtualServerKey(family=family, fwmark=mark)
        for family, some in marks.items()
        for mark in some
    )


def _held(state: NodeState, family: IPFamily) -> Mapping[Place, int]:
    """Place -> its mark; of two, the one that packets get."""
    return {
        Place(
            VirtualServerKey(
                family=family,
                protocol=entry.protocol,
                address=entry.address,
                port=entry.port or 0,
            ),
            _KINDS[role],
        ): entry.mark
        for role in reversed(MARKING_ROLES)
        for entry in state.evidence(set_key(role, family))
        if entry.mark
    }


def _present(state: NodeState, family: IPFamily) -> frozenset[int]:
    return frozenset(
        key.fwmark
        for key in state.virtual_servers
        if key.fwmark and key.family is family
    )
