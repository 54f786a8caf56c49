"""The desired state: the union of the node's program and every Service's.

Putting or removing one program costs what that program is long, not what the cluster
is large. What two Services share is counted, so that one leaving takes nothing from
the other; what only one can have is claimed.
"""

from collections.abc import Generator, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Final

import msgspec

from ipvsctl.model.config import Listener
from ipvsctl.model.ipvs import RealServer, RealServerKey, VirtualServerKey
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.problem_book import NotedProblems, ProblemBook, ProblemPart
from ipvsctl.model.sets import TUNNEL_ROLES, SetRole
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.steps import finish
from ipvsctl.model.tunnel import TunnelEnd
from ipvsctl.plan.service.program import LocalhostPort, ServerProgram, ServiceProgram
from ipvsctl.plan.union.desired_change import DesiredChange, state_without
from ipvsctl.plan.union.desired_copy import DesiredCopy
from ipvsctl.plan.union.frozen import FrozenDesired
from ipvsctl.plan.union.health_checks import HealthChecks, ServiceHealth
from ipvsctl.plan.union.localhost_ports import LocalhostPorts
from ipvsctl.plan.union.node import NodeProgram
from ipvsctl.plan.union.node_part import NodePart
from ipvsctl.plan.union.program_parts import in_parts
from ipvsctl.plan.union.shared import Shared
from ipvsctl.plan.union.silent_checks import SilentChecks
from ipvsctl.plan.union.urgent import URGENT_SERVICES
from ipvsctl.plan.union.virtual_servers import VirtualServers

_COMPARED: Final = 64
"""Programs with so many virtual servers are compared before they are put."""

_MARKS_AT_ONCE: Final = 64
"""Addresses that get a mark they waited for in one change."""


