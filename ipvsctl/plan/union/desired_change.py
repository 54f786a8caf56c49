"""The part of the desired state that some programs changed: what a sync is given."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from ipvsctl.model.config import Listener
from ipvsctl.model.ipvs import RealServers, VirtualServerKey
from ipvsctl.model.net import IPAddress
from ipvsctl.model.sets import SetEntry, SetKey
from ipvsctl.model.state import EMPTY, NodeState
from ipvsctl.model.subject import EntrySubject, Subject, SysctlSubject
from ipvsctl.plan.service.program import LocalhostPort
from ipvsctl.plan.union.health_checks import ServiceHealth


class DesiredChange(msgspec.Struct, frozen=True, kw_only=True):
    """Two partial states whose difference is what some programs changed.

    A sync does not read the whole kernel. It reads the virtual servers in `keys`, puts
    them into `presumed`, and imposes the difference between that and `desired`.

    Attributes:
        keys: virtual servers to read from the kernel.
        desired: those of `keys` that are desired, with their real servers; the entries,
            addresses and routes that came; the sets that need more room, with all of
            their entries; all sysctls.
        presumed: what the kernel is taken to hold without a look at it: the entries,
            addresses and routes that went, which were imposed when they came; the sets
            that need more room as they were; and the sysctls as they were last desired.
            It has no virtual servers. An op that comes of it does no harm where the
            kernel holds something else, and the next audit, which reads everything,
            puts that right.
        needs_audit: something shared by all Services changed (the node's address), so
            that only the whole states can be compared.
        health_checks: health-check node ports that came, went (None) or may answer
            something else.
        localhost_ports: listeners on localhost that came, went (None) or relay
            elsewhere.
        likely: the real servers that some of the keys were to have before, and have if
            nobody else has changed them.
        fresh: those of the keys that this process has not imposed yet; one that the
            kernel has all the same may be another's, see `Foreign`.
        ends_hold: what was not desired before may be taken away from now on.
    """

    keys: frozenset[VirtualServerKey]
    desired: NodeState
    presumed: NodeState
    needs_audit: bool
    health_checks: Mapping[int, ServiceHealth | None] = EMPTY
    localhost_ports: Mapping[Listener, LocalhostPort | None] = EMPTY
    likely: Mapping[VirtualServerKey, RealServers] = EMPTY
    fresh: frozenset[VirtualServerKey] = frozenset()
    ends_hold: bool = False

    def subjects(self) -> Iterator[Subject]:
        """Everything the change is about; some of it may come twice."""
        yield from self.keys
        for state in (self.desired, self.presumed):
            yield from state.sets
            for key, entries in state.entries.items():
                for entry in entries:
                    yield EntrySubject(key, entry.identity)
            yield from state.addresses
            yield from state.routes
        before, after = self.presumed.sysctls, self.desired.sysctls
        for name, value in after.items():
            if before.get(name) != value:
                yield SysctlSubject(name)


def state_without(
    state: NodeState,
    keys: AbstractSet[VirtualServerKey],
    entries: Mapping[SetKey, AbstractSet[SetEntry]],
    vips: AbstractSet[IPAddress],
) -> NodeState:
    """A state without some virtual servers, entries (by set) and VIPs."""
    return msgspec.structs.replace(
        state,
        entries={
            key: held - entries.get(key, frozenset())
            for key, held in state.entries.items()
        },
        virtual_servers={
            key: server
            for key, server in state.virtual_servers.items()
            if key not in keys
        },
        real_servers={
            key: held for key, held in state.real_servers.items() if key not in keys
        },
        addresses=state.addresses - vips,
        routes={vip: route for vip, route in state.routes.items() if vip not in vips},
    )
