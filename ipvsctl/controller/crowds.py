"""What the kernel is taken to hold of the virtual servers that are crowds."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Final

import msgspec

from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    RealServers,
    RealServerStats,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.diff.crowd import CROWD, differing, pick
from ipvsctl.plan.diff.ops import (
    AddRealServer,
    AddVirtualServer,
    DeleteRealServer,
    DeleteVirtualServer,
    Op,
    Plan,
    Report,
    UpdateRealServer,
    UpdateVirtualServer,
)

_UNKNOWN: Final = RealServerStats(active=1)
"""Of a real server that was not read: it may have connections, and so drains."""


class _Crowd:
    """What is known of one virtual server.

    Attributes:
        server: None if there is none.
        real_servers: those that there are, on their way out or not.
        wanted: those that there are to be.
        left: those that are to be changed for that.
        same: one that stays as it is, if any does: what a portion leaves out is no
            reason to take the virtual server for one without real servers.
    """

    def __init__(self, server: VirtualServer | None, real_servers: RealServers) -> None:
        self.server = server
        self.real_servers: dict[RealServerKey, RealServer] = dict(real_servers)
        self.wanted: RealServers | None = None
        self.left: list[RealServerKey] = []
        self.same: tuple[RealServerKey, ...] = ()

    def take(self, wanted: RealServers, most: int) -> tuple[RealServerKey, ...]:
        """The next ones on the way to what there is to be."""
        if wanted is not self.wanted:
            self.wanted, self.left = wanted, differing(self.real_servers, wanted)
            changing = set(self.left)
            self.same = tuple(islice((k for k in wanted if k not in changing), 1))
        portion = (*self.left[:most], *self.same)
        del self.left[:most]
        return portion

    def note(self, op: Op) -> None:
        """An op that is about it has been done."""
        match op:
            case AddRealServer(server=real) | UpdateRealServer(server=real):
                self.real_servers[real.key] = real
            case DeleteRealServer(key=key):
                self.real_servers.pop(key, None)
            case AddVirtualServer(server=virtual) | UpdateVirtualServer(server=virtual):
                self.server = virtual
            case _:
                pass


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Two states with a portion in place of each crowd.

    Attributes:
        observed, desired: the states.
        crowds: which virtual servers are crowds.
        wanted: what there is to be of each, unless it goes.
    """

    observed: Observed
    desired: NodeState
    crowds: frozenset[VirtualServerKey] = frozenset()
    wanted: Mapping[VirtualServerKey, RealServers] = EMPTY


class Crowds:
    """Remembers what was read of each once, and every op since.

    Of one that an op has failed of nothing is remembered: the kernel holds something
    else, and the next sync of it reads it. What somebody else does to it is found by an
    audit, whose ops are noted like all others.
    """

    def __init__(self) -> None:
        self._known: dict[VirtualServerKey, _Crowd] = {}

    @property
    def known(self) -> AbstractSet[VirtualServerKey]:
        """Those that need not be read."""
        return self._known.keys()

    @property
    def unfinished(self) -> frozenset[VirtualServerKey]:
        """Those of which another portion is to be imposed."""
        return frozenset(key for key, crowd in self._known.items() if crowd.left)

    def forget(self, keys: Iterable[VirtualServerKey] | None = None) -> None:
        """Have these read again; None is all."""
        for key in tuple(self._known if keys is None else keys):
            self._known.pop(key, None)

    def cut(
        self,
        observed: Observed,
        desired: NodeState,
        keys: Iterable[VirtualServerKey],
        most: int,
    ) -> Cut:
        """Put the next portion of each crowd in its place.

        Args:
            observed: what there is, but for crowds that are known.
            desired: what there is to be.
            keys: the virtual servers that both are about.
            most: how many real servers of each crowd are to change.
        """
        crowds = frozenset(
            key
            for key in keys
            if key in self._known or len(desired.real_servers.get(key, EMPTY)) > CROWD
        )
        if not crowds:
            return Cut(observed=observed, desired=desired)
        state, all_wanted = observed.state, dict(desired.real_servers)
        servers, real_servers = dict(state.virtual_servers), dict(state.real_servers)
        connections = dict(observed.connections)
        wanted: dict[VirtualServerKey, RealServers] = {}
        for key in crowds:
            crowd = self._known.get(key)
            if crowd is None:
                crowd = _Crowd(servers.get(key), real_servers.get(key, EMPTY))
                self._known[key] = crowd
            if crowd.server is not None:
                servers[key], real_servers[key] = crowd.server, crowd.real_servers
            if key in all_wanted:
                wanted[key] = all_wanted[key]
                portion = crowd.take(wanted[key], most)
                held = real_servers[key] = pick(crowd.real_servers, portion)
                all_wanted[key] = pick(wanted[key], portion)
                connections[key] = dict.fromkeys(held, _UNKNOWN)
        state = msgspec.structs.replace(
            state, virtual_servers=servers, real_servers=real_servers
        )
        return Cut(
            observed=msgspec.structs.replace(
                observed, state=state, connections=connections
            ),
            desired=msgspec.structs.replace(desired, real_servers=all_wanted),
            crowds=crowds,
            wanted=wanted,
        )

    def note_cut(self, cut: Cut, plan: Plan, report: Report) -> None:
        """The ops that a cut was made for have been done."""
        self.note(plan, report)
        for key in cut.crowds & self._known.keys():
            sizes = len(self._known[key].real_servers), len(cut.wanted.get(key, EMPTY))
            # One that stays although nobody wants it is not ours to know.
            if key not in cut.wanted or max(sizes) <= CROWD:
                del self._known[key]

    def note(self, plan: Plan, report: Report) -> None:
        """Ops have been done."""
        if not self._known:
            return
        subjects = {failure.op.subject for failure in report.failed}
        self.forget(s for s in subjects if isinstance(s, VirtualServerKey))
        for op in plan:
            key = op.subject
            if isinstance(key, VirtualServerKey) and key in self._known:
                if isinstance(op, DeleteVirtualServer):
                    del self._known[key]
                else:
                    self._known[key].note(op)
