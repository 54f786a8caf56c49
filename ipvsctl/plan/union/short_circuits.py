"""The virtual servers of inside clients: one fwmark for each external address.

An address virtual server has one set of real servers, whoever asks. Where clients
inside the cluster are to have another (external policy Local), their packets get a
mark, and a virtual server of that mark holds theirs: IPVS looks for the mark first and
for the address then (ip_vs_ctl.c:ip_vs_service_find), so that a mark without a virtual
server does no harm.

One that is needed no more closes: no packet gets its mark, so new connections go where
everybody's do; it stays with its real servers until the connections it has have ended.
Deleted at once, it would cut them (ip_vs_core.c:ip_vs_in_hook: one whose real server is
gone expires, and the next packet reaches the host, which refuses it).
"""

from collections.abc import Container, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.marks import MarkRange
from ipvsctl.model.net import IPFamily
from ipvsctl.model.sets import MARKING_ROLES, SetEntry, SetRole, set_key
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.service.program import SetMember
from ipvsctl.plan.union.fwmark_allocator import FwmarkAllocator


class Circuit(NamedTuple):
    """A fwmark virtual server beside that of an address, and the entry about it."""

    inside: VirtualServerKey
    member: SetMember


class Agreement(NamedTuple):
    """What a look at the kernel has changed.

    Attributes:
        moved: address virtual server that must be opened again -> the circuit it had;
            None if it had none.
        found: those with a circuit that closes, which a process before this one had.
    """

    moved: Mapping[VirtualServerKey, Circuit | None]
    found: frozenset[VirtualServerKey]


class ShortCircuits:
    """The fwmark virtual server of each address virtual server that has one."""

    def __init__(self, families: Iterable[IPFamily], mark_range: MarkRange) -> None:
        self._range = mark_range
        self._marks = {family: FwmarkAllocator(mark_range) for family in families}
        self._inside: dict[VirtualServerKey, VirtualServerKey] = {}
        """Address virtual server -> the fwmark virtual server beside it."""
        self._address: dict[VirtualServerKey, VirtualServerKey] = {}
        self._closing: set[VirtualServerKey] = set()
        """The address virtual servers whose fwmark virtual server closes."""

    @property
    def addresses(self) -> Mapping[VirtualServerKey, VirtualServerKey]:
        """Fwmark virtual server -> the virtual server of the address it is for."""
        return self._address

    def find(self, key: VirtualServerKey) -> VirtualServerKey | None:
        """The fwmark virtual server beside that of an address, if there is one."""
        return self._inside.get(key)

    def is_closing(self, key: VirtualServerKey) -> bool:
        """Whether the one beside that of an address is there for the last time."""
        return key in self._closing

    def member(self, key: VirtualServerKey) -> SetMember:
        """The entry about the fwmark virtual server beside that of an address."""
        is_closing = key in self._closing
        role = SetRole.SHORT_CIRCUIT_CLOSING if is_closing else SetRole.SHORT_CIRCUIT
        return marked_entry(key, self._inside[key], role)

    def open(self, key: VirtualServerKey) -> VirtualServerKey | None:
        """Have a fwmark virtual server beside that of an address.

        One that closes is for all inside clients again.

        Returns:
            That fwmark virtual server; None when no mark is free (`ready` says when
            one is).
        """
        self._closing.discard(key)
        mark = self._marks[key.family].take(key)
        if mark is None:
            return None
        inside = VirtualServerKey(family=key.family, fwmark=mark)
        self._inside[key] = inside
        self._address[inside] = key
        return inside

    def begin_to_close(self, key: VirtualServerKey) -> bool:
        """Let no more packets have the mark that stands for an address.

        Returns:
            Whether it closes; one that was never in the kernel has nothing to end.
        """
        if key in self._inside and self._marks[key.family].is_confirmed(key):
            self._closing.add(key)
        return key in self._closing

    def closed(
        self, observed: Observed, touched: AbstractSet[VirtualServerKey]
    ) -> frozenset[VirtualServerKey]:
        """Those that had been closing before a look, and whose connections have ended.

        Args:
            observed: the kernel, nothing of it unread that says whose things are.
            touched: virtual servers that syncs have changed since it was read.

        Returns:
            Address virtual servers.
        """
        return frozenset(
            key
            for key in self._closing
            if self._inside[key] not in touched
            and self._has_ended(key, self._inside[key], observed)
        )

    def _has_ended(
        self, key: VirtualServerKey, inside: VirtualServerKey, observed: Observed
    ) -> bool:
        state = observed.state
        marking = state.evidence(set_key(SetRole.SHORT_CIRCUIT, key.family))
        closing = state.evidence(set_key(SetRole.SHORT_CIRCUIT_CLOSING, key.family))
        # One that was still open may have got a connection since it was read.
        if self.member(key).entry not in closing or any(
            entry.mark == inside.fwmark for entry in marking
        ):
            return False
        counted = observed.connections.get(inside, EMPTY).values()
        return not any(stats.active + stats.inactive for stats in counted)

    def close(self, key: VirtualServerKey) -> Circuit | None:
        """Give up the fwmark virtual server beside that of an address.

        Returns:
            What there was, if anything.
        """
        self._marks[key.family].release(key)
        return self._drop(key)

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
        moved: dict[VirtualServerKey, Circuit | None] = {}
        found: set[VirtualServerKey] = set()
        for family, marks in self._marks.items():
            held, present = _held(observed, family), _present(observed, family)
            closing = {k for k, m in held.items() if m in present and k in served}
            for key in marks.agree(
                held, present, closing=closing, keeps_unwanted=keeps_unwanted
            ):
                moved[key] = self._drop(key)
            found |= {
                key
                for key in closing - self._inside.keys() - moved.keys()
                if marks.mark_of(key) == held[key]
            }
        for key in found:
            self.open(key)
            self._closing.add(key)
        return Agreement(moved, frozenset(found))

    @property
    def ready(self) -> VirtualServerKey | None:
        """An address virtual server that can be opened now and could not be before."""
        for marks in self._marks.values():
            if marks.ready is not None:
                return marks.ready
        return None

    @property
    def shortage(self) -> str:
        """Why an address virtual server cannot be opened."""
        return f"no fwmark of {self._range} is free for clients inside the cluster"

    def _drop(self, key: VirtualServerKey) -> Circuit | None:
        if key not in self._inside:
            return None
        circuit = Circuit(self._inside[key], self.member(key))
        del self._address[self._inside.pop(key)]
        self._closing.discard(key)
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
        role: one of `MARKING_ROLES`; the other one is of what closes.
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


def _held(state: NodeState, family: IPFamily) -> Mapping[VirtualServerKey, int]:
    """Address virtual server -> its mark; of two, the one that packets get."""
    return {
        VirtualServerKey(
            family=family,
            protocol=entry.protocol,
            address=entry.address,
            port=entry.port or 0,
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
