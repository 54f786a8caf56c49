"""The desired state: the union of the node's program and every Service's.

Putting or removing one program costs what that program is long, not what the cluster
is large. What two Services share is counted, so that one leaving takes nothing from
the other; what only one can have is claimed.
"""

from collections import Counter
from collections.abc import Generator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from ipvsctl.model.ipvs import (
    RealServer,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
)
from ipvsctl.model.net import IPAddress, IPFamily
from ipvsctl.model.problem import Kind, ObjectRef, Problem
from ipvsctl.model.problem_book import (
    ListedProblems,
    NotedProblems,
    ProblemBook,
    ProblemPart,
)
from ipvsctl.model.state import NodeState, Observed
from ipvsctl.model.steps import finish, parts
from ipvsctl.plan.rules.catalogue import URGENT_SERVICES
from ipvsctl.plan.service.program import ServerProgram, ServiceProgram, without_mark
from ipvsctl.plan.union.claims import Claims
from ipvsctl.plan.union.desired_change import DesiredChange
from ipvsctl.plan.union.foreign import TAKEN, Foreign
from ipvsctl.plan.union.frozen import FrozenDesired
from ipvsctl.plan.union.health_checks import HealthChecks, ServiceHealth
from ipvsctl.plan.union.node import STRICT_ARP_SYSCTLS, NodeProgram
from ipvsctl.plan.union.shared import Shared
from ipvsctl.plan.union.short_circuits import ShortCircuits, marked_entry
from ipvsctl.plan.union.silent_checks import SilentChecks

PART: Final = 16
"""Virtual servers, real servers and entries in a part of a large Service: less than a
millisecond's work. A sync imposes several parts."""


_COMPARED: Final = 64
"""Programs with so many virtual servers are compared before they are put."""

_MARKS_AT_ONCE: Final = 64
"""Addresses that get a mark they waited for in one change."""


