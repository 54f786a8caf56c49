"""The virtual servers of inside clients: one fwmark for each external address.

An address virtual server has one set of real servers, whoever asks. Where clients
inside the cluster are to have another (external policy Local), their packets get a
mark, and a virtual server of that mark holds theirs: IPVS looks for the mark first and
for the address then (ip_vs_ctl.c:ip_vs_service_find), so that a mark without a virtual
server does no harm.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.marks import MarkRange
from ipvsctl.model.net import IPFamily
from ipvsctl.model.sets import SetEntry, SetRole, set_key
from ipvsctl.model.state import NodeState
from ipvsctl.plan.service.program import SetMember
from ipvsctl.plan.union.fwmark_allocator import FwmarkAllocator


class ShortCircuits:
    """The fwmark virtual server of each address virtual server that has one."""

    def __init__(self, families: Iterable[IPFamily], mark_range: MarkRange) -> None:
        self._range = mark_range
        self._marks = {family: FwmarkAllocator(mark_range) for family in families}
        self._inside: dict[VirtualServerKey, VirtualServerKey] = {}
        """Address virtual server -> the fwmark virtual server beside it."""
        self._address: dict[VirtualServerKey, VirtualServerKey] = {}

    @property
    def addresses(self) -> Mapping[VirtualServerKey, VirtualServerKey]:
        """Fwmark virtual server -> the virtual server of the address it is for."""
        return self._address

    def find(self, key: VirtualServerKey) -> VirtualServerKey | None:
        """The fwmark virtual server beside that of an address, if there is one."""
        return self._inside.get(key)

    def open(self, key: VirtualServerKey) -> VirtualServerKey | None:
        """Have a fwmark virtual server beside that of an address.

        Returns:
            That fwmark virtual server; None when no mark is free (`ready` says when
            one is).
        """
        mark = self._marks[key.family].take(key)
        if mark is None:
            return None
        inside = VirtualServerKey(family=key.family, fwmark=mark)
        self._inside[key] = inside
        self._address[inside] = key
        return inside

    def close(self, key: VirtualServerKey) -> VirtualServerKey | None:
        """Give up the fwmark virtual server beside that of an address.

        Returns:
            That fwmark virtual server; None if there was none.
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
        self, observed: NodeState, *, keeps_unwanted: bool = False
    ) -> Mapping[VirtualServerKey, VirtualServerKey | None]:
        """Agree with the kernel on marks; see `FwmarkAllocator.agree`.

        Returns:
            Address virtual server that must be opened again -> the fwmark virtual
            server it had; None if it had none.
        """
        return {
            key: self._drop(key)
            for family, marks in self._marks.items()
            for key in marks.agree(
                _held(observed, family),
                _present(observed, family),
                keeps_unwanted=keeps_unwanted,
            )
        }

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

    def _drop(self, key: VirtualServerKey) -> VirtualServerKey | None:
        inside = self._inside.pop(key, None)
        if inside is not None:
            del self._address[inside]
        return inside


def marked_entry(key: VirtualServerKey, inside: VirtualServerKey) -> SetMember:
    """The entry that marks packets to an address for a fwmark virtual server."""
    entry = SetEntry(
        address=key.address, protocol=key.protocol, port=key.port, mark=inside.fwmark
    )
    return SetMember(set_key(SetRole.SHORT_CIRCUIT, key.family), entry)


def _keys(
    marks: Mapping[IPFamily, AbstractSet[int]],
) -> frozenset[VirtualServerKey]:
    return frozenset(
        VirtualServerKey(family=family, fwmark=mark)
        for family, some in marks.items()
        for mark in some
    )


def _held(state: NodeState, family: IPFamily) -> Mapping[VirtualServerKey, int]:
    return {
        VirtualServerKey(
            family=family,
            protocol=entry.protocol,
            address=entry.address,
            port=entry.port or 0,
        ): entry.mark
        for entry in state.evidence(set_key(SetRole.SHORT_CIRCUIT, family))
        if entry.mark
    }


def _present(state: NodeState, family: IPFamily) -> frozenset[int]:
    return frozenset(
        key.fwmark
        for key in state.virtual_servers
        if key.fwmark and key.family is family
    )
