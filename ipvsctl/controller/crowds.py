"""What the kernel is taken to hold of the virtual servers that are crowds."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from ipvsctl.model.ipvs import RealServerStats, VirtualServerKey
from ipvsctl.model.state import EMPTY, NodeState, Observed
from ipvsctl.plan.diff.crowd import CROWD, Held, RealServers, portion
from ipvsctl.plan.diff.ops import Op, Report

_UNKNOWN: Final = RealServerStats(active=1)
"""Of a real server that was not read: it may have connections, and so drains."""


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Two states with a portion in place of each crowd.

    Attributes:
        observed, desired: the states.
        held: what there is of the crowds.
        wanted: what there is to be of them.
        unfinished: those that are not done with this portion.
    """

    observed: Observed
    desired: NodeState
    held: Mapping[VirtualServerKey, Held] = EMPTY
    wanted: Mapping[VirtualServerKey, RealServers] = EMPTY
    unfinished: frozenset[VirtualServerKey] = frozenset()


class Crowds:
    """Remembers what was read of each once, and every op since.

    Of one that an op has failed of nothing is remembered: the kernel holds something
    else, and the next sync of it reads it. What somebody else does to it is found by an
    audit, whose ops are noted like all others.

    Attributes:
        unfinished: the crowds of which another portion is to be imposed.
    """

    def __init__(self) -> None:
        self._held: dict[VirtualServerKey, Held] = {}
        self.unfinished: set[VirtualServerKey] = set()

    @property
    def known(self) -> AbstractSet[VirtualServerKey]:
        """Those that need not be read."""
        return self._held.keys()

    def forget(self) -> None:
        """Read everything again."""
        self._held.clear()
        self.unfinished.clear()

    def cut(
        self,
        observed: Observed,
        desired: NodeState,
        keys: Iterable[VirtualServerKey],
        most: int,
    ) -> Cut:
        """Put a portion in place of each crowd; it is known again after `note_cut`.

        Args:
            observed: what there is, but for crowds that are known.
            desired: what there is to be.
            keys: the virtual servers that both are about.
            most: how many real servers there may be in a portion.
        """
        state, all_wanted = observed.state, dict(desired.real_servers)
        crowds = [
            key
            for key in keys
            if key in self._held or len(all_wanted.get(key, EMPTY)) > CROWD
        ]
        if not crowds:
            return Cut(observed=observed, desired=desired)
        servers, real_servers = dict(state.virtual_servers), dict(state.real_servers)
        connections = dict(observed.connections)
        before: dict[VirtualServerKey, Held] = {}
        wanted: dict[VirtualServerKey, RealServers] = {}
        unfinished = set()
        for key in crowds:
            if key in self._held:
                held = self._held.pop(key)
            else:
                held = Held(
                    server=servers.get(key), real_servers=real_servers.get(key, EMPTY)
                )
            before[key] = held
            if held.server is not None:
                servers[key], real_servers[key] = held.server, held.real_servers
            if key not in all_wanted:
                continue
            wanted[key] = all_wanted[key]
            part = portion(held.real_servers, wanted[key], most)
            real_servers[key], all_wanted[key] = part.held, part.wanted
            connections[key] = dict.fromkeys(part.held, _UNKNOWN)
            if not part.is_last:
                unfinished.add(key)
        return Cut(
            observed=msgspec.structs.replace(
                observed,
                state=msgspec.structs.replace(
                    state, virtual_servers=servers, real_servers=real_servers
                ),
                connections=connections,
            ),
            desired=msgspec.structs.replace(desired, real_servers=all_wanted),
            held=before,
            wanted=wanted,
            unfinished=frozenset(unfinished),
        )

    def note_cut(self, cut: Cut, plan: Iterable[Op], report: Report) -> None:
        """The ops that a cut was made for have been done."""
        self._held.update(cut.held)
        self.unfinished -= cut.held.keys() - cut.unfinished
        self.unfinished |= cut.unfinished
        self.note(plan, report)
        for key in cut.held:
            held = self._held.get(key)
            wanted = cut.wanted.get(key, EMPTY)
            if held is None or max(len(held.real_servers), len(wanted)) <= CROWD:
                self._forget(key)

    def note(self, plan: Iterable[Op], report: Report) -> None:
        """Ops have been done."""
        if not self._held:
            return
        done: defaultdict[VirtualServerKey, list[Op]] = defaultdict(list)
        for op in plan:
            key = op.subject
            if isinstance(key, VirtualServerKey) and key in self._held:
                done[key].append(op)
        for failure in report.failed:
            key = failure.op.subject
            if isinstance(key, VirtualServerKey) and key in done:
                del done[key]
                self._forget(key)
        for key, ops in done.items():
            held = self._held[key] = self._held[key].after(ops)
            if held.server is None:
                self._forget(key)

    def _forget(self, key: VirtualServerKey) -> None:
        self._held.pop(key, None)
        self.unfinished.discard(key)