class Desired:
    """All programs, and the state they add up to."""

    def __init__(self, node: NodeProgram) -> None:
        self._node = node
        self._programs: dict[ObjectRef, ServiceProgram] = {}
        self._compiled_problems = NotedProblems()
        self._claims = Claims()
        # The honoured claims, but for those to virtual servers of others.
        self._served: dict[VirtualServerKey, ServerProgram] = {}
        self._virtual_servers: dict[VirtualServerKey, VirtualServer] = {}
        self._real_servers: dict[
            VirtualServerKey, Mapping[RealServerKey, RealServer]
        ] = {}
        self._shared = Shared(node.families)
        self._foreign = Foreign()
        self.foreign: frozenset[VirtualServerKey] = frozenset()
        """The virtual servers of others, as of the last `agree`."""
        self._withheld: dict[VirtualServerKey, ObjectRef] = {}
        self._taken: ListedProblems[VirtualServerKey] = ListedProblems(
            lambda _, key: self._claims.problem(key, TAKEN), TAKEN
        )
        self._short_circuits = ShortCircuits(node.families, node.marks)
        # What holds instead of a program that no mark is free for.
        self._unmarked: dict[VirtualServerKey, ServerProgram] = {}
        self._shortages: ListedProblems[VirtualServerKey] = ListedProblems(
            lambda _, key: self._claims.problem(key, self._short_circuits.shortage),
            self._short_circuits.shortage,
        )
        self._health_checks = HealthChecks()
        self._silent_checks = SilentChecks()
        self._ingress_vip_services = 0
        self._lost_node_ports: Counter[IPFamily] = Counter()
        self._touched: set[VirtualServerKey] = set()
        self._sysctls_told = self._sysctls()
        self._placement_told = node.placement

    @property
    def programs(self) -> Mapping[ObjectRef, ServiceProgram]:
        """Every Service's program."""
        return self._programs

    @property
    def real_servers(
        self,
    ) -> Mapping[VirtualServerKey, Mapping[RealServerKey, RealServer]]:
        """Those of every virtual server that is desired; some have none."""
        return self._real_servers

    @property
    def short_circuits(self) -> Mapping[VirtualServerKey, VirtualServerKey]:
        """Fwmark virtual server -> that of the address it is for."""
        return self._short_circuits.addresses

    def agree(
        self,
        observed: Observed,
        touched: AbstractSet[VirtualServerKey] = frozenset(),
        *,
        keeps_unwanted: bool = False,
    ) -> None:
        """Keep off the virtual servers of others; take over the fwmarks that are ours.

        To be called with each complete state, before it is compared with.

        Args:
            observed: what the kernel holds.
            touched: virtual servers that syncs have changed since it was read.
            keeps_unwanted: see `FwmarkAllocator.agree`.
        """
        for key in self._foreign.agree(
            observed, self._virtual_servers.keys(), self._claims.holder, touched
        ):
            self._shared.set_foreign(key, is_foreign=key in self._foreign.keys)
            has_it = key in self._virtual_servers
            self._settle(key, self._claims.holder(key) if has_it else None)
        moved = self._short_circuits.agree(
            observed.state, keeps_unwanted=keeps_unwanted
        )
        for key, inside in moved.items():
            self._withdraw_inside(key, inside)
        for key in moved:
            self._mark_again(key)
        self.foreign = self._foreign.keys | self._short_circuits.foreign()

    def confirm(self, keys: AbstractSet[VirtualServerKey]) -> None:
        """Take note that these were not in the kernel, and have been added."""
        self._foreign.confirm(keys)
        self._short_circuits.confirm(keys)

    def doubt(self, keys: AbstractSet[VirtualServerKey]) -> None:
        """Take note that somebody else added these first."""
        self._foreign.doubt({key for key in keys if not key.fwmark})
        self._short_circuits.doubt(keys)

    def set_node(self, node: NodeProgram) -> None:
        """Replace the node's program; its families must stay the same."""
        self._node = node

    def put(self, program: ServiceProgram) -> None:
        """Add a Service's program, or replace the one it had."""
        finish(self.put_in_steps(program))

    def put_in_steps(self, program: ServiceProgram) -> Generator[None, None, None]:
        """The same in parts, each a legal state that may be imposed: `take_change`.

        Until all is done, no other call may be about the same Service.
        """
        old = self._programs.get(program.ref)
        if old is not None and len(old.servers) <= _COMPARED and old == program:
            return
        # The new one goes in first: what both have never counts as gone.
        yield from self._insert(program)
        if old is not None:
            yield from self._withdraw(old, keep=program)
        self._programs[program.ref] = program
        self._compiled_problems.put(Kind.SERVICE, program.ref, program.problems)
        self._health_checks.put(program)

    def remove(self, ref: ObjectRef) -> None:
        """Take a Service's program out; fine if it has none."""
        finish(self.remove_in_steps(ref))

    def remove_in_steps(self, ref: ObjectRef) -> Generator[None, None, None]:
        """The same in parts; see `put_in_steps`."""
        self._health_checks.remove(ref)
        old = self._programs.pop(ref, None)
        self._compiled_problems.put(Kind.SERVICE, ref, ())
        if old is not None:
            yield from self._withdraw(old, keep=None)

    def take_change(self) -> DesiredChange:
        """What all `put` and `remove` since the last call add up to.

        Some addresses that waited for a mark get one of those that are free; more of
        them the next time (`has_marks_to_give`). The cost is that of the programs put
        and removed.
        """
        for _ in range(_MARKS_AT_ONCE):
            ready = self._short_circuits.ready()
            if ready is None:
                break
            self._mark_again(ready)
        keys, self._touched = frozenset(self._touched), set()
        wanted = [key for key in keys if key in self._virtual_servers]
        shared = self._shared.take_change()
        health_checks = self._health_checks.take_change()
        if health_checks:
            self._silent_checks.note(health_checks)
        sysctls_before, self._sysctls_told = self._sysctls_told, self._sysctls()
        placement = self._node.placement
        before, self._placement_told = self._placement_told, placement
        return DesiredChange(
            keys=keys,
            desired=NodeState(
                vip_link_up=True,
                sysctls=self._sysctls_told,
                entries=shared.came_entries,
                virtual_servers={key: self._virtual_servers[key] for key in wanted},
                real_servers={key: self._real_servers[key] for key in wanted},
                addresses=placement.addresses(shared.came_vips),
                routes=placement.routes(shared.came_vips),
            ),
            presumed=NodeState(
                vip_link_up=True,
                sysctls=sysctls_before,
                entries=shared.gone_entries,
                addresses=before.addresses(shared.gone_vips),
                routes=before.routes(shared.gone_vips),
            ),
            needs_audit=shared.is_overfull or placement != before,
            health_checks=health_checks,
            fresh=(keys & self._foreign.take_unconfirmed())
            | (keys & self._short_circuits.take_fresh()),
        )

    def unchanged(self, keys: AbstractSet[VirtualServerKey]) -> DesiredChange:
        """A change that is none, to look at some virtual servers again."""
        wanted = [key for key in keys if key in self._virtual_servers]
        return DesiredChange(
            keys=frozenset(wanted),
            desired=NodeState(
                vip_link_up=True,
                virtual_servers={key: self._virtual_servers[key] for key in wanted},
                real_servers={key: self._real_servers[key] for key in wanted},
            ),
            presumed=NodeState(vip_link_up=True),
            needs_audit=False,
        )

    def without(
        self, change: DesiredChange, keys: AbstractSet[VirtualServerKey]
    ) -> NodeState:
        """What a change desires but for some virtual servers, and what they alone need.

        Args:
            change: the last one taken.
            keys: some of its fresh virtual servers.
        """
        wanted = change.desired
        inside = (self._short_circuits.find(key) for key in keys)
        out = keys | {key for key in inside if key is not None}
        programs = [
            program
            for key in keys
            if not key.fwmark
            and (program := self._unmarked.get(key) or self.server(key))
        ]
        entries, vips = self._shared.needed_alone_by(programs)
        for mark in out & self.short_circuits.keys():
            named = marked_entry(self.short_circuits[mark], mark)
            entries.setdefault(named.set_name, set()).add(named.entry)
        return msgspec.structs.replace(
            wanted,
            entries={
                n: held - entries.get(n, set()) for n, held in wanted.entries.items()
            },
            virtual_servers={
                k: v for k, v in wanted.virtual_servers.items() if k not in out
            },
            real_servers={k: v for k, v in wanted.real_servers.items() if k not in out},
            addresses=wanted.addresses - vips,
            routes={vip: v for vip, v in wanted.routes.items() if vip not in vips},
        )

    def server(self, key: VirtualServerKey) -> ServerProgram | None:
        """See `DesiredLookups`."""
        return self._served.get(self._short_circuits.addresses.get(key, key))

    @property
    def has_marks_to_give(self) -> bool:
        """Whether an address waits for a mark although one is free."""
        return self._short_circuits.ready() is not None

    @property
    def problem_parts(self) -> tuple[ProblemPart, ...]:
        """What is wrong with Services, compiled and all together."""
        return (
            self._compiled_problems,
            self._claims.lost,
            self._taken,
            self._shortages,
            self._health_checks.lost,
            self._silent_checks.silent,
        )

    def problems(self) -> tuple[Problem, ...]:
        """The same of all Services, sorted."""
        return ProblemBook(self.problem_parts).all()

    @property
    def lost_node_ports(self) -> Mapping[IPFamily, int]:
        """How many Services have node ports that no address here serves."""
        return self._lost_node_ports

    def health_checks(self) -> Mapping[int, ServiceHealth]:
        """What every health-check node port answers."""
        return self._health_checks.all()

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
        return NodeState(
            virtual_servers=self._virtual_servers, real_servers=self._real_servers
        )

    def state(self) -> NodeState:
        """The whole desired state; all but its routes are views that follow changes."""
        return NodeState(
            vip_link_up=True,
            sysctls=self._sysctls(),
            timeouts=self._node.timeouts,
            sets=self._shared.specs(),
            entries=self._shared.entries(),
            chains=self._node.chains,
            virtual_servers=self._virtual_servers,
            real_servers=self._real_servers,
            addresses=self._node.placement.addresses(self._shared.vips),
            routes=self._node.placement.routes(self._shared.vips),
        )

    def frozen(self) -> FrozenDesired:
        """The state as it is now, for whoever goes through it later.

        Some copies of dicts: about a millisecond for 10,000 Services.
        """
        vips = self._shared.copy_vips()
        state = msgspec.structs.replace(
            self.state(),
            entries=self._shared.copy_entries(),
            virtual_servers=self._virtual_servers.copy(),
            real_servers=self._real_servers.copy(),
            addresses=self._node.placement.addresses(vips),
        )
        return FrozenDesired(
            programs=self._programs.copy(),
            served=self._served.copy(),
            short_circuits=dict(self.short_circuits),
            foreign=self.foreign,
            state=state,
        )

    def _insert(self, program: ServiceProgram) -> Generator[None, None, None]:
        self._ingress_vip_services += program.has_ingress_vip
        cost = 0
        for server in program.servers:
            key = server.server.key
            before = self.server(key)
            if self._claims.put(program, server):
                self._settle(key, before)
            cost += _cost(server)
            if cost >= PART:
                yield
                cost = 0
        for some in parts(program.entries, PART):
            for named in some:
                self._shared.add(named)
            if len(some) == PART:
                yield
        for family in program.lost_node_ports:
            self._lost_node_ports[family] += 1

    def _withdraw(
        self, program: ServiceProgram, *, keep: ServiceProgram | None
    ) -> Generator[None, None, None]:
        """Take a program out of the counts, but not the claims `keep` has renewed."""
        renewed = {server.server.key for server in keep.servers} if keep else ()
        cost = 0
        for server in program.servers:
            key = server.server.key
            if key in renewed:
                continue
            before = self.server(key)
            self._claims.withdraw(program.ref, key)
            self._settle(key, before)
            cost += _cost(server)
            if cost >= PART:
                yield
                cost = 0
        for some in parts(program.entries, PART):
            for named in some:
                self._shared.discard(named)
            if len(some) == PART:
                yield
        self._ingress_vip_services -= program.has_ingress_vip
        for family in program.lost_node_ports:
            self._lost_node_ports[family] -= 1

    def _settle(self, key: VirtualServerKey, before: ServerProgram | None) -> None:
        """Let the best claim to `key` hold, and its entries with it."""
        after = self._claims.holder(key)
        known = self._withheld.pop(key, None)
        if known is not None:
            self._taken.discard(known, key)
        if after is not None and key in self._foreign.keys:
            self._withheld[key] = after.port_name.service
            self._taken.add(after.port_name.service, key)
            after = None
        if after is before:
            return
        if after is None:
            del self._served[key]
        else:
            self._served[key] = after
        self._touched.add(key)
        self._replace(key, self._unmarked.pop(key, before), after)

    def _mark_again(self, key: VirtualServerKey) -> None:
        """Look whether there is a mark for an address, which may have changed."""
        program = self.server(key)
        self._replace(key, self._unmarked.pop(key, program), program)

    def _replace(
        self,
        key: VirtualServerKey,
        before: ServerProgram | None,
        program: ServerProgram | None,
    ) -> None:
        """Let a program hold instead of what did, or what it is without a mark."""
        if before is not None:
            self._shortages.discard(before.port_name.service, key)
        after = program
        if program is not None and not self._settle_inside(key, program):
            after = self._unmarked[key] = without_mark(program)
            self._shortages.add(program.port_name.service, key)
        elif program is None:
            self._withdraw_inside(key, self._short_circuits.close(key))
        if after is before:
            return
        self._touched.add(key)
        if after is None:
            del self._virtual_servers[key], self._real_servers[key]
            self._foreign.go(key)
        else:
            self._virtual_servers[key] = after.server
            self._real_servers[key] = after.real_servers
            if before is None:
                self._foreign.come(key)
        if before is None or after is None or not _needs_the_same(before, after):
            self._shared.replace(before, after)
            self._silent_checks.replace(before, after)

    def _settle_inside(self, key: VirtualServerKey, program: ServerProgram) -> bool:
        """Give inside clients of an address their virtual server, or take it away.

        Returns:
            Whether they have what they should; False when no mark is free.
        """
        if program.inside is None:
            self._withdraw_inside(key, self._short_circuits.close(key))
            return True
        inside = self._short_circuits.find(key)
        if inside is None:
            inside = self._short_circuits.open(key)
            if inside is None:
                return False
            self._shared.add(marked_entry(key, inside))
        self._touched.add(inside)
        self._virtual_servers[inside] = program.inside.server(inside)
        self._real_servers[inside] = program.inside.real_servers
        return True

    def _withdraw_inside(
        self, key: VirtualServerKey, inside: VirtualServerKey | None
    ) -> None:
        if inside is None:
            return
        self._touched.add(inside)
        del self._virtual_servers[inside], self._real_servers[inside]
        self._shared.discard(marked_entry(key, inside))

    def _sysctls(self) -> Mapping[str, str]:
        strict = self._node.strict_arp
        if strict is None:
            strict = self._ingress_vip_services > 0
        return {**self._node.sysctls, **(STRICT_ARP_SYSCTLS if strict else {})}


def _cost(server: ServerProgram) -> int:
    """How many things in the kernel a virtual server is."""
    return 1 + len(server.real_servers) + len(server.entries)


def _needs_the_same(before: ServerProgram, after: ServerProgram) -> bool:
    """Whether nothing but the real servers and how they are chosen has changed."""
    return (
        before.entries == after.entries
        and before.is_bound == after.is_bound
        and before.port_name == after.port_name
    )
