"""What a sync is given: the part of the desired state that some programs changed."""

from collections.abc import Iterator, Mapping

import msgspec

from ipvsctl.model.ipvs import VirtualServerKey
from ipvsctl.model.state import EMPTY, NodeState
from ipvsctl.model.subject import EntrySubject, Subject, SysctlSubject
from ipvsctl.plan.union.health_checks import ServiceHealth


class DesiredChange(msgspec.Struct, frozen=True, kw_only=True):
    """What must be compared after some programs changed, and nothing else.

    Attributes:
        keys: virtual servers to read from the kernel.
        desired: the desired state, of these keys, and the entries and addresses that
            came.
        presumed: what the kernel holds of the rest, if all is as it was left: the
            entries and addresses that went. Virtual servers are to be filled in.
        needs_audit: something shared by all Services changed (a set must grow), so
            only the whole state will do.
        health_checks: health-check node ports that came, went (None) or may answer
            something else.
        fresh: those of the keys that this process has not imposed yet; one that the
            kernel has all the same may be another's, see `Foreign`.
        ends_hold: what was not desired before may be taken away from now on.
    """

    keys: frozenset[VirtualServerKey]
    desired: NodeState
    presumed: NodeState
    needs_audit: bool
    health_checks: Mapping[int, ServiceHealth | None] = EMPTY
    fresh: frozenset[VirtualServerKey] = frozenset()
    ends_hold: bool = False

    def subjects(self) -> Iterator[Subject]:
        """Everything the change is about; some of it may come twice."""
        yield from self.keys
        for state in (self.desired, self.presumed):
            for key, entries in state.entries.items():
                for entry in entries:
                    yield EntrySubject(key, entry.identity)
            yield from state.addresses
            yield from state.routes
        before, after = self.presumed.sysctls, self.desired.sysctls
        for name, value in after.items():
            if before.get(name) != value:
                yield SysctlSubject(name)
