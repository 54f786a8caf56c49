"""Which virtual servers are others', as far as this process knows.

A virtual server that this process has imposed or recognised once is ours, whatever
becomes of the sets. About any other one the kernel is asked first.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.state import Observed
from ipvsctl.plan.service.program import ServerProgram
from ipvsctl.plan.union.ownership import Ownership

TAKEN: Final = "already taken by a foreign virtual server"
"""Why a Service has not got a virtual server that is another's."""

_Keys = AbstractSet[VirtualServerKey]


class Foreign:
    """The address virtual servers of others, and the desired ones yet to be checked.

    Attributes:
        keys: the virtual servers of others, as of the last look at everything.
    """

    def __init__(self) -> None:
        self.keys: frozenset[VirtualServerKey] = frozenset()
        self._unconfirmed: set[VirtualServerKey] = set()
        """Desired, and not known to be ours."""
        self._raced: set[VirtualServerKey] = set()
        """Those that somebody else added while their owning entries were there."""
        self._left: set[VirtualServerKey] = set()
        """Ours and no longer desired, but maybe in the kernel still."""
        self._has_agreed = False

    def come(self, key: VirtualServerKey) -> None:
        """Note that a virtual server is desired from now on.

        One that has just been ours, and is still in the kernel as such, needs no check.
        """
        if key in self._left:
            self._left.discard(key)
        else:
            self._unconfirmed.add(key)

    def go(self, key: VirtualServerKey) -> None:
        """Note that a virtual server is not desired any more."""
        if key in self._unconfirmed:
            self._unconfirmed.discard(key)
        else:
            self._left.add(key)

    def take_unconfirmed(self) -> _Keys:
        """The desired virtual servers that are not known to be ours.

        Forgets which were ours and went, since a sync takes those away now.
        """
        self._left.clear()
        return self._unconfirmed

    def confirm(self, keys: _Keys) -> None:
        """Note that these were not in the kernel, and have been added."""
        self._unconfirmed -= keys
        self._raced -= keys

    def doubt(self, keys: _Keys) -> None:
        """Note that these were not in the kernel, and somebody else added them first.

        So their owning entries, which were put in before, say nothing.
        """
        self._unconfirmed |= keys
        self._raced |= keys

    def agree(
        self,
        observed: Observed,
        desired: _Keys,
        wanted: Callable[[VirtualServerKey], ServerProgram | None],
        touched: _Keys,
    ) -> _Keys:
        """Tell ours from others' in the complete state.

        A virtual server with an owning entry is ours. The first time, those that a
        process before this one made are recognised without an entry. Later on, one that
        this process has not imposed is another's.

        Args:
            observed: what the kernel holds.
            desired: the virtual servers that are desired.
            wanted: gives the program whose claim to a virtual server is the best.
            touched: virtual servers that have changed since `observed` was read;
                nothing new is known of them.

        Returns:
            The virtual servers that have become, or ceased to be, others'.
        """
        held = observed.state.virtual_servers.keys()
        ownership = Ownership(observed)
        before = self.keys
        found = set(before & touched)
        for key in ((held - desired) | (held & self._unconfirmed)) - touched:
            if key.fwmark:
                continue
            is_raced = key in self._raced
            is_ours = not is_raced and key in ownership.owning
            if not is_ours and (is_raced or not self._has_agreed):
                program = wanted(key)
                is_ours = program is not None and ownership.is_recognised(program)
            if is_ours:
                self._unconfirmed.discard(key)
            else:
                found.add(key)
        self._raced &= touched
        self._has_agreed = True
        self.keys = frozenset(found)
        return before ^ self.keys
