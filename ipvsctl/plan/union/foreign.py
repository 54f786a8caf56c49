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
        keys: others', as of the last look at everything.
    """

    def __init__(self) -> None:
        self.keys: frozenset[VirtualServerKey] = frozenset()
        self._unconfirmed: set[VirtualServerKey] = set()
        self._raced: set[VirtualServerKey] = set()
        self._left: set[VirtualServerKey] = set()
        self._has_agreed = False

    def come(self, key: VirtualServerKey) -> None:
        """It is desired from now on.

        What has just been ours, and is still in the kernel as such, needs no check.
        """
        if key in self._left:
            self._left.discard(key)
        else:
            self._unconfirmed.add(key)

    def go(self, key: VirtualServerKey) -> None:
        """It is not desired any more."""
        if key in self._unconfirmed:
            self._unconfirmed.discard(key)
        else:
            self._left.add(key)

    def take_unconfirmed(self) -> _Keys:
        """Those that nobody is known to have; what has left until now is forgotten."""
        self._left.clear()
        return self._unconfirmed

    def confirm(self, keys: _Keys) -> None:
        """These were not in the kernel, and have been added."""
        self._unconfirmed -= keys
        self._raced -= keys

    def doubt(self, keys: _Keys) -> None:
        """These were not in the kernel, and then somebody else added them first.

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

        What has an owning entry is ours. The first time, virtual servers that a process
        before this one made are recognised without. Later on, one that this process has
        not imposed is another's.

        Args:
            observed: what the kernel holds.
            desired: the virtual servers that are desired.
            wanted: what a Service wants of a virtual server.
            touched: those that have changed since `observed` was read; nothing new is
                known of them.

        Returns:
            Those that have become, or ceased to be, others'.
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