class Desired:
    """All programs, and the state they add up to.

    A question changes nothing. The commands are `put`, `remove`, `set_node`, `agree`,
    `confirm`, `doubt`, `touch` and `take_change`. What Services share (`shared`) is for
    others to look at.
    """

    def __init__(self, node: NodeProgram) -> None:
        self._node = NodePart(node)
        self._programs: dict[ObjectRef, ServiceProgram] = {}
        self._copies: list[DesiredCopy] = []
        self._compiled_problems = NotedProblems()
        roles = (r for r in SetRole if node.has_tunnel or r not in TUNNEL_ROLES)
        self.shared = Shared(node.families, roles)
        for member in node.entries:
            self.shared.add(member)
        self._health_checks = HealthChecks()
        self._localhost_ports = LocalhostPorts()
        self._silent_checks = SilentChecks()
        self._servers = VirtualServers(
            node.families, node.marks, self.shared, self._silent_checks
        )

    @property
    def programs(self) -> Mapping[ObjectRef, ServiceProgram]:
        """Each Service -> its program."""
        return self._programs

    @property
    def real_servers(
        self,
    ) -> Mapping[VirtualServerKey, Mapping[RealServerKey, RealServer]]:
        """Each desired virtual server -> its real servers, which may be none."""
        return self._servers.real_servers

    @property
    def short_circuits(self) -> Mapping[VirtualServerKey, VirtualServerKey]:
        """Fwmark virtual server -> the virtual server of the address it is for."""
        return self._servers.short_circuits

    @property
    def has_slow_start(self) -> bool:
        """Whether any Service's endpoints start slowly."""
        return self._node.has_slow_start

    @property
    def tunnel_ends(self) -> Mapping[IPFamily, TunnelEnd]:
        """See `NodeState`."""
        return self._node.program.tunnel_ends

    @property
    def foreign(self) -> frozenset[VirtualServerKey]:
        """The virtual servers of others, as of the last `agree`."""
        return self._servers.foreign

    def agree(
        self,
        observed: Observed,
        touched: AbstractSet[VirtualServerKey] = frozenset(),
        *,
        keeps_unwanted: bool = False,
    ) -> None:
        """Keep off the virtual servers of others; take over the fwmarks that are ours.

        To be called with each complete state, before `state()` is imposed on it.

        Args:
            observed: what the kernel holds.
            touched: virtual servers that syncs have changed since it was read.
            keeps_unwanted: see `FwmarkAllocator.agree`.
        """
        self._servers.agree(observed, touched, keeps_unwanted=keeps_unwanted)

    def confirm(self, keys: AbstractSet[VirtualServerKey]) -> None:
        """Take note that these were not in the kernel, and have been added."""
        self._servers.confirm(keys)

    def doubt(self, keys: AbstractSet[VirtualServerKey]) -> None:
        """Take note that somebody else added these first."""
        self._servers.doubt(keys)

    def set_node(self, node: NodeProgram) -> None:
        """Replace the node's program; its families must stay the same."""
        for member in node.entries:
            self.shared.add(member)
        for member in self._node.program.entries:
            self.shared.discard(member)
        self._node.program = node

    def put(self, program: ServiceProgram) -> None:
        """Add a Service's program, or replace the one it had."""
        finish(self.put_in_steps(program))

    def put_in_steps(self, program: ServiceProgram) -> Generator[None, None, None]:
        """Do `put` in parts, each a legal state that may be imposed: `take_change`.

        Until all is done, no other call may be about the same Service.
        """
        old = self._programs.get(program.ref)
        if old is not None and len(old.servers) <= _COMPARED and old == program:
            return
        # The new one goes in first: what both have never counts as gone.
        self._node.count(program, 1)
        yield from in_parts(program, frozenset(), self._servers.claim, self.shared.add)
        if old is not None:
            # The claims to these were renewed.
            renewed = {server.server.key for server in program.servers}
            yield from self._withdraw(old, but=renewed)
        self._put_program(program.ref, program)
        self._compiled_problems.put(Kind.SERVICE, program.ref, program.problems)
        self._health_checks.put(program)
        self._localhost_ports.put(program)

    def remove(self, ref: ObjectRef) -> None:
        """Take a Service's program out; fine if it has none."""
        finish(self.remove_in_steps(ref))

    def remove_in_steps(self, ref: ObjectRef) -> Generator[None, None, None]:
        """Do `remove` in parts; see `put_in_steps`."""
        self._health_checks.remove(ref)
        self._localhost_ports.remove(ref)
        old = self._programs.get(ref)
        self._put_program(ref, None)
        self._compiled_problems.put(Kind.SERVICE, ref, ())
        if old is not None:
            yield from self._withdraw(old, but=frozenset())

    def touch(self, keys: AbstractSet[VirtualServerKey]) -> None:
        """Have those of them that are desired in the next change, changed or not."""
        self._servers.touch(keys)

    def take_change(self) -> DesiredChange:
        """Take the change that all `put` and `remove` since the last call add up to.

        Some addresses that waited for a mark get one of those that are free; more of
        them the next time (`has_marks_to_give`). The cost is that of the programs put
        and removed.
        """
        self._servers.give_marks(_MARKS_AT_ONCE)
        for copy in self._copies:
            copy.note_changes()
        touched = self._servers.take_touched()
        servers = self._servers.some(touched.keys)
        shared = self.shared.take_change()
        health_checks = self._health_checks.take_change()
        if health_checks:
            self._silent_checks.note(health_checks)
        before, now = self._node.take_change()
        return DesiredChange(
            keys=touched.keys,
            desired=NodeState(
                vip_link_up=True,
                sysctls=now.sysctls,
                sets=shared.sets_now,
                entries=shared.came_entries,
                virtual_servers=servers.virtual_servers,
                real_servers=servers.real_servers,
                addresses=now.placement.addresses(shared.came_vips),
                routes=now.placement.routes(shared.came_vips),
            ),
            presumed=NodeState(
                vip_link_up=True,
                sysctls=before.sysctls,
                sets=shared.sets_before,
                entries=shared.gone_entries,
                addresses=before.placement.addresses(shared.gone_vips),
                routes=before.placement.routes(shared.gone_vips),
            ),
            needs_audit=now[1:] != before[1:],
            health_checks=health_checks,
            localhost_ports=self._localhost_ports.take_change(),
            likely=touched.likely,
            fresh=touched.fresh,
        )

    def unchanged(self, keys: AbstractSet[VirtualServerKey]) -> DesiredChange:
        """An empty change that makes a sync re-read these virtual servers."""
        servers = self._servers.some(keys)
        return DesiredChange(
            keys=frozenset(servers.virtual_servers),
            desired=msgspec.structs.replace(servers, vip_link_up=True),
            presumed=NodeState(vip_link_up=True),
            needs_audit=False,
            likely=servers.real_servers,
        )

    def without(
        self, change: DesiredChange, keys: AbstractSet[VirtualServerKey]
    ) -> NodeState:
        """The state a change desires, without some virtual servers and their needs.

        Entries and VIPs that others need as well stay.

        Args:
            change: the last one taken.
            keys: some of its fresh virtual servers.
        """
        out = self._servers.with_insides(keys)
        entries, vips = self.shared.needed_alone_by(self._servers.programs(keys))
        for member in self._servers.marked_entries(out):
            entries.setdefault(member.key, set()).add(member.entry)
        return state_without(change.desired, out, entries, vips)

    def server(self, key: VirtualServerKey) -> ServerProgram | None:
        """See `DesiredLookups`."""
        return self._servers.find(key)

    @property
    def has_marks_to_give(self) -> bool:
        """Whether an address waits for a mark although one is free."""
        return self._servers.has_marks_to_give

    @property
    def problem_parts(self) -> tuple[ProblemPart, ...]:
        """The problems of Services, by the part of the union that finds them."""
        return (
            self._compiled_problems,
            *self._servers.problem_parts,
            self._health_checks.lost,
            self._localhost_ports.lost,
            self._silent_checks.silent,
        )

    def problems(self) -> tuple[Problem, ...]:
        """The problems of all Services, sorted."""
        return ProblemBook(self.problem_parts).all()

    @property
    def lost_node_ports(self) -> Mapping[IPFamily, int]:
        """Family -> how many Services have node ports that no address here serves."""
        return self._node.lost_node_ports

    def health_checks(self) -> Mapping[int, ServiceHealth]:
        """Health-check node port -> the answer."""
        return self._health_checks.all()

    def localhost_ports(self) -> Mapping[Listener, LocalhostPort]:
        """Every listener on localhost, with whose it is."""
        return self._localhost_ports.all()

    def urgent_addresses(self) -> frozenset[IPAddress]:
        """Addresses of the Services that must work before all others."""
        return frozenset(
            address
            for ref in URGENT_SERVICES
            if ref in self._programs
            for address in self._programs[ref].addresses
        )

    def servers(self) -> NodeState:
        """The virtual and real servers alone; views that follow changes."""
        return self._servers.state()

    def state(self) -> NodeState:
        """The whole desired state; all but its routes are views that follow changes."""
        servers = self._servers.state()
        needs = self._node.needs()
        node = self._node.program
        return NodeState(
            vip_link_up=True,
            sysctls=needs.sysctls,
            timeouts=node.timeouts,
            sets=self.shared.sets(),
            entries=self.shared.entries(),
            chains=node.chains,
            virtual_servers=servers.virtual_servers,
            real_servers=servers.real_servers,
            addresses=needs.placement.addresses(self.shared.vips),
            routes=needs.placement.routes(self.shared.vips),
            tunnel_ends=node.tunnel_ends,
        )

    @contextmanager
    def copying(self) -> Iterator[DesiredCopy]:
        """Have a copy made in steps during the block, between which this changes."""
        copy = DesiredCopy(
            self._programs,
            self._node,
            self._servers,
            self.shared,
            self._localhost_ports,
        )
        self._copies.append(copy)
        try:
            yield copy
        finally:
            self._copies.remove(copy)

    def frozen(self) -> FrozenDesired:
        """The state as it is now, for whoever goes through it later."""
        with self.copying() as copy:
            finish(copy.in_steps())
            return copy.finish()

    def _put_program(self, ref: ObjectRef, program: ServiceProgram | None) -> None:
        if program is None:
            self._programs.pop(ref, None)
        else:
            self._programs[ref] = program
        for copy in self._copies:
            copy.note_program(ref)

    def _withdraw(
        self, program: ServiceProgram, *, but: AbstractSet[VirtualServerKey]
    ) -> Generator[None, None, None]:
        """Take a program out, all `but` its claims to some virtual servers."""
        yield from in_parts(program, but, self._servers.withdraw, self.shared.discard)
        self._node.count(program, -1)
